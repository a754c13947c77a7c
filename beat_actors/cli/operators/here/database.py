"""PostgreSQL as Beat uses it, and the processes that do."""

from beat_actors.cli.operators import here
from beat_actors.database import processes, upkeep
from beat_actors.database.processes import Process
from beat_actors.database.upkeep import Connections, Table


class Here(here.Here):
    async def tables(self) -> list[Table]:
        return await upkeep.tables(self.session.database)

    async def connections(self) -> Connections:
        return await upkeep.connections(self.session.database)

    async def processes(self) -> list[Process]:
        return await processes.processes(self.session.database)
