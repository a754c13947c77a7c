"""Isolation of poison: fetches on which workers may have died are tried in a process that holds nothing else.

A worker holds many fetches, and all of them are tried once more when it dies. So a fetch that was tried often need not be the poison: it may
have been in the same batch. Here a child of the worker claims each fetch by itself. Where the child dies, the fetch that it held is the poison.
The worker lives on, and the next child takes the other fetches.
"""

import asyncio
import contextlib
import os
import resource
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from pathlib import Path

import msgspec

from beat_actors.database import Statements
from beat_actors.engine import Engine
from beat_actors.fetches.states import Stage
from beat_actors.logger import get_logger
from beat_actors.logs import configure
from beat_actors.pipeline.ingest import ingest
from beat_actors.pipeline.process import process
from beat_actors.pipeline.stage import StageResult
from beat_actors.settings import load

log = get_logger(__name__)

DEADLINE = 60.0
"""Seconds that one of them may take, the start of the process included. It is tried again, until its tries are used up."""
MEMORY = 1 << 30
"""Bytes that it may take beyond what it begins with: what wants more gets a `MemoryError`, and takes nobody else's."""
WITHHELD = frozenset(
    {
        "BEAT_VAULT_KEYS", "BEAT_MESSAGE_KEYS", "BEAT_DATABASE_OWNER_URL", "BEAT_DATABASE_ADMIN_URL",
        "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN",
    }
)  # fmt: skip
SQL = Statements(__file__)
STAGE = SQL("stage", str)
STAGES: Mapping[str | None, Callable[..., Awaitable[StageResult]]] = {Stage.RETRIEVED: ingest, Stage.INGESTED: process}


class Began(msgspec.Struct, tag="began"):
    """The child is about to claim this one."""

    id: int


class Ended(msgspec.Struct, tag="ended"):
    """What its stage said is to be done next."""

    result: StageResult


async def run_isolated(fetch_ids: Sequence[int]) -> StageResult:
    """Try each of them in a process of its own, or in one that no other has killed. Never raises for what they do."""
    result = StageResult()
    rest = list(fetch_ids)
    while rest:
        begun: int | None = None
        async for said in _child(rest):
            if isinstance(said, Began):
                begun = said.id
            else:
                result.add(said.result)
        if begun is None:
            log.error(
                "not_isolated",
                fetches=rest[:20],
                meaning="the process for them did not start; they are tried later",
            )
            break
        rest = rest[rest.index(begun) + 1 :]
    return result


async def _child(ids: Sequence[int]) -> AsyncIterator[Began | Ended]:
    """What a child says, until it has ended, whichever way."""
    command = (sys.executable, "-m", "beat_actors.pipeline.isolation", *map(str, ids))
    child = await asyncio.create_subprocess_exec(
        *command, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, env=_without_secrets(os.environ)
    )
    assert child.stdout is not None
    try:
        while line := await asyncio.wait_for(child.stdout.readline(), DEADLINE):
            yield msgspec.json.decode(line, type=Began | Ended)
    except TimeoutError:
        log.warning("isolated_took_too_long", seconds=DEADLINE)
    finally:
        with contextlib.suppress(ProcessLookupError):
            child.kill()
        await child.wait()


def _without_secrets(environment: Mapping[str, str]) -> dict[str, str]:
    """The child parses what may have killed a worker; it opens nothing, sends nothing and stores nothing."""
    return {name: value for name, value in environment.items() if name not in WITHHELD}


def limit_memory() -> None:
    """Also of what it may map. Where there is no such limit, or no /proc to ask, it stays as it is."""
    with contextlib.suppress(OSError, ValueError):
        mapped = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        _, most = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (mapped + MEMORY, most))


async def _try(ids: Sequence[int]) -> None:
    settings = load()
    configure(settings, service="isolation")
    engine = Engine.start(settings, name="isolation")
    limit_memory()
    try:
        for fetch_id in ids:
            _say(Began(fetch_id))
            async with engine.database.statements() as alone:
                stage = await alone.value(STAGE, {"id": fetch_id})
            if stage in STAGES:
                _say(Ended(await STAGES[stage](engine, [fetch_id], isolated=True)))
    finally:
        await engine.close()


def _say(what: Began | Ended) -> None:
    # Where the worker is gone, this breaks, and so ends what nobody follows any more.
    sys.stdout.buffer.write(msgspec.json.encode(what) + b"\n")
    sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(_try([int(word) for word in sys.argv[1:]]))
