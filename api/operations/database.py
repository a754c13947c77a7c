"""/v1/database: PostgreSQL as Beat uses it, and the processes that do."""

from falcon.asgi import Request, Response

from api.calls import Call, Calls, answer
from api.operations.reasons import READ
from api.replies import send
from api.resource import Resource
from beat_actors.database import processes, upkeep


class DatabaseTables(Resource):
    """GET: the tables, with their size, their dead rows and their last vacuum."""

    scopes = READ
    calls: Calls = {
        "GET": Call("List tables, most dead rows first.", {200: answer("TableList", tables=list[upkeep.Table])})
    }

    async def on_get(self, _req: Request, resp: Response) -> None:
        send(resp, {"tables": await upkeep.tables(self._provider.services.database)})


class DatabaseConnections(Resource):
    """GET: who has PostgreSQL's connections, and how many there can be."""

    scopes = READ
    calls: Calls = {"GET": Call("List the connections of PostgreSQL by client.", {200: upkeep.Connections})}

    async def on_get(self, _req: Request, resp: Response) -> None:
        send(resp, await upkeep.connections(self._provider.services.database))


class DatabaseProcesses(Resource):
    """GET: the processes of Beat that live, each with its last minute."""

    scopes = READ
    calls: Calls = {
        "GET": Call(
            "List processes with the metrics of their last minute.",
            {200: answer("ProcessList", processes=list[processes.Process])},
        )
    }

    async def on_get(self, _req: Request, resp: Response) -> None:
        send(resp, {"processes": await processes.processes(self._provider.services.database)})
