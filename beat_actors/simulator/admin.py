"""`/_simulator/…`: the switches and gauges of a simulator that runs, for people, tests and the command line.

A body that does not read is answered 400 with `{"error": <sentence>}`.
"""

import time
from collections.abc import Sequence
from typing import Any, TypeVar

import msgspec
from aiohttp import web

from beat_actors.simulator import media
from beat_actors.simulator.engine import Simulator
from beat_actors.simulator.faults import Fault
from beat_actors.simulator.happenings import Happening
from beat_actors.simulator.provider import Grant, Window, encode

PREFIX = "/_simulator"
LONGEST_SPAN = 3600.0
"""Seconds for which the truths are told at once."""
T = TypeVar("T")


class WindowBody(msgspec.Struct, forbid_unknown_fields=True):
    calls: int
    seconds: float
    quota: bool = False

    def window(self) -> Window:
        return Window(self.calls, self.seconds, self.quota)


class LimitsBody(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """`enabled` switches all limits; `windows` replaces those of `source`'s credentials."""

    enabled: bool | None = None
    source: str | None = None
    windows: list[WindowBody] | None = None


class KeyBody(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """`windows`: this key's own limits, `None` = its provider's. `accept_any`: whether unknown keys are good from now on.

    The other fields are those of a `Grant`.
    """

    source: str | None = None
    secret: str | None = None
    revoked: bool = False
    scopes: tuple[str, ...] | None = None
    expires_at: int | None = None
    data_access_expires_at: int | None = None
    windows: list[WindowBody] | None = None
    accept_any: bool | None = None


class LatencyBody(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    seconds: float = 0.0
    jitter: float = 0.0


class MediaBody(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """`life`: seconds for which media URLs are good from now on, 0 = some five days. `ahead`: seconds that the clock of their hosts is put on."""

    life: float | None = None
    ahead: float | None = None


class Admin:
    def __init__(self, simulator: Simulator) -> None:
        self._simulator = simulator

    def routes(self) -> Sequence[web.RouteDef]:
        return [
            web.get("/", self.index),
            web.get(f"{PREFIX}/state", self.state),
            web.get(f"{PREFIX}/ledger", self.ledger),
            web.post(f"{PREFIX}/ledger/reset", self.reset_ledger),
            web.post(f"{PREFIX}/reset", self.reset),
            web.get(f"{PREFIX}/faults", self.faults),
            web.post(f"{PREFIX}/faults", self.add_fault),
            web.delete(f"{PREFIX}/faults", self.clear_faults),
            web.delete(f"{PREFIX}/faults/{{id}}", self.remove_fault),
            web.post(f"{PREFIX}/latency", self.latency),
            web.post(f"{PREFIX}/limits", self.limits),
            web.get(f"{PREFIX}/credentials", self.credentials),
            web.post(f"{PREFIX}/credentials", self.add_credential),
            web.get(f"{PREFIX}/people/{{name}}", self.person),
            web.get(f"{PREFIX}/people/{{name}}/truths", self.truths),
            web.get(f"{PREFIX}/happenings", self.happenings),
            web.post(f"{PREFIX}/happenings", self.add_happening),
            web.delete(f"{PREFIX}/happenings", self.clear_happenings),
            web.get(f"{PREFIX}/media", self.media),
            web.post(f"{PREFIX}/media", self.set_media),
            web.post(f"{PREFIX}/media/reset", self.reset_media),
        ]

    async def index(self, _request: web.Request) -> web.Response:
        sources = ", ".join(f"/{name}" for name in sorted(self._simulator.providers))
        return web.Response(text=f"Beat's provider simulator: {sources}; switches and gauges at {PREFIX}/state\n")

    async def state(self, _request: web.Request) -> web.Response:
        simulator = self._simulator
        limits = {
            name: [
                {"calls": w.calls, "seconds": w.seconds, "quota": w.quota} for w in simulator.quotas.windows(provider)
            ]
            for name, provider in simulator.providers.items()
        }
        return _json(
            {
                "uptime": time.monotonic() - simulator.started,
                "population": simulator.people.size,
                "seed": simulator.people.seed,
                "drift_epoch": simulator.people.epoch,
                "latency": {"seconds": simulator.latency, "jitter": simulator.jitter},
                "limits_enabled": simulator.quotas.enabled,
                "limits": limits,
                "accept_any": simulator.keys.accept_any,
                "faults": simulator.faults.active(),
                "operations": {name: [op.name for op in d.operations] for name, d in simulator.providers.items()},
            }
        )

    async def ledger(self, _request: web.Request) -> web.Response:
        return _json(self._simulator.ledger.report(self._simulator.providers))

    async def reset_ledger(self, _request: web.Request) -> web.Response:
        self._simulator.ledger.reset()
        return web.Response(status=204)

    async def reset(self, _request: web.Request) -> web.Response:
        """As after a start: no faults, no happenings, no calls, no usage, no known keys. Limits and latency stay as they are set."""
        simulator = self._simulator
        simulator.faults.clear()
        simulator.ledger.reset()
        simulator.quotas.forget_usage()
        simulator.keys.reset()
        simulator.media.reset()
        simulator.people.happenings.clear()
        return web.Response(status=204)

    async def faults(self, _request: web.Request) -> web.Response:
        return _json(self._simulator.faults.active())

    async def add_fault(self, request: web.Request) -> web.Response:
        fault = await _read(request, Fault)
        if fault.source != "*":
            self._known(fault.source, fault.operation)
        return _json(self._simulator.faults.add(fault), 201)

    async def clear_faults(self, request: web.Request) -> web.Response:
        return _json({"removed": self._simulator.faults.clear(request.query.get("source"))})

    async def remove_fault(self, request: web.Request) -> web.Response:
        number = request.match_info["id"]
        if not number.isdigit() or not self._simulator.faults.remove(int(number)):
            raise _refused(404, f"there is no fault {number!r}")
        return web.Response(status=204)

    async def latency(self, request: web.Request) -> web.Response:
        body = await _read(request, LatencyBody)
        if min(body.seconds, body.jitter) < 0:
            raise _refused(400, "seconds and jitter are not negative")
        self._simulator.latency, self._simulator.jitter = body.seconds, body.jitter
        return web.Response(status=204)

    async def limits(self, request: web.Request) -> web.Response:
        body = await _read(request, LimitsBody)
        quotas = self._simulator.quotas
        if body.enabled is not None:
            quotas.enabled = body.enabled
        if body.windows is not None:
            if body.source is None:
                raise _refused(400, "windows need a source")
            self._known(body.source)
            quotas.set_source(body.source, _windows(body.windows))
        return web.Response(status=204)

    async def credentials(self, _request: web.Request) -> web.Response:
        used = [
            {"source": source, "credential": credential, "used": calls}
            for (source, credential), calls in self._simulator.quotas.used().items()
        ]
        return _json(
            {"accept_any": self._simulator.keys.accept_any, "known": self._simulator.keys.known(), "used": used}
        )

    async def add_credential(self, request: web.Request) -> web.Response:
        body = await _read(request, KeyBody)
        simulator = self._simulator
        if body.accept_any is not None:
            simulator.keys.accept_any = body.accept_any
        if body.source is None or body.secret is None:
            if body.accept_any is None:
                raise _refused(400, "a credential has a source and a secret")
            return web.Response(status=204)
        self._known(body.source)
        grant = Grant(**{field: getattr(body, field) for field in Grant.__struct_fields__})
        name = simulator.keys.set(body.source, body.secret, grant)
        if body.windows is not None:
            simulator.quotas.set_credential(body.source, name, _windows(body.windows))
        return _json({"source": body.source, "credential": name, "revoked": body.revoked}, 201)

    async def person(self, request: web.Request) -> web.Response:
        """The truth about a handle or pk, with `?posts=` of their newest posts."""
        people = self._simulator.people
        name = request.match_info["name"]
        person = people.by_pk(name) if name.isdigit() else people.by_handle(name)
        if person is None:
            raise _refused(404, f"there is no {name!r}")
        count = request.query.get("posts", "0")
        if not count.isdigit():
            raise _refused(400, "posts is a number")
        return _json({"person": person, "posts": people.posts(person, 0, int(count))})

    async def truths(self, request: web.Request) -> web.Response:
        """All that was true of a handle or pk from `?since=` to `?until=`, in epoch seconds, with `?posts=` of the newest posts: `{"truths": [{"at", "person",
        "posts"}, …]}`, where each is true from its `at` until that of the next."""
        people, name = self._simulator.people, request.match_info["name"]
        try:
            since, until = float(request.query["since"]), float(request.query["until"])
            count = int(request.query.get("posts", "0"))
        except (KeyError, ValueError):
            raise _refused(400, "since and until are epoch seconds, and posts is a number") from None
        if not 0 <= until - since <= LONGEST_SPAN or count < 0:
            raise _refused(400, f"until is at most {LONGEST_SPAN:g} seconds after since, and posts is not negative")
        truths = []
        for at in people.moments(since, until):
            then = people.at(at)
            person = then.by_pk(name) if name.isdigit() else then.by_handle(name)
            if person is not None:
                truths.append({"at": at, "person": person, "posts": then.posts(person, 0, count)})
        if not truths:
            raise _refused(404, f"there was no {name!r}")
        return _json({"truths": truths})

    async def happenings(self, _request: web.Request) -> web.Response:
        return _json(self._simulator.people.happenings.until(time.time()))

    async def add_happening(self, request: web.Request) -> web.Response:
        asked = await _read(request, Happening)
        happened = self._simulator.people.happens(asked)
        if happened is None:
            raise _refused(404, f"there is no {asked.handle!r}")
        return _json(happened, 201)

    async def clear_happenings(self, _request: web.Request) -> web.Response:
        self._simulator.people.happenings.clear()
        return web.Response(status=204)

    async def media(self, request: web.Request) -> web.Response:
        """What the hosts of pictures were asked for; with `?pictures=1` by picture."""
        return _json(self._simulator.media.report(pictures_too=request.query.get("pictures") == "1"))

    async def set_media(self, request: web.Request) -> web.Response:
        body = await _read(request, MediaBody)
        if min(body.life or 0.0, body.ahead or 0.0) < 0:
            raise _refused(400, "life and ahead are not negative")
        clock = self._simulator.media.clock
        clock.life = clock.life if body.life is None else body.life
        clock.ahead = clock.ahead if body.ahead is None else body.ahead
        return web.Response(status=204)

    async def reset_media(self, _request: web.Request) -> web.Response:
        self._simulator.media.reset()
        return web.Response(status=204)

    def _known(self, source: str, operation: str | None = None) -> None:
        if source == media.SOURCE:
            if operation is not None and operation not in media.OPERATIONS:
                raise _refused(404, f"media has no operation {operation!r}; it has: {', '.join(media.OPERATIONS)}")
            return
        provider = self._simulator.providers.get(source)
        if provider is None:
            raise _refused(
                404,
                f"there is no simulated provider {source!r}; there is: {', '.join(sorted(self._simulator.providers))}",
            )
        names = [each.name for each in provider.operations]
        if operation is not None and operation not in names:
            raise _refused(404, f"{source} has no operation {operation!r}; it has: {', '.join(names)}")


def _windows(bodies: Sequence[WindowBody]) -> list[Window]:
    try:
        return [body.window() for body in bodies]
    except ValueError as error:
        raise _refused(400, str(error)) from None


async def _read(request: web.Request, shape: type[T]) -> T:
    try:
        return msgspec.json.decode(await request.read() or b"{}", type=shape)
    except (msgspec.DecodeError, ValueError) as error:
        raise _refused(400, str(error)) from None


def _refused(status: int, sentence: str) -> web.HTTPException:
    kind = web.HTTPNotFound if status == 404 else web.HTTPBadRequest
    return kind(text=encode({"error": sentence}).decode(), content_type="application/json")


def _json(value: Any, status: int = 200) -> web.Response:
    return web.Response(body=encode(value), status=status, content_type="application/json")
