"""Who may call what. Each resource declares the scope that each of its methods needs. A resource that declares none is not served."""

from collections.abc import Mapping
from typing import Any, Final, Literal

from falcon.asgi import Request, Response
from falcon.constants import COMBINED_METHODS

from api.deadline import answered_in_time, left
from api.front import Front
from api.problems import TooManyCalls
from api.queries import check_query
from api.room import Room
from api.services import Provider
from beat_actors.access.keyring import Caller
from beat_actors.access.reader import Reader
from beat_actors.access.scopes import Scope
from beat_actors.errors import Forbidden
from beat_actors.requests.states import Priority
from beat_actors.shapes import one_of

OPEN: Final = "open"
"""The method needs no key, and its answer contains nothing of what is stored."""
PUBLIC: Final = "public"
"""The method needs no key, and its answer contains public data alone. With a key that has the scope read it contains what this key may read;
any other valid key gets what a caller without a key gets."""
Scopes = Mapping[str, Scope | Literal["open", "public"]]
"""By HTTP method. It stands as `scopes` on each resource."""
PRIORITIES = one_of(priority.name.lower() for priority in Priority)
"""The names of the priorities, as a constraint of a body's field."""


class App(Front):
    """Falcon's application. It adds no route that does not declare who may call it, what it takes and what it answers."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.resources: dict[str, Any] = {}
        """By path."""

    def add_route(self, uri_template: str, resource: Any, **options: Any) -> None:
        """Raises `TypeError` for a resource whose `scopes` or `calls` are not exactly its methods."""
        if options:
            raise TypeError(f"{uri_template}: {', '.join(options)} would find other methods than `scopes` names")
        answers = {method for method in COMBINED_METHODS if hasattr(resource, f"on_{method.lower()}")}
        declared: Scopes = getattr(resource, "scopes", {})
        if answers != set(declared) or hasattr(resource, "on_websocket"):
            raise TypeError(
                f"{uri_template}: {type(resource).__name__} answers {sorted(answers)} and declares scopes for {sorted(declared)}"
            )
        if set(getattr(resource, "calls", {})) != answers:
            raise TypeError(
                f"{uri_template}: {type(resource).__name__} does not say what each method takes and answers"
            )
        for method, scope in declared.items():
            if scope != OPEN:  # an open route waits for no store, or reports by itself the store that does not answer
                name = f"on_{method.lower()}"
                setattr(resource, name, answered_in_time(getattr(resource, name)))
        super().add_route(uri_template, resource)
        self.resources[uri_template] = resource

    def add_sink(self, *_: Any, **__: Any) -> None:
        raise TypeError("a sink declares no scopes; add a resource")

    def add_static_route(self, *_: Any, **__: Any) -> None:
        raise TypeError("a static route declares no scopes; add a resource")


class Gate:
    """Falcon middleware: it finds the caller by the key, holds the key to its rate, and checks its scopes and the query, before the
    body is read."""

    def __init__(self, provider: Provider) -> None:
        self._provider = provider

    async def process_resource(self, req: Request, resp: Response, resource: Any, _params: dict[str, Any]) -> None:
        # A method that the resource does not have needs any key. Falcon then answers that there is no such method.
        scope, is_public = resource.scopes.get(req.method), False
        if scope == OPEN:
            return
        if scope == PUBLIC:
            check_query(req, resource.calls[req.method])
            if not req.get_header("Authorization"):
                return
            scope, is_public = Scope.READ, True
        services = self._provider.services
        caller = await services.keyring.caller(_token(req), within=left())
        allowance = await services.limiter.take(caller.key_id, caller.rate_limit)
        resp.set_header("RateLimit-Limit", str(caller.rate_limit))
        resp.set_header("RateLimit-Remaining", str(allowance.remaining))
        resp.set_header("RateLimit-Reset", str(allowance.seconds))
        if not allowance.granted:
            raise TooManyCalls(caller.rate_limit, allowance.seconds)
        if is_public and scope not in caller.scopes:
            return  # the caller gets what a reader without a key gets
        if scope is not None and scope not in caller.scopes:
            raise Forbidden(f"this call needs a key with the scope {scope}", scope=scope)
        if req.method in resource.calls:
            check_query(req, resource.calls[req.method])
        req.context.caller, req.context.room = caller, self._provider.room


def caller_of(req: Request) -> Caller:
    """The caller of a route that needs a key."""
    caller: Caller = req.context.caller
    return caller


def caller_if_any(req: Request) -> Caller | None:
    """The caller of a `PUBLIC` route; `None` where the call has no key."""
    caller: Caller | None = getattr(req.context, "caller", None)
    return caller


def room_of(req: Request) -> Room:
    """The process's room for bodies, in a call of a route that is not `OPEN`."""
    room: Room = req.context.room
    return room


def account_of(caller: Caller, named: str | None) -> str | None:
    """The account of a call: that of the key, or the one that the call names. Raises `Forbidden` where it names another one than the key's."""
    if caller.account_id is None or named in (None, caller.account_id):
        return caller.account_id or named
    raise Forbidden("this key is of another account than the one that is named")


def reader_of(caller: Caller) -> Reader:
    """The reader whose rows the caller sees."""
    return Reader(caller.account_id, operates=Scope.OPERATE in caller.scopes)


def priority_of(caller: Caller, name: str) -> Priority:
    """The priority of this name. Raises `BadInput` for no such name, `Forbidden` where the key lacks the scope that customer needs."""
    priority = Priority.named(name)
    if priority == Priority.CUSTOMER and not is_urgent(caller):
        raise Forbidden(
            "the priority customer needs a key with the scope urgent; ask with standard, or get a key that holds it",
            scope=Scope.URGENT,
        )
    return priority


def is_urgent(caller: Caller) -> bool:
    return Scope.URGENT in caller.scopes


def operates(caller: Caller) -> bool:
    return Scope.OPERATE in caller.scopes


def account_is_its_own(caller: Caller) -> bool:
    """Whether the key belongs to an account."""
    return caller.account_id is not None


def owner_of(caller: Caller) -> str:
    """The owner of the idempotency keys that the caller sends: its account, or the key itself where it has no account."""
    return caller.actor if caller.account_id is None else f"account:{caller.account_id}"


def _token(req: Request) -> str | None:
    kind, _, token = (req.get_header("Authorization") or "").partition(" ")
    return token.strip() if kind.lower() == "bearer" else None
