"""PostgreSQL as Beat uses it, and the processes that do."""

import msgspec

from beat_actors.cli import operators
from beat_actors.database.processes import Process
from beat_actors.database.upkeep import Connections, Table


class TableList(msgspec.Struct):
    tables: list[Table]


class ProcessList(msgspec.Struct):
    processes: list[Process]


class There(operators.There):
    async def tables(self) -> list[Table]:
        return (await self.client.fetch("/v1/database/tables", TableList)).tables

    async def connections(self) -> Connections:
        return await self.client.fetch("/v1/database/connections", Connections)

    async def processes(self) -> list[Process]:
        return (await self.client.fetch("/v1/database/processes", ProcessList)).processes
