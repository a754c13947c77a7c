"""/v1/audit: who changed what."""

from falcon.asgi import Request, Response

from api.access import Scopes
from api.calls import Call, Calls, answer, up_to
from api.parameters import whole
from api.replies import send
from api.resource import Resource
from beat_actors import audit
from beat_actors.access.scopes import Scope
from beat_actors.text import check_text


class Audit(Resource):
    """GET: who changed what, newest first."""

    scopes: Scopes = {"GET": Scope.ADMIN}
    calls: Calls = {
        "GET": Call(
            "List changes by operators and keys, newest first.",
            {200: answer("AuditLog", entries=list[audit.AuditEntry])},
            query={"target": str, "actor": str, "limit": up_to(1000, least=1)},
            named="list_audit_entries",
        )
    }

    async def on_get(self, req: Request, resp: Response) -> None:
        target, actor = req.get_param("target"), req.get_param("actor")
        for name, value in (("target", target), ("actor", actor)):
            check_text(value or "", name, longest=300)
        limit = whole(req, "limit", default=50, most=1000)
        async with self._provider.services.database.transaction() as transaction:
            send(resp, {"entries": await audit.entries(transaction, target=target, actor=actor, limit=limit)})
