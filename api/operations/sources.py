"""/v1/sources: look at sources, and open or close their breakers."""

import msgspec
from falcon.asgi import Request, Response

from api.access import caller_of
from api.body import read
from api.calls import Call, Calls, answer
from api.operations.reasons import CHANGE, READ, Text
from api.replies import send
from api.resource import Resource
from beat_actors.broker import sources
from beat_actors.errors import NotFound
from beat_actors.text import check_text


class Opening(msgspec.Struct, forbid_unknown_fields=True):
    """`operation`: the default is all operations of the source. `seconds`: after them, one probe decides whether the breaker closes."""

    reason: Text
    operation: str | None = None
    seconds: float = 3600.0


class Closing(msgspec.Struct, forbid_unknown_fields=True):
    reason: Text
    operation: str | None = None


class DataBreakerChange(msgspec.Struct, forbid_unknown_fields=True):
    """`operation`: the default is all operations of the source. `parser_version`: of the operation's parser; the default is the version that this
    process has when the breaker opens, and all versions when it closes."""

    reason: Text
    operation: str | None = None
    parser_version: int | None = None


class Sources(Resource):
    """GET: each source, with its usable credentials, the calls in flight, and the breakers that are not closed."""

    scopes = READ
    calls: Calls = {
        "GET": Call("List sources and their breakers.", {200: answer("SourceList", sources=list[sources.SourceView])})
    }

    async def on_get(self, _req: Request, resp: Response) -> None:
        send(resp, {"sources": await sources.overview(self._provider.services.database)})


class SourceBreaker(Resource):
    """POST: open a breaker (Beat sends no more calls, and those that are out end) or close it (Beat calls the source again at once)."""

    scopes = CHANGE
    calls: Calls = {"POST": Call("Open or close the breaker of a source.", {200: sources.SourceView}, body=Opening)}

    async def on_post(self, req: Request, resp: Response, source: str, change: str) -> None:
        services, actor = self._provider.services, caller_of(req).actor
        check_text(source, "source", longest=100)
        if change == "open":
            opening = await read(req, Opening)
            await sources.open_breaker(
                services.database,
                source,
                opening.operation,
                seconds=opening.seconds,
                actor=actor,
                reason=opening.reason,
            )
        elif change == "close":
            closing = await read(req, Closing)
            await sources.close_breaker(
                services.database, source, closing.operation, actor=actor, reason=closing.reason
            )
        else:
            raise NotFound("a breaker is changed by open or close")
        (view,) = await sources.overview(services.database, source)
        self._provider.wakeups.send([view.platform])
        send(resp, view)


class SourceDataBreaker(Resource):
    """POST: open a data breaker (the answers are wrong: Beat sends no more calls until somebody closes it, or another version of the parser is used) or
    close it (Beat uses the answers again, also where Beat itself had opened it)."""

    scopes = CHANGE
    calls: Calls = {
        "POST": Call("Open or close the data breaker of a source.", {200: sources.SourceView}, body=DataBreakerChange)
    }

    async def on_post(self, req: Request, resp: Response, source: str, change: str) -> None:
        services = self._provider.services
        check_text(source, "source", longest=100)
        turns = {"open": sources.open_data_breaker, "close": sources.close_data_breaker}
        if change not in turns:
            raise NotFound("a data breaker is changed by open or close")
        given = await read(req, DataBreakerChange)
        await turns[change](
            services.database,
            source,
            given.operation,
            parser_version=given.parser_version,
            actor=caller_of(req).actor,
            reason=given.reason,
        )
        (view,) = await sources.overview(services.database, source)
        self._provider.wakeups.send([view.platform])
        send(resp, view)
