"""/v1/changes: what changed since a cursor or a time."""

from datetime import datetime

from falcon.asgi import Request, Response

from api.access import Scopes, caller_of, reader_of
from api.calls import Call, Calls, up_to
from api.data.kinds import READ
from api.parameters import moment, page_of
from api.replies import send
from api.resource import Resource
from beat_actors.data import catalog, changes
from beat_actors.errors import BadInput
from beat_actors.platforms.registry import platform as platform_named


class Changes(Resource):
    """GET: what changed since a cursor or a time."""

    scopes: Scopes = READ
    calls: Calls = {
        "GET": Call(
            "List what changed since a cursor or a time, oldest first.",
            {200: changes.ChangePage},
            query={"since": str, "platform": str, "kind": str, "limit": up_to(changes.MAX_PAGE, least=1)},
        )
    }

    async def on_get(self, req: Request, resp: Response) -> None:
        platform, kind = req.get_param("platform"), req.get_param("kind")
        if platform is not None:
            platform_named(platform)
        if kind is not None and kind not in catalog.kinds():
            raise BadInput(f"kind is one of {', '.join(catalog.kinds())}", field="kind")
        database = self._provider.services.database
        wanted = changes.Wanted(
            since=_since(req),
            platform=platform,
            kind=kind,
            reader=reader_of(caller_of(req)),
            limit=page_of(req, changes.MAX_PAGE, default=200)[0],
        )
        async with database.statements() as alone:
            send(resp, await changes.since(alone, wanted, kept_days=database.settings.log_days))


def _since(req: Request) -> str | datetime | None:
    """A cursor, a time with its zone, or `None` for the beginning."""
    text = req.get_param("since")
    try:
        parsed = None if text is None else datetime.fromisoformat(text)
    except ValueError:
        return text
    return text if parsed is None else moment(req, "since")
