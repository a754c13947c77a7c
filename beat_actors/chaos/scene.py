"""What a fault works with during a run, and what it leaves for the checker."""

import asyncio
import contextlib
import time
from dataclasses import dataclass, field
from random import Random
from typing import Any

import psutil

from beat_actors.chaos.load import Load
from beat_actors.chaos.logs import Mark
from beat_actors.chaos.rig import Rig
from beat_actors.chaos.timing import Timing
from beat_actors.chaos.waiting import ChaosError, until
from beat_actors.failpoints.armed import Fired

GRACE = 1.0
"""Seconds after a frozen process goes on, in which it may still write."""
BROKEN_OFF = ("batch_failed", "sweep_failed", "upkeep_broken_off")
"""Log events of work that a process gave up after the database had committed its part."""


@dataclass(slots=True)
class Pictures:
    """What the check of pictures has to know. `in_flight`: uploads of processes that were killed. `before`: contents by asset that were COMPLETE
    before the fault. `excused`: by the simulator's name of a picture, the words of failures for which its origin gave a reason."""

    in_flight: int = 0
    before: dict[str, str] = field(default_factory=dict)
    excused: dict[str, frozenset[str]] = field(default_factory=dict)


@dataclass(slots=True)
class Scene:
    """One run of a fault.

    `dice`: the random numbers of the seed. `failed`: requests that must fail. `extra_calls`: answers of providers that the fault makes
    useless. `healed_at`: when the fault was over, in epoch seconds; `None` while it lasts. `extra`: what else the report shows.
    """

    rig: Rig
    seed: int
    dice: Random
    load: Load
    failed: int = 0
    extra_calls: int = 0
    healed_at: float | None = None
    recovered_s: float | None = None
    """Seconds from the fault until what it hit had recovered, where the fault measures that itself."""
    quiet_at: float = 0.0
    """Epoch seconds. A process that was frozen may write until then."""
    extra: dict[str, object] = field(default_factory=dict)
    complaints: list[str] = field(default_factory=list)
    late: list[str] = field(default_factory=list)
    """What took too long, but kept its promise."""
    skipped: str = ""
    severed: bool = False
    """The fault broke connections to providers. A call may not have arrived, and an answer may have been lost."""
    pictures: Pictures = field(default_factory=Pictures)
    compares_truth: bool = False
    """Every value that the API serves at the end is compared with what was true when it was observed."""

    @property
    def timing(self) -> Timing:
        return self.rig.timing

    def heal(self) -> None:
        """Say that the fault is over now."""
        self.healed_at = time.time()

    async def pause(self, least: float, most: float) -> None:
        """Wait for a time between `least` and `most` seconds that the seed chooses."""
        await asyncio.sleep(self.dice.uniform(least, most))

    async def fired(self, count: int) -> list[Fired]:
        """Wait until `count` failpoints fired. Raises `ChaosError` where they did not: the run has not tested anything then."""
        await until(
            lambda: len(self.hits()) >= count,
            within=self.timing.deadline,
            what=f"of {count} failpoints not all were reached",
        )
        return self.hits()

    def hits(self) -> list[Fired]:
        """The failpoints that killed or froze a process. One that raises only leads work another way."""
        return [hit for hit in self.rig.failpoints.hits() if hit.fired and "=raise" not in hit.armed]

    def kill_worker(self) -> None:
        """Kill one worker, which the seed chooses. Do nothing while no worker lives."""
        if victims := self.rig.workers():
            with contextlib.suppress(psutil.NoSuchProcess):
                self.dice.choice(victims).kill()

    def count(self, sql: str, *params: Any) -> int:
        """The one number that a query selects as `n`."""
        (row,) = self.rig.rows(sql, *params)
        return int(row.n)

    def ended(self) -> int:
        """How many requests have ended."""
        return self.count(
            "SELECT count(*) AS n FROM scrape_request_log WHERE status IN ('COMPLETE', 'FAILED', 'CANCELLED')"
        )

    async def drained(self) -> None:
        """Wait until every request has ended, or `timing.deadline` is over. The checker reports the requests that have not ended."""
        with contextlib.suppress(ChaosError):
            await until(
                lambda: self.ended() == len(self.load.wanted), within=self.timing.deadline, what="it did not end"
            )

    def complain(self, broken: bool, what: str) -> None:
        """Where `broken`, the run has broken a promise."""
        if broken:
            self.complaints.append(what)

    def complain_of_broken_off(self, mark: Mark) -> None:
        """A process without Redis leaves unsent messages to the sweeps. It must not give up work that the database has committed.
        What broke off for another reason, such as a transaction that a busy machine kept open too long, is none of Redis's."""
        logged = (line for event in BROKEN_OFF for line in self.rig.logged(event, mark))
        lines = [line for line in logged if "redis" in str(line).lower()]
        self.complain(bool(lines), f"a Redis that was away broke off: {', '.join(map(str, lines[:3]))[:500]}")

    def note_longest(self, name: str, seconds: float) -> None:
        """Show the longest time that was given under this name."""
        self.extra[name] = f"{max(seconds, float(str(self.extra.get(name, 0)))):.1f}"
