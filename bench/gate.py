"""What the gate costs: `make trust ARGS="--only gate"`.

The same answers, each a profile with its 12 posts, are written with the gate and without it, in turn, each into a database of its own; first by
the stage `process` alone, which is given what was read, then by all that a worker does: calls, raw payloads, reading, writing. The first rounds warm up; of
the later answers some numbers differ in the first part, and none does in the second. Rounds are short and in turn. Printed: the medians of both and the
ratios of the pairs. The goal is of the whole.
"""

import os
import statistics
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from unittest import mock

import msgspec
import psutil
import psycopg
import uvloop

from beat_actors import heap
from beat_actors.database import Transaction, migrate
from beat_actors.engine import Engine
from beat_actors.local.home import temporary_home
from beat_actors.local.servers import PostgresServer, ValkeyServer, running
from beat_actors.logs import configure
from beat_actors.pipeline import gating
from beat_actors.pipeline.judged import Claimed, written_of
from beat_actors.pipeline.judging import Answer
from beat_actors.pipeline.process import process
from beat_actors.pipeline.records import encode, pack
from beat_actors.platforms.instagram.entities import InstagramAccount
from beat_actors.platforms.interface import FetchSpec, Record, observed
from beat_actors.platforms.registry import platforms
from beat_actors.settings import Settings
from bench import engine
from bench.contender import handle
from bench.spent import COUNT, leased, round_of
from bench.upstream import bodies, upstream
from bench.visits import spent

ROUND = 100
"""Scrapes of a round. Rounds are short and many, so that what else the machine does falls on both alike."""
WARM = 16
"""Rounds that warm up. A worker runs for days: PostgreSQL plans a statement in each of the first ten runs on a connection, and later keeps the plan."""
GOAL = 0.9
"""The throughput with the gate is at least this share of that without."""
INSTAGRAM = platforms()["instagram"]
ENDPOINT = INSTAGRAM.sources["lama"].endpoints["profile_by_handle"]
LANE = """
INSERT INTO lane (platform, flow, operation, priority, sources)
VALUES ('instagram', 'refresh_profile_by_handle', 'profile_by_handle', 2, '{lama}') RETURNING id
"""
FETCHES = """
WITH request AS (
    INSERT INTO scrape_request_log (platform, flow, params, status, open_fetches)
    SELECT 'instagram', 'refresh_profile_by_handle', jsonb_build_object('handle', h), 'PROCESSING', 1 FROM unnest(%(handles)s::text[]) WITH ORDINALITY n (h, i) ORDER BY i
    RETURNING id, params
)
INSERT INTO scrape_fetch (request_id, lane_id, platform, operation, params, priority, stage, source, parser_version, payload_at, sent_at, records, is_first)
SELECT r.id, %(lane)s, 'instagram', 'profile_by_handle', r.params, 2, 'INGESTED', 'lama', %(version)s, %(at)s, clock_timestamp(), n.records, true
FROM request r JOIN unnest(%(handles)s::text[], %(records)s::bytea[]) n (h, records) ON n.h = r.params->>'handle' ORDER BY r.id RETURNING id
"""
WRITTEN = "SELECT (SELECT count(*) FROM scrape_fetch WHERE stage = 'DONE'), (SELECT count(*) FROM instagram_post WHERE trust_score IS NOT NULL), (SELECT count(*) FROM held_record)"


class Cost(NamedTuple):
    """Of a round: scrapes a second, milliseconds of CPU time of this process and of PostgreSQL for a scrape."""

    rate: float
    own: float
    server: float

    @property
    def cpu(self) -> float:
        return self.own + self.server


async def ungated(
    transaction: Transaction, claims: Sequence[Claimed], batch: Mapping[gating.Kind, Sequence[Answer]]
) -> gating.Gated:
    """In the place of `gating.judge`: all that was read is written."""
    return gating.Gated(
        {kind: [written_of(one.claim, one.records.decode()) for one in some] for kind, some in batch.items()}
    )


class Side:
    """One of the two: its database and its engine."""

    def __init__(self, postgres: PostgresServer, valkey: ValkeyServer, upstream_url: str, *, gated: bool) -> None:
        name = "gated" if gated else "ungated"
        with psycopg.connect(postgres.url, autocommit=True) as admin:
            admin.execute(f"CREATE DATABASE {name}")
        self.gated, self.url = gated, postgres.url_of(name)
        migrate.upgrade(self.url)
        self.setup = engine.Setup(self.url, valkey.url, upstream_url, stage_batch=ROUND)
        os.environ |= self.setup.env() | {"BEAT_BROKER_BATCH": str(ROUND), "BEAT_STAGE_LEASE": "600"}
        settings = Settings()  # type: ignore[call-arg]  # from the environment
        configure(settings, service="bench")
        self.engine = Engine.start(settings, name="bench")
        self.server = psutil.Process(int((postgres.data / "postmaster.pid").read_text().split()[0]))
        with psycopg.connect(self.url, autocommit=True) as connection:
            (self.lane,) = connection.execute(LANE).fetchone() or (0,)

    async def whole(self) -> Cost:
        """A worker's way from the lease to the last commit."""
        leases = await leased(self.engine, ROUND)
        return await self._timed(len(leases), round_of(self.engine, leases))

    async def process(self, handles: Sequence[str], records: Sequence[bytes], at: datetime) -> Cost:
        """The stage `process` writes all of these answers."""
        values = {
            "handles": list(handles),
            "records": list(records),
            "at": at,
            "lane": self.lane,
            "version": ENDPOINT.version,
        }
        with psycopg.connect(self.url, autocommit=True) as connection:
            fetches = [one for (one,) in connection.execute(FETCHES, values)]
        return await self._timed(len(fetches), self._process(fetches))

    async def _process(self, fetches: Sequence[int]) -> None:
        size = self.engine.settings.stage_batch
        for first in range(0, len(fetches), size):
            await process(self.engine, fetches[first : first + size])

    async def _timed(self, count: int, work: Awaitable[None]) -> Cost:
        with without_gate(not self.gated):
            began, own, server = time.perf_counter(), time.process_time(), spent(self.server)
            await work
            wall = time.perf_counter() - began
            own, server = time.process_time() - own, spent(self.server) - server
        return Cost(count / wall, 1e3 * own / count, 1e3 * server / count)

    def vacuum(self) -> None:
        """What autovacuum does in days of work, at a time that is not measured."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute("SET statement_timeout = 0")
            connection.execute("VACUUM ANALYZE scrape_fetch, instagram_post, instagram_account")

    async def check(self, fetches: int) -> None:
        """Raises `AssertionError` where anything is not written as this side has to."""
        with psycopg.connect(self.url) as connection:
            done, judged, held = connection.execute(WRITTEN).fetchone() or (0, 0, 0)
        assert done == fetches, f"{done} of {fetches} answers are written"
        assert bool(judged) is self.gated
        assert held == 0, f"{held} records of a normal day are held"


@contextmanager
def without_gate(off: bool) -> Iterator[None]:
    if not off:
        yield
        return
    with mock.patch.object(gating, "judge", ungated):
        yield


def answers(count: int) -> list[list[Record]]:
    asked = [FetchSpec("profile_by_handle", {"handle": handle(n)}) for n in range(count)]
    return [list(ENDPOINT.parse(body, spec).records) for body, spec in zip(bodies(count), asked, strict=True)]


def later(records: Sequence[Record], rounds: int) -> bytes:
    """As ingest keeps it; followers and likes have grown with each round."""
    by_table: dict[str, list[Any]] = {}
    for one in records:
        name = "followers" if isinstance(one, InstagramAccount) else "likes"
        number = getattr(one, name)
        grown = one if number is None else msgspec.structs.replace(one, **{name: number + rounds})
        by_table.setdefault(INSTAGRAM.entity_of(one).table, []).append(observed(grown, ENDPOINT.tells))
    return pack(encode({"entities": by_table, "follow_ups": (), "items": len(records)}))


async def measure(postgres: PostgresServer, valkey: ValkeyServer, upstream_url: str, pairs: int) -> bool:
    read, handles = answers(COUNT), [handle(n) for n in range(COUNT)]
    sides = [Side(postgres, valkey, upstream_url, gated=True), Side(postgres, valkey, upstream_url, gated=False)]
    visits = COUNT // ROUND
    """Rounds after which each profile was visited once more."""
    start = datetime.now(UTC) - timedelta(hours=pairs + WARM + 1)

    async def stage(side: Side, number: int) -> Cost:
        first = number % visits * ROUND
        some = slice(first, first + ROUND)
        records = [later(one, number // visits) for one in read[some]]
        return await side.process(handles[some], records, start + timedelta(hours=number))

    async def whole(side: Side, _: int) -> Cost:
        return await side.whole()

    await in_turn("process", sides, pairs, stage)
    written = ROUND * (pairs + WARM)
    for side in sides:
        await side.check(written)
        await engine.prepare(side.setup, handles, written)
    ratio = await in_turn("whole", sides, pairs, whole)
    for side in sides:
        await side.check(2 * written)
        await side.engine.close()
    return ratio >= GOAL


async def in_turn(what: str, sides: Sequence[Side], pairs: int, once: Callable[[Side, int], Awaitable[Cost]]) -> float:
    """Print what it costs with and without the gate; the ratio of scrapes for each second of CPU. The first rounds warm up."""
    costs: dict[bool, list[Cost]] = {True: [], False: []}
    for number in range(pairs + WARM):
        # The one that began last time comes second.
        for side in sides if number % 2 else reversed(sides):
            cost = await once(side, number)
            if number >= WARM:
                costs[side.gated].append(cost)
        if number % 4 == 3:
            for side in sides:
                side.vacuum()
    return show(what, costs[True], costs[False])


def show(what: str, gated: Sequence[Cost], ungated: Sequence[Cost]) -> float:
    for name, some in (("with the gate", gated), ("without it", ungated)):
        rate, own, server = (statistics.median(each) for each in zip(*some, strict=True))
        print(
            f"{what} {name:13}: {rate:5.0f} scrapes/s, {own:.2f} + {server:.2f} ms of CPU (here, PostgreSQL) a scrape"
        )
    pairs = list(zip(gated, ungated, strict=True))
    rates = [mine.rate / other.rate for mine, other in pairs]
    cpus = [other.cpu / mine.cpu for mine, other in pairs]
    print(
        f"{what}, ratio with/without: scrapes for each second of CPU {statistics.median(cpus):.2f} ({min(cpus):.2f}..{max(cpus):.2f}), "
        f"scrapes/s {statistics.median(rates):.2f} ({min(rates):.2f}..{max(rates):.2f}); medians of {len(pairs)} pairs",
        flush=True,
    )
    return statistics.median(cpus)


def run(pairs: int) -> bool:
    """Whether the goal is met."""
    # As a worker's process has it.
    heap.collect_less()
    with temporary_home() as home:
        postgres, valkey, upstreams = PostgresServer.at(home), ValkeyServer.at(home), upstream(home, COUNT)
        with running(home, postgres, valkey, upstreams):
            return uvloop.run(measure(postgres, valkey, f"http://127.0.0.1:{upstreams.port}", pairs))
