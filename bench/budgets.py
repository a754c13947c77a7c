"""What one look at the budgets of calls to providers costs: a part of `make growth`.

10,000 credentials of a source with a limit of a day, and as many of one with a limit of an hour that belong to 5,000 owners, all of them used in each bucket of
their window, a tenth in a cooldown, and with a quota that the provider reports. A run is what the scheduler does: the sweep that keeps the budgets, and the rule
that alerts of them.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable

import psutil
import psycopg

from beat_actors.broker.windows import BUCKETS, margin
from beat_actors.database import Database
from beat_actors.forecast.demand import MOST_DAYS, SLOT, SLOTS
from beat_actors.platforms.registry import source_named
from beat_actors.quotas import foreseen, pool_alerts, pools
from beat_actors.settings import Settings
from bench.visits import spent

GOAL_S = 1.0
"""Seconds of PostgreSQL that one run may take."""
REPEATS = 5
SOURCES = (("tiktok", "tikwm", "day"), ("instagram", "graphapi", "rolling hour"))
CREDENTIALS = """
INSERT INTO credential (platform, source, label, fingerprint, key_id, secret, owner, shared, check_at, disabled_till, reported_remaining, reported_reset_at)
SELECT %(platform)s, %(source)s, 'bench', convert_to(%(source)s || n, 'UTF8'), 'bench', '', CASE WHEN %(owned)s THEN 'owner' || n %% %(owners)s ELSE '' END,
       NOT %(owned)s, now() + interval '1 day', CASE WHEN n %% 10 = 0 THEN now() + make_interval(secs => n) END, n %% 500,
       now() + make_interval(hours => n %% 720)
FROM generate_series(1, %(credentials)s) n
"""
USED = """
INSERT INTO credential_usage (subject, limit_name, head, counts)
SELECT 'credential:' || id, %(limit)s, %(head)s, array_fill(1, ARRAY[21]) FROM credential WHERE source = %(source)s
"""
KNOWN = """
INSERT INTO limit_usage (name, slot, calls) SELECT name, slot, 500 FROM unnest(%(names)s::text[]) AS n(name), generate_series(%(first)s::bigint, %(last)s::bigint) AS slot
"""


def measure(
    settings: Settings, connection: psycopg.Connection, server: psutil.Process, *, credentials: int, owners: int
) -> None:
    """`connection`: one without limits on time, to fill the database. `server`: PostgreSQL."""
    for platform, source, name in SOURCES:
        (limit,) = [one for one in source_named(source)[1].limits if one.name == name]
        head = int(time.time() // ((limit.seconds + margin(limit)) / BUCKETS))
        owned = source == "graphapi"
        values = {"platform": platform, "source": source, "owned": owned, "owners": owners, "credentials": credentials}
        connection.execute(CREDENTIALS, values)
        connection.execute(USED, {"source": source, "limit": name, "head": head})
    now = int(time.time() // SLOT)
    names = [f"{source}:{name}" for _, source, name in SOURCES] + [f"{source}:reported" for _, source, _ in SOURCES]
    connection.execute(KNOWN, {"names": names, "first": now - MOST_DAYS * SLOTS, "last": now - 1})
    connection.execute("VACUUM ANALYZE")
    print(
        f"budgets: {credentials:,} credentials of a source, and {credentials:,} of {owners:,} owners of another",
        flush=True,
    )
    asyncio.run(_runs(settings, server))


async def _runs(settings: Settings, server: psutil.Process) -> None:
    parts: dict[str, Callable[[Database], Awaitable[object]]] = {
        "the sweep, each 120 s": foreseen.sweep_pools,
        "the alerts, each 300 s": pool_alerts.alerts,
        "`beat forecast`": pools.foresee,
    }
    for name, part in parts.items():
        database = Database(settings, name="bench")
        try:
            await part(database)
            before, started = spent(server), time.perf_counter()
            for _ in range(REPEATS):
                await part(database)
            seconds, postgres = (time.perf_counter() - started) / REPEATS, (spent(server) - before) / REPEATS
            slowest = database.metrics.statements.quantile(1.0)
        finally:
            await database.close()
        over = "" if postgres <= GOAL_S else f": MORE than {GOAL_S:g} s"
        print(
            f"budgets: {name}: {postgres * 1000:6.0f} ms of PostgreSQL, {seconds * 1000:6.0f} ms in all, the slowest statement {slowest * 1000:6.0f} ms{over}",
            flush=True,
        )
