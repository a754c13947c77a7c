"""What a scheduler with nothing to do asks of the database."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import pytest

from actors.mailbox import Mailbox
from beat_actors.credentials.vault import Vault
from beat_actors.database import Database, Transaction
from beat_actors.database.metrics import Metrics
from beat_actors.leadership import BEAT
from beat_actors.requests import replay
from beat_actors.settings import Settings
from beat_actors.webhooks import deliverer as deliverers
from beat_actors.webhooks.deliverer import Deliverer
from scheduler.daemon import JOBS, RECORD_EVERY

MOST = 10.0
"""Statements a second, BEGIN and COMMIT among them."""


class Counter:
    def __init__(self) -> None:
        self.count = 0

    def taken(self) -> int:
        count, self.count = self.count, 0
        return count


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Counter:
    counter = Counter()
    beat, transaction = Metrics.timed, Database.transaction

    @contextmanager
    def counted(self: Metrics) -> Iterator[None]:
        counter.count += 1
        with beat(self):
            yield

    @asynccontextmanager
    async def whole(self: Database) -> AsyncIterator[Transaction]:
        counter.count += 2
        async with transaction(self) as opened:
            yield opened

    monkeypatch.setattr(Metrics, "timed", counted)
    monkeypatch.setattr(Database, "transaction", whole)
    return counter


async def test_an_idle_scheduler_asks_little(settings: Settings, database: Database, asked: Counter) -> None:
    mailbox, deliverer = Mailbox(settings), Deliverer(database, Vault(settings))
    a_second = {"leader": 1 / BEAT, "record": 1 / RECORD_EVERY}
    for job in JOBS:
        await job.sweep(database, mailbox, 1)
        asked.taken()  # what a leader reports once, it does not report again
        await job.sweep(database, mailbox, 1)
        a_second[job.name] = asked.taken() / job.every
    await deliverer.step()
    asked.taken()
    await deliverer.step()
    a_second["webhooks"] = asked.taken() / deliverers.ASLEEP
    assert sum(a_second.values()) < MOST, a_second
    await deliverer.close()
    mailbox.close()


async def test_an_empty_quarantine_is_one_statement(database: Database, asked: Counter) -> None:
    await replay.due(database)
    assert asked.taken() == 1


async def test_the_deliverer_sleeps_longer_while_there_is_nobody_to_tell(
    settings: Settings, database: Database, asked: Counter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deliverers, "IDLE", 0.01)
    deliverer, stopped = Deliverer(database, Vault(settings)), asyncio.Event()
    running = asyncio.create_task(deliverer.run(stopped))
    await asyncio.sleep(0.5)
    stopped.set()
    await running
    assert asked.taken() == 1
    await deliverer.close()
