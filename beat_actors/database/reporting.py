"""A process reports of itself: its statements, its pool, how long work waited until it was claimed, and what it counted. A row for each that lives."""

import asyncio
import contextlib
import os
import socket
from typing import Protocol, Self

import psycopg

from beat_actors.database.engine import Database
from beat_actors.database.processes import Code
from beat_actors.database.sql import Statements
from beat_actors.database.transaction import jsonb
from beat_actors.errors import StorageUnavailable
from beat_actors.logger import get_logger
from beat_actors.logs import buffer
from beat_actors.observe.counts import Sum
from beat_actors.observe.loop_lag import LoopLag
from beat_actors.own_trouble import CLOCK, CRASHES, LOGS, REDIS_KEYS, OwnTrouble
from beat_actors.redis_keys import unusable_keys
from beat_actors.restarts import restarts
from beat_actors.settings import DatabaseSettings

log = get_logger(__name__)

EVERY = 10.0
"""Seconds between two reports."""
# The second is what a process finds that was deployed before its migration. Its work is not to suffer from its report.
NOT_REPORTED = (StorageUnavailable, psycopg.Error)
SQL = Statements(__file__)
REPORT = SQL("report", int)
FORGET = SQL("forget")
STARTED = SQL("started")


def changed_numbers(settings: DatabaseSettings) -> dict[str, bool | int | float]:
    """The numbers and switches that differ from their defaults, by the names of their variables. No text: it may be a secret, or hold one."""
    found = {}
    for name, declared in type(settings).model_fields.items():
        value = getattr(settings, name)
        if isinstance(value, bool | int | float) and value != declared.default:
            found[f"BEAT_{name.upper()}"] = value
    return found


class Also(Protocol):
    """What else a process writes now and then: `due` with each report, `now` at its end."""

    async def due(self, database: Database) -> None: ...
    async def now(self, database: Database) -> None: ...


class Reporter:
    """Reports of this process, from `start`, inside its event loop, to `close`."""

    def __init__(
        self,
        database: Database,
        *,
        name: str,
        own_trouble: OwnTrouble | None = None,
        code: Code | None = None,
        also: Also | None = None,
    ) -> None:
        self._database = database
        self._own_trouble = own_trouble or OwnTrouble()
        self._name = name
        self._also = also
        self._who = {
            "id": self._own_trouble.process,
            "name": name,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "vault_keys": database.settings.fingerprints("vault_keys"),
            "version": code and code.version,
            "revision": code and code.revision,
            "platforms": code and code.platforms and list(code.platforms),
        }
        self._is_recorded = code is None
        self._task: asyncio.Task[None] | None = None
        self._lag = LoopLag()
        self._folds: int | None = None
        """How often others took over what this process had counted; `None` before a report was answered."""
        self._sent: list[Sum] = []
        """What the last report said of them, whether or not it was answered."""

    def start(self) -> Self:
        self._database.clock.on_step = self._own_trouble.changed.set
        self._task = asyncio.create_task(self._report_for_ever())
        self._lag.start()
        return self

    async def close(self) -> None:
        """Stop, and take the row away."""
        await self._lag.close()
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            with contextlib.suppress(*NOT_REPORTED):
                if self._also is not None:
                    await self._also.now(self._database)
            with contextlib.suppress(*NOT_REPORTED):
                async with self._database.statements() as alone:
                    counted = jsonb(self._database.metrics.counts.sums(self._name))
                    await alone.run(FORGET, {"id": self._who["id"], "metrics": counted, "folds": self._folds or 0})

    async def report(self) -> None:
        """Once. Raises `StorageUnavailable`."""
        metrics, known = self._database.metrics, self._folds or 0
        used, most = self._database.pool()
        async with self._database.statements() as alone:
            await alone.now()
        said = {
            LOGS: buffer().said(),
            REDIS_KEYS: unusable_keys().said(),
            CLOCK: self._database.clock.said(),
            CRASHES: restarts().said(),
        }
        before, self._sent = self._sent, metrics.counts.sums(self._name)
        async with self._database.statements() as alone:
            folds = await alone.only(
                REPORT,
                self._who
                | {
                    "statements": len(metrics.statements),
                    "statement_p99": metrics.statements.quantile(0.99),
                    "pool_used": used,
                    "pool_most": most,
                    "pool_exhausted": len(metrics.exhausted),
                    "claims": len(metrics.claims),
                    "claim_p50": metrics.claims.quantile(0.5),
                    "claim_p99": metrics.claims.quantile(0.99),
                    "restarts": restarts().count(),
                    "outages": jsonb(metrics.outages()),
                    "clock_steps": jsonb(list(self._database.clock.steps)),
                    "troubles": jsonb(
                        self._own_trouble.reported() | {kind: words for kind, words in said.items() if words}
                    ),
                    "metrics": jsonb(self._sent),
                    "folds": known,
                    "is_first": self._folds is None,
                    "loop_lag": self._lag.taken(),
                },
            )
            if not self._is_recorded:
                await alone.run(STARTED, self._who | {"settings": jsonb(changed_numbers(self._database.settings))})
                self._is_recorded = True
        if folds != known:  # this process was taken for dead, and its sums are kept elsewhere
            metrics.counts.take_off(before)
            self._sent = []
        self._folds = folds

    async def _report_for_ever(self) -> None:
        while True:
            self._own_trouble.changed.clear()
            try:
                await self.report()
                if self._also is not None:
                    await self._also.due(self._database)
            except NOT_REPORTED as error:
                log.warning("not_reported", error=str(error))
            except Exception:  # whatever it is, the next report may tell of it
                log.exception("not_reported")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._own_trouble.changed.wait(), EVERY)
