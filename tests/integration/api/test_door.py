"""The API as it is served: connections that say nothing, heads and bodies that are no HTTP, and health beside a full door."""

import asyncio
import json
import os
import resource
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import pytest

from api import untaken
from api.__main__ import HEAD_BYTES, MAX_CONNECTIONS, RESERVED_FILES, connections
from api.services import HEADERS
from beat_actors.access import keys
from beat_actors.access.keys import NewKey
from beat_actors.access.scopes import Scope
from beat_actors.database import Database
from beat_actors.local.home import Home, temporary_home
from beat_actors.local.service import answers_http
from beat_actors.settings import Settings
from tests.conftest import Servers, settings_over
from tests.integration.api.conftest import bearer
from tests.integration.local.processes import eventually

ROUTE = "/v1/scrape-requests"
FEW = 2 * RESERVED_FILES
"""Open files; half of them are left for connections."""
Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass(frozen=True)
class Served:
    port: int
    health: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def opened(self, count: int) -> list[Stream]:
        """Connections on which nothing is sent."""
        return [await asyncio.open_connection("127.0.0.1", self.port) for _ in range(count)]


@contextmanager
def serving(home: Home, settings: Settings, log: Path, *, files: int | None = None) -> Iterator[Served]:
    """`python -m api`. `files`: how many the system lets it open."""
    served = Served(home.port("api"), home.port("health"))
    env = {name: value for name, value in os.environ.items() if not name.startswith("BEAT_")} | {
        "BEAT_DATABASE_URL": str(settings.database_url),
        "BEAT_DATABASE_PREPARED_STATEMENTS": str(settings.database_prepared_statements),
        "BEAT_DATABASE_MAY_LOSE_COMMITS": "true",
        "BEAT_REDIS_URL": str(settings.redis_url),
        "BEAT_REDIS_NAMESPACE": settings.redis_namespace,
        "BEAT_LIMIT_PREFIX": settings.limit_prefix,
        "BEAT_VAULT_KEYS": settings.vault_keys.get_secret_value(),
        "BEAT_MESSAGE_KEYS": settings.message_keys.get_secret_value(),
        "BEAT_API_PORT": str(served.port),
        "BEAT_HEALTH_PORT": str(served.health),
    }

    def few() -> None:
        if files is not None:
            resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))

    command = [sys.executable, "-m", "api"]
    with (
        log.open("wb") as written,
        subprocess.Popen(command, env=env, preexec_fn=few, stdout=written, stderr=written) as process,
    ):
        try:
            while not answers_http(served.port, "/healthz"):
                assert process.poll() is None, log.read_text()
                time.sleep(0.05)  # or it would take the time of the process that it waits for
            yield served
        finally:
            process.terminate()


@pytest.fixture
def home() -> Iterator[Home]:
    with temporary_home() as home:
        yield home


@pytest.fixture
async def served(home: Home, settings: Settings, tmp_path: Path) -> AsyncIterator[Served]:
    with serving(home, settings, tmp_path / "api.log") as served:
        yield served


@pytest.fixture(scope="module")
def lasting(
    servers: Servers, template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Served, Settings]]:
    """One server for the tests after which it is as it was before."""
    log = tmp_path_factory.mktemp("door") / "api.log"
    with servers.databases.database(f"test_{uuid.uuid4().hex[:12]}") as url, temporary_home() as home:
        settings = settings_over(servers, url)
        with serving(home, settings, log) as served:
            yield served, settings


async def got(url: str) -> tuple[int, Any]:
    async with aiohttp.ClientSession() as http, http.get(url) as answer:
        return answer.status, await answer.json()


async def said(served: Served, sent: bytes) -> tuple[int, dict[str, str], bytes]:
    """What raw bytes are answered: status, headers, body, and that the connection ends."""
    reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
    writer.write(sent)
    answered = await reader.read()
    writer.close()
    head, _, body = answered.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    return (
        int(first.split(" ")[1]),
        {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)},
        body,
    )


@pytest.mark.exhaustive
async def test_connections_that_say_nothing_keep_nobody_out_and_are_closed(served: Served) -> None:
    """More of them than the server takes by its own default."""
    silent = await served.opened(1100)
    assert await got(f"{served.url}/healthz") == (200, {"status": "ok"})
    assert not any(reader.at_eof() for reader, _ in silent)
    assert {await reader.read() for reader, _ in silent} == {b""}


@pytest.mark.exhaustive
@pytest.mark.parametrize(
    "sent", [b"GET /healthz HT", b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"], ids=["a part of a head", "a whole call"]
)
async def test_a_connection_on_which_no_call_comes_is_closed(served: Served, sent: bytes) -> None:
    """The server would wait for the rest of a head, or for the next call, as long as the client likes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
    writer.write(sent)
    answered = await reader.read()  # until it is closed
    assert (b" 200 OK" in answered) is sent.endswith(b"\r\n")
    writer.close()


@pytest.mark.exhaustive
async def test_a_caller_that_takes_nothing_of_its_answers_keeps_no_connection(served: Served) -> None:
    """The server would wait for it for ever, and needs no key for that."""
    callers = []
    for _ in range(20):
        caller = socket.socket()
        caller.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
        await asyncio.to_thread(caller.connect, ("127.0.0.1", served.port))
        caller.sendall(b"GET /openapi.json HTTP/1.1\r\nHost: a\r\n\r\n" * 40)
        callers.append(caller)

    def all_closed() -> bool:
        kept = [one for one in psutil.net_connections("tcp") if one.laddr and one.laddr.port == served.port]
        return not any(one.status == psutil.CONN_ESTABLISHED for one in kept)

    assert await asyncio.to_thread(eventually, all_closed, within=90)
    for caller in callers:
        caller.close()
    assert await got(f"{served.url}/healthz") == (200, {"status": "ok"})


@pytest.mark.skipif(untaken.OPTION is None, reason="the system cannot do it")
async def test_connections_have_the_time_of_the_socket_that_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those too that came before it had one."""
    monkeypatch.setattr(untaken, "LOOKED_AGAIN", 0.0)
    with socket.create_server(("127.0.0.1", 0)) as listening, socket.socket() as caller, socket.socket() as early:
        port = listening.getsockname()[1]
        early.connect(("127.0.0.1", port))
        first, _ = listening.accept()
        before = len(list(untaken.DESCRIPTORS.iterdir()))
        assert not untaken.bounded(port + 1)
        assert len(list(untaken.DESCRIPTORS.iterdir())) == before
        await asyncio.wait_for(untaken.end_untaken([port]), 20)
        caller.connect(("127.0.0.1", port))
        accepted, _ = listening.accept()
        with first, accepted:
            for one in (first, accepted):
                assert one.getsockopt(socket.IPPROTO_TCP, untaken.OPTION) == untaken.UNTAKEN_MS


@pytest.mark.exhaustive
async def test_health_is_answered_while_every_connection_is_taken(
    home: Home, settings: Settings, tmp_path: Path
) -> None:
    with serving(home, settings, tmp_path / "api.log", files=FEW) as served:
        silent = await served.opened(FEW - RESERVED_FILES + 50)
        waits = asyncio.create_task(got(f"{served.url}/healthz"))
        assert await got(f"http://127.0.0.1:{served.health}/healthz") == (200, {"status": "ok"})
        status, ready = await got(f"http://127.0.0.1:{served.health}/readyz")
        assert (status, ready["checks"]["database"]) == (200, "ok")
        assert not waits.done()
        assert {await reader.read() for reader, _ in silent} == {b""}
        assert await waits == (200, {"status": "ok"})


async def test_http_1_0_is_answered(lasting: tuple[Served, Settings]) -> None:
    served, _ = lasting
    status, headers, body = await said(served, b"GET /healthz HTTP/1.0\r\n\r\n")
    assert (status, json.loads(body)) == (200, {"status": "ok"})
    assert headers.items() >= {name.lower(): value for name, value in HEADERS.items()}.items()


CHUNKS = {
    "a size beyond all": b"FFFFFFFFFFFFFFFFF\r\nabc\r\n0\r\n\r\n",
    "a negative size": b"-5\r\nabc\r\n0\r\n\r\n",
    "a long extension": b"3;" + b"x" * 100_000,
    "a broken second chunk": b"3\r\n{} \r\n-1\r\n\r\n",
}


async def test_chunks_that_are_none_are_the_callers_problem(lasting: tuple[Served, Settings]) -> None:
    served, settings = lasting
    database = Database(settings, name="test")
    async with database.transaction() as transaction:
        key = await keys.create(transaction, NewKey("test", (Scope.SUBMIT,)), actor="test")
    await database.close()
    token = bearer(key)["Authorization"].encode()
    head = b"POST " + ROUTE.encode() + b" HTTP/1.1\r\nHost: a\r\nAuthorization: " + token
    head += b"\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    for case, chunks in CHUNKS.items():
        status, headers, body = await said(served, head + chunks)
        assert (status, json.loads(body)["type"]) == (400, "urn:beat:problem:body_broken"), case
        assert headers["content-type"] == "application/problem+json"
        assert headers["x-content-type-options"] == "nosniff"


async def test_a_head_has_a_largest_size(lasting: tuple[Served, Settings]) -> None:
    served, _ = lasting
    status, headers, body = await said(
        served, b"GET /healthz?" + b"a=1&" * HEAD_BYTES + b" HTTP/1.1\r\nHost: a\r\n\r\n"
    )
    assert (status, body) == (431, b"")
    assert "content-security-policy" not in headers  # it is the server's own answer


@pytest.mark.parametrize(
    ("files", "most"),
    [
        ((256, 1_000_000), MAX_CONNECTIONS),
        ((256, MAX_CONNECTIONS + RESERVED_FILES), MAX_CONNECTIONS),
        ((1024, 2048), 2048 - RESERVED_FILES),
        ((64, 64), 32),
        ((resource.RLIM_INFINITY, resource.RLIM_INFINITY), MAX_CONNECTIONS),
    ],
)
def test_the_connections_follow_what_the_system_lets_be_open(monkeypatch, files: tuple[int, int], most: int) -> None:
    held = files
    monkeypatch.setattr(resource, "getrlimit", lambda _: held)

    def limited(_: int, limits: tuple[int, int]) -> None:
        nonlocal held
        assert limits[0] <= held[1]
        held = limits

    monkeypatch.setattr(resource, "setrlimit", limited)
    assert connections() == most
    assert held[0] == resource.RLIM_INFINITY or held[0] >= most


async def test_a_refused_body_that_does_not_come_keeps_no_connection(lasting: tuple[Served, Settings]) -> None:
    served, _ = lasting
    head = (
        b"POST "
        + ROUTE.encode()
        + b" HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 10\r\n\r\n{"
    )
    status, _, body = await said(served, head)
    assert (status, json.loads(body)["status"]) == (401, 401)
