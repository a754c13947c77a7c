"""The API behind nginx, as docs/security.md configures it; CI installs it."""

import asyncio
import contextlib
import os
import re
import shutil
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import aiohttp
import pytest

from api.body import MAX_LIST_BYTES
from beat_actors.access import keys
from beat_actors.access.keys import NewKey
from beat_actors.access.scopes import Scope
from beat_actors.database import Database
from beat_actors.local.home import Home, temporary_home
from beat_actors.local.service import answers_http
from beat_actors.settings import Settings
from tests.conftest import Servers
from tests.images import ROOT
from tests.integration.access.neighbours import settings_of
from tests.integration.api.conftest import bearer
from tests.integration.api.test_door import ROUTE, Served, serving

pytestmark = pytest.mark.exhaustive
PAGE = (ROOT / "docs" / "security.md").read_text()
BINARY = os.environ.get("BEAT_TEST_NGINX") or shutil.which("nginx", path=f"{os.defpath}:/usr/sbin")
CONNECTIONS = 2048
"""Of nginx's one worker; each call takes two."""
SILENT = 300
HEAD = b"POST /v1/scrape-requests HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n"


def documented() -> str:
    found = re.search(r"```nginx\n(.*?)```", PAGE, re.DOTALL)
    assert found is not None
    return found[1]


@dataclass
class Relay:
    """What nginx sends to the API, connection by connection; `ended_by` is who closed each first."""

    port: int = 0
    sent: list[bytearray] = field(default_factory=list)
    ended_by: list[str] = field(default_factory=list)
    ended: asyncio.Event = field(default_factory=asyncio.Event)


@asynccontextmanager
async def relay_to(api: int) -> AsyncIterator[Relay]:
    relay = Relay()

    async def copied(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, kept: bytearray) -> None:
        with contextlib.suppress(ConnectionError):
            while sent := await reader.read(1 << 16):
                kept += sent
                writer.write(sent)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", api)
        relay.sent.append(bytearray())
        ways = {
            asyncio.create_task(copied(reader, back, relay.sent[-1])): "nginx",
            asyncio.create_task(copied(there, writer, bytearray())): "the API",
        }
        first, _ = await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        relay.ended_by += [ways[way] for way in first]
        relay.ended.set()
        writer.close()
        back.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        relay.port = server.sockets[0].getsockname()[1]
        yield relay


@asynccontextmanager
async def nginx_before(port: int, home: Home) -> AsyncIterator[int]:
    """The port of an nginx with the documented configuration and, for the API, this port."""
    assert BINARY is not None
    own, place = home.port("nginx"), home.path / "nginx"
    place.mkdir(exist_ok=True)
    text = documented()
    assert (text.count("127.0.0.1:8000"), text.count("server {\n")) == (1, 1)
    text = text.replace("127.0.0.1:8000", f"127.0.0.1:{port}")
    text = text.replace("server {\n", f"server {{\n    listen 127.0.0.1:{own};\n    listen 127.0.0.2:{own};\n")
    folders = "".join(f"{name}_temp_path {place};\n" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    (place / "nginx.conf").write_text(
        f"daemon off;\nmaster_process off;\npid {place / 'pid'};\nerror_log stderr;\n"
        f"events {{ worker_connections {CONNECTIONS}; }}\nhttp {{\naccess_log off;\n{folders}{text}}}\n"
    )
    log = place / "log"
    command = (BINARY, "-p", str(place), "-e", "stderr", "-c", str(place / "nginx.conf"))
    with log.open("wb") as written:
        process = await asyncio.create_subprocess_exec(*command, stdout=written, stderr=written)
        try:
            while not await asyncio.to_thread(answers_http, own, "/healthz"):
                assert process.returncode is None, log.read_text()
            yield own
        finally:
            process.terminate()
            await process.wait()


@pytest.fixture(scope="module")
def home() -> Iterator[Home]:
    with temporary_home() as home:
        yield home


@pytest.fixture(scope="module")
def own(servers: Servers, template: str) -> Iterator[Settings]:
    """Of an API that these tests share, since it takes a second to start."""
    with servers.databases.database(f"test_{uuid.uuid4().hex[:12]}") as url:
        yield settings_of(servers, url)


@pytest.fixture(scope="module")
def served(home: Home, own: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    if BINARY is None:
        pytest.skip("there is no nginx on this machine")
    with serving(home, own, tmp_path_factory.mktemp("api") / "log") as served:
        yield served


@dataclass(frozen=True)
class Front:
    port: int
    relay: Relay

    async def opened(self, count: int, sent: bytes = b"") -> list[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        streams = [await asyncio.open_connection("127.0.0.1", self.port) for _ in range(count)]
        for _, writer in streams:
            writer.write(sent)
        return streams

    async def called(
        self, method: str, path: str, *, host: str = "127.0.0.1", headers: dict[str, str] | None = None, **said: object
    ) -> tuple[int, str, str]:
        """Status, type and text of the answer, over a connection of its own. `host`: also the address from which it is called."""
        connector = aiohttp.TCPConnector(local_addr=(host, 0))
        async with (
            aiohttp.ClientSession(connector=connector) as http,
            http.request(method, f"http://{host}:{self.port}{path}", headers=headers, **said) as answer,  # type: ignore[arg-type]
        ):
            return answer.status, answer.content_type, await answer.text()


@pytest.fixture
async def front(served: Served, home: Home) -> AsyncIterator[Front]:
    async with relay_to(served.port) as relay, nginx_before(relay.port, home) as port:
        yield Front(port, relay)


async def test_calls_of_many_connections_share_one_that_is_kept(front: Front) -> None:
    for _ in range(20):
        assert (await front.called("GET", "/healthz"))[0] == 200
    (sent,) = front.relay.sent
    assert sent.count(b"GET /healthz HTTP/1.1\r\n") >= 20
    assert b"HTTP/1.0" not in sent
    assert b"connection: close" not in sent.lower()


async def test_calls_of_one_address_are_limited_and_others_are_answered(front: Front) -> None:
    limit = int(re.search(r"limit_conn callers (\d+);", documented())[1])  # type: ignore[index]
    streams = await front.opened(limit, HEAD)
    refused = (200, "", "")
    while refused[0] == 200:  # until nginx has read all heads
        refused = await front.called("GET", "/healthz")
    assert refused[0] == 429
    assert (await front.called("GET", "/healthz", host="127.0.0.2"))[0] == 200
    assert not any(b"POST" in sent for sent in front.relay.sent)  # a body is passed on when it has come
    for _, writer in streams:
        writer.close()


async def test_connections_that_say_nothing_do_not_reach_the_api_and_keep_nobody_out(front: Front) -> None:
    before = len(front.relay.sent)
    streams = await front.opened(SILENT)
    assert (await front.called("GET", "/healthz"))[0] == 200
    assert len(front.relay.sent) == before
    for _, writer in streams:
        writer.close()


async def test_what_is_idle_or_slow_ends_within_the_times_of_the_page(front: Front) -> None:
    """nginx ends a connection to the API before the API does, so that no call meets one that is closed. It waits a minute for heads and
    bodies by itself."""
    streams = [*await front.opened(5), *await front.opened(5, HEAD[:20]), *await front.opened(5, HEAD + b"{")]
    for name in ("client_header_timeout", "client_body_timeout"):
        assert f"{name} 10s;" in documented()
    await front.called("GET", "/healthz")
    async with asyncio.timeout(50):
        await asyncio.gather(*(reader.read() for reader, _ in streams), front.relay.ended.wait())
    assert set(front.relay.ended_by) == {"nginx"}


async def test_answers_of_the_api_pass_as_they_are(front: Front, own: Settings) -> None:
    status, type_, _ = await front.called("GET", "/v1/scrape-requests")
    assert (status, type_) == (401, "application/problem+json")
    database = Database(own, name="test")
    async with database.transaction() as transaction:
        key = bearer(await keys.create(transaction, NewKey("test", (Scope.SUBMIT, Scope.READ)), actor="test"))
    await database.close()
    good = {"platform": "instagram", "flow": "refresh_profile_by_handle", "params": {"handle": "creator"}}
    status, _, text = await front.called("POST", f"{ROUTE}?wait=1", json=good, headers=key)
    assert (status, '"id"' in text) == (202, True)
    largest = b'{"requests": [' + b" " * (MAX_LIST_BYTES - 16) + b"]}"
    json_type = {"Content-Type": "application/json"}
    status, type_, _ = await front.called("POST", ROUTE, data=largest, headers=key | json_type)
    assert (status, type_) == (400, "application/problem+json")  # the API's own: nginx let it pass
    assert (await front.called("POST", ROUTE, data=largest + b" ", headers=key | json_type))[0] == 413
