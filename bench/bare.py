"""The least that an API can do, to hold Beat's against: Falcon, psycopg, one statement, no key. `granian bench.bare:app` serves it."""

from typing import Any

import falcon.asgi
import msgspec
import psycopg
from falcon.asgi import Request, Response
from psycopg.rows import namedtuple_row

from beat_actors.settings import load


class Profile:
    def __init__(self) -> None:
        self._idle: list[psycopg.AsyncConnection[Any]] = []

    async def on_get(self, _req: Request, resp: Response, handle: str) -> None:
        connection = self._idle.pop() if self._idle else await self._connect()
        async with connection.cursor() as cursor:
            await cursor.execute(
                "SELECT * FROM instagram_account WHERE handle = %s ORDER BY observed_at DESC LIMIT 1", (handle,)
            )
            row = await cursor.fetchone()
        self._idle.append(connection)
        resp.content_type = "application/json"
        resp.data = msgspec.json.encode(row._asdict() if row is not None else None)

    async def _connect(self) -> psycopg.AsyncConnection[Any]:
        return await psycopg.AsyncConnection.connect(
            str(load().database_url), autocommit=True, prepare_threshold=0, row_factory=namedtuple_row
        )


app: falcon.asgi.App[Any, Any] = falcon.asgi.App()
app.add_route("/v1/profiles/instagram/{handle}", Profile())
