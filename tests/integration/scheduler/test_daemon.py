"""The daemon's sweeps do not stand in one another's way, and it is known when each last ended well."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from actors.mailbox import Mailbox
from beat_actors.alerts import list_alerts
from beat_actors.database import Database
from beat_actors.requests.swept import Swept
from beat_actors.settings import Settings
from beat_actors.watch.requests import late_sweeps
from beat_actors.watch.rule import Watch
from scheduler import daemon
from scheduler.daemon import Job, sweep_until


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("beat_actors.leadership.BEAT", 0.05)
    monkeypatch.setattr(daemon, "RECORD_EVERY", 0.1)


@asynccontextmanager
async def sweeping(settings: Settings, process_url: str, jobs: tuple[Job, ...]) -> AsyncIterator[None]:
    stopped = asyncio.Event()
    direct = settings.model_copy(update={"database_direct_url": process_url})
    task = asyncio.create_task(sweep_until(stopped, direct, jobs))
    try:
        yield
    finally:
        stopped.set()
        await task


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(60):
        while not await condition():  # noqa: ASYNC110 - polling is the test
            await asyncio.sleep(0.05)


async def test_a_sweep_that_hangs_or_fails_stops_no_other_and_is_said_to_be_late(
    settings: Settings, process_url: str, database: Database
) -> None:
    well: list[int] = []

    async def hangs(_database: Database, _mailbox: Mailbox, _epoch: int) -> Swept:
        await asyncio.sleep(3600)
        return Swept()

    async def fails(_database: Database, _mailbox: Mailbox, _epoch: int) -> Swept:
        raise ValueError("something new")

    async def works(_database: Database, _mailbox: Mailbox, epoch: int) -> Swept:
        well.append(epoch)
        return Swept()

    jobs = (Job("hangs", hangs, 0.2, 0.2), Job("fails", fails, 0.1, 1), Job("works", works, 0.05, 30))
    watch = Watch("sweep", late_sweeps)

    async def said() -> dict[str, str]:
        await watch.run(database)
        async with database.statements() as alone:
            return {alert.key: alert.cause for alert in await list_alerts(alone)}

    async with sweeping(settings, process_url, jobs):
        await until(lambda: _among(said, {"sweep:hangs", "sweep:fails"}))
        alerts = await said()
        assert "did not end within 0.2 s" in alerts["sweep:hangs"]
        assert "ValueError: something new" in alerts["sweep:fails"]
        assert "sweep:works" not in alerts
        assert set(well) == {1}
        seen = len(well)
        await until(lambda: _more(well, seen + 5))


async def _among(said: Callable[[], Awaitable[dict[str, str]]], keys: set[str]) -> bool:
    return keys <= (await said()).keys()


async def _more(well: list[int], count: int) -> bool:
    return len(well) >= count


async def test_what_an_older_version_swept_is_forgotten(
    settings: Settings, process_url: str, database: Database
) -> None:
    async def works(_database: Database, _mailbox: Mailbox, _epoch: int) -> Swept:
        return Swept()

    async def names() -> list[str]:
        async with database.statements() as alone:
            return [row.name for row in await alone.rows("SELECT name FROM sweep")]

    async def only_mine() -> bool:
        return await names() == ["mine"]

    async with database.statements() as alone:
        await alone.run("INSERT INTO sweep (name, every, deadline) VALUES ('old', 1, 1)")
    async with sweeping(settings, process_url, (Job("mine", works, 0.05, 1),)):
        await until(only_mine)


async def test_every_sweep_of_the_daemon_runs_on_an_empty_database(
    settings: Settings, process_url: str, database: Database
) -> None:
    # Traces are exported only where there is a place for them.
    planned = {job.name for job in daemon.JOBS} - {daemon.Exporter.JOB}

    async def all_ended() -> bool:
        async with database.statements() as alone:
            rows = await alone.rows("SELECT name, error FROM sweep")
        assert [row for row in rows if row.error] == []
        return {row.name for row in rows} == planned

    async with sweeping(settings, process_url, daemon.JOBS):
        await until(all_ended)


async def test_no_local_time_zone_is_needed(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", '"Europe/Rome"')  # quotes and all, which name no zone
    stopped = asyncio.Event()
    stopped.set()
    await sweep_until(stopped, settings, ())
