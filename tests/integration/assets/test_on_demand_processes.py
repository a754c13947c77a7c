"""Readers of a picture that is not stored, over the processes of production: two of the API, one that uploads."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from beat_actors.local.home import Home, temporary_home
from beat_actors.local.service import answers_http
from beat_actors.settings import Settings
from tests.conftest import VAULT_KEYS
from tests.integration.assets.origins import Pictures, picture
from tests.integration.assets.processes import environment, started
from tests.integration.assets.rows import asset, eventually, insert, run
from tests.strict_s3 import StrictS3

pytestmark = pytest.mark.exhaustive
READERS = 1000


@asynccontextmanager
async def api(home: Home, name: str, env: dict[str, str], log: Path) -> AsyncIterator[str]:
    """`python -m api`."""
    port, health = home.port(f"{name}-api"), home.port(f"{name}-health")
    env = env | {"BEAT_API_PORT": str(port), "BEAT_HEALTH_PORT": str(health), "BEAT_VAULT_KEYS": VAULT_KEYS}
    with log.open("ab") as file:
        process = subprocess.Popen(  # noqa: ASYNC220 - it returns at once
            [sys.executable, "-m", "api"], env=env, stdout=file, stderr=file, process_group=0
        )
    try:
        await eventually(lambda: answers_http(port))
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(process.pid, signal.SIGKILL)  # its server is a process of its own
        await asyncio.to_thread(process.wait)


@pytest.mark.timeout(240)
async def test_s7_11_a_thousand_readers_over_two_processes_cause_one_fetch_and_get_the_same_bytes(
    upload_settings: Settings, database_url: str, bucket: StrictS3, origin: Pictures, tmp_path: Path
) -> None:
    env = environment(upload_settings, bucket, BEAT_API_PROXIES="1")
    async with AsyncExitStack() as stack:
        home = stack.enter_context(temporary_home())
        apis = [await stack.enter_async_context(api(home, name, env, tmp_path / "api")) for name in ("one", "other")]
        uploads = await stack.enter_async_context(started(tmp_path / "log", env))
        await uploads.until_said("worker_ready")
        http = await stack.enter_async_context(aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)))
        # It is not of the classes that the uploader begins with, and its origin answers when all readers have come.
        origin.holds.clear()
        insert(database_url, [asset("a", 3, url="https://cdn.example.com/p/7.jpg")])
        ((public_id,),) = run(database_url, "SELECT public_id::text FROM asset_log")

        async def read(url: str, network: int) -> tuple[int, bytes]:
            async with http.get(
                f"{url}/assets/{public_id}", headers={"X-Forwarded-For": f"198.51.{network}.7"}
            ) as answer:
                return answer.status, await answer.read()

        readers = [asyncio.create_task(read(url, n % 10)) for n in range(READERS // 2) for url in apis]
        await eventually(lambda: origin.under_way == 1)
        origin.holds.set()
        answers = await asyncio.gather(*readers)
    assert set(answers) == {(200, picture(7))}
    assert origin.asked.total() == 1
