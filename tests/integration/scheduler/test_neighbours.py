"""What the scheduler says of Redis and of the workers."""

from collections.abc import Iterator

import pytest

from actors.mailbox import Mailbox
from beat_actors.alerts import list_alerts
from beat_actors.database import Database
from beat_actors.settings import Settings
from beat_actors.watch import servers as servers_rules
from scheduler.daemon import JOBS, LOOKS, Workers


@pytest.fixture
def mailbox(settings: Settings) -> Iterator[Mailbox]:
    mailbox = Mailbox(settings)
    yield mailbox
    mailbox.close()


async def said(database: Database) -> list[tuple[str, str]]:
    async with database.statements() as alone:
        return [(one.key, one.severity) for one in await list_alerts(alone)]


async def test_redis_away_or_nearly_full_is_noticed(
    settings: Settings, database: Database, mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    (job,) = [job for job in JOBS if job.name == "watch_redis"]
    away = Mailbox(settings.model_copy(update={"redis_url": "redis://127.0.0.1:9/0"}))
    await job.sweep(database, away, None)
    away.close()
    assert await said(database) == [("redis:away", "critical")]
    await job.sweep(database, mailbox, None)
    assert await said(database) == []
    monkeypatch.setattr(Mailbox, "server_info", lambda self: {"used_memory": 70 << 20, "maxmemory": 100 << 20})
    await job.sweep(database, mailbox, None)
    assert await said(database) == [("redis:memory", "warning")]


@pytest.mark.parametrize(("used", "most"), [(10, 0), (69, 100)])
def test_redis_with_room_is_no_alert(used: int, most: int) -> None:
    assert servers_rules.redis({"used_memory": used, "maxmemory": most}) == []


async def test_no_worker_at_several_looks_is_noticed(
    database: Database, mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    look = Workers()
    for _ in range(LOOKS - 1):
        await look(database, mailbox, None)
        assert await said(database) == []
    await look(database, mailbox, None)
    assert await said(database) == [("workers:none", "critical")]
    monkeypatch.setattr(Mailbox, "listeners", lambda self: 1)
    await look(database, mailbox, None)
    assert await said(database) == []
