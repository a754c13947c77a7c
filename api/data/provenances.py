"""/v1/KIND/PLATFORM/NAME/provenance: where each field of a thing is known from."""

from falcon.asgi import Request, Response

from api.access import caller_of, reader_of
from api.calls import Call, Calls
from api.data.kinds import OfKind
from api.naming import one_of_kind
from api.replies import send
from api.services import Provider
from beat_actors.data.provenance import Provenance, provenance
from beat_actors.platforms.registry import platform as platform_named
from beat_actors.text import check_text


class ProvenanceOfThing(OfKind):
    """GET: of each field the value, and the observation from which it is known. It starts no refresh."""

    def __init__(self, provider: Provider, kind: str) -> None:
        super().__init__(provider, kind)
        does = f"Get the observation from which each field of one {one_of_kind(kind)} is known."
        self.calls: Calls = {"GET": Call(does, {200: Provenance}, query={"field": str})}

    async def on_get(self, req: Request, resp: Response, platform: str, name: str) -> None:
        where = platform_named(platform)
        entity, field = where.entity_named(self._kind), req.get_param("field")
        check_text(name, "name", longest=255, one_line=True)
        async with self._provider.services.database.statements() as alone:
            found = await provenance(alone, where, entity, name, field=field, reader=reader_of(caller_of(req)))
        send(resp, found)
