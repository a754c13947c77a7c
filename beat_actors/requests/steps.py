"""What a step back of the database's clock leaves: times that lie further ahead than anything was ever set. Set right at once, in each table.

A rest, a pause or a wait lasts as long as it was to last; a lease lasts once more at most. Credentials that were written within `UNSURE`
seconds before the step was found are left alone, since what they say may be of after it: no provider's wait is cut short.
What is a moment by itself (a deadline, a token's end, a day of the calendar) goes by the clock as it is.
"""

import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from typing import Any

import structlog

from beat_actors.broker.store import lock
from beat_actors.broker.turn import USE_WITHIN
from beat_actors.broker.windows import AHEAD
from beat_actors.credentials.upkeep import lease_seconds
from beat_actors.database import Database
from beat_actors.database.clock import StepBack
from beat_actors.platforms.registry import platforms
from beat_actors.requests.sweeps import Swept
from beat_actors.webhooks.deliveries import LEASE

log = structlog.get_logger(__name__)

UNSURE = 15.0
"""Seconds before a step back was found within which it may have happened."""
BATCH = 2000
GIVEN_UP = 60.0

# What is worked on: as many rows as are in flight, found by their stages. What is locked is being committed.
LEASES = """
WITH late AS (
    SELECT id FROM scrape_fetch WHERE stage IN ('LEASED', 'RETRIEVED', 'INGESTED', 'SETTLING') AND beat_leads(%(epoch)s) AND (
        lease_until > clock_timestamp() + make_interval(secs => %(lease)s + 1) OR sent_at > clock_timestamp() + interval '1 second'
        OR claimed_at > clock_timestamp() + interval '1 second' OR use_until > clock_timestamp() + make_interval(secs => %(within)s + 1)
        OR use_from > clock_timestamp() + make_interval(secs => %(ahead)s + 1))
    ORDER BY id LIMIT %(batch)s FOR NO KEY UPDATE SKIP LOCKED
)
UPDATE scrape_fetch f SET
    lease_until = CASE WHEN lease_until IS NOT NULL THEN least(lease_until, clock_timestamp() + make_interval(secs => %(lease)s)) END,
    sent_at = least(sent_at, clock_timestamp()), claimed_at = least(claimed_at, clock_timestamp()),
    use_until = CASE WHEN use_until IS NOT NULL THEN least(use_until, clock_timestamp() + make_interval(secs => %(within)s)) END,
    use_from = CASE WHEN use_from IS NOT NULL THEN least(use_from, clock_timestamp() + make_interval(secs => %(ahead)s)) END
FROM late WHERE f.id = late.id
"""
# Small tables: calls that are out, processes that report, endpoints.
OTHERS = (
    """UPDATE credential_call SET lease_until = clock_timestamp() + make_interval(secs => %(call_lease)s)
    WHERE lease_until > clock_timestamp() + make_interval(secs => %(call_lease)s) AND beat_leads(%(epoch)s)""",
    "UPDATE process SET seen_at = clock_timestamp() WHERE seen_at > clock_timestamp() + interval '1 second' AND beat_leads(%(epoch)s)",
    # What happens to it from now on is told, and not only what happens after the clock has caught up.
    "UPDATE webhook_endpoint SET created_at = clock_timestamp() WHERE created_at > clock_timestamp() + interval '1 second' AND beat_leads(%(epoch)s)",
    """UPDATE webhook_delivery SET lease_until = clock_timestamp() + make_interval(secs => %(delivery_lease)s),
        next_at = clock_timestamp() + make_interval(secs => %(delivery_lease)s)
    WHERE lease_until > clock_timestamp() + make_interval(secs => %(delivery_lease)s + 1) AND beat_leads(%(epoch)s)""",
    "UPDATE lane SET blocked_until = clock_timestamp() WHERE reasons IS NOT NULL AND blocked_until > clock_timestamp() AND beat_leads(%(epoch)s)",
)
# Under the platform's lock, which turns hold. `seconds`: by which the clock went back. One pass over the platform's credentials.
CREDENTIALS = """
UPDATE credential SET
    disabled_till = disabled_till - {by}, ladder_at = ladder_at - {by}, reported_reset_at = reported_reset_at - {by},
    full_until = NULL, check_at = check_at - {by}, refresh_at = refresh_at - {by},
    expires_at = CASE WHEN refreshes THEN expires_at - {by} ELSE expires_at END,
    denials = '{{}}', denied_until = NULL, updated_at = clock_timestamp()
WHERE platform = %(platform)s AND beat_leads(%(epoch)s)
  AND (updated_at > clock_timestamp() OR updated_at < to_timestamp(%(found)s - %(unsure)s))
  AND greatest(disabled_till, reported_reset_at, full_until, nullif(check_at, 'infinity'), refresh_at, denied_until) > clock_timestamp()
""".format(by="make_interval(secs => %(seconds)s)")
# A breaker takes up nothing that is older than what it knows.
BREAKERS = """
UPDATE {table} SET open_until = open_until - make_interval(secs => %(seconds)s), since = least(since, clock_timestamp()),
    recent = '[]', unreached = '[]', calls = 0, failures = 0
WHERE platform = %(platform)s AND beat_leads(%(epoch)s)
"""
# Pauses of fetches and of deliveries, from the nearest to the furthest: each is moved once, since it moves to before the place where the walk is.
PAUSES = """
WITH next AS (
    SELECT id, not_before AS at FROM scrape_fetch
    WHERE stage = 'WAITING' AND not_before > to_timestamp(%(after)s) AND beat_leads(%(epoch)s) ORDER BY not_before LIMIT %(batch)s
), moved AS (
    UPDATE scrape_fetch f SET not_before = f.not_before - make_interval(secs => %(seconds)s) FROM next
    WHERE f.id = next.id AND f.stage = 'WAITING' AND f.not_before = next.at
)
SELECT count(*) AS read, extract(epoch FROM max(at))::double precision AS last FROM next
"""
DELIVERIES = """
WITH next AS (
    SELECT d.id, d.next_at FROM webhook_endpoint e CROSS JOIN LATERAL (
        SELECT id, next_at FROM webhook_delivery WHERE endpoint_id = e.id AND state = 'pending' AND lease_until IS NULL
          AND next_at > to_timestamp(%(after)s) ORDER BY next_at LIMIT %(batch)s) d
    WHERE beat_leads(%(epoch)s) ORDER BY d.next_at LIMIT %(batch)s
), moved AS (
    UPDATE webhook_delivery d SET next_at = d.next_at - make_interval(secs => %(seconds)s) FROM next
    WHERE d.id = next.id AND d.state = 'pending' AND d.next_at = next.next_at
)
SELECT count(*) AS read, extract(epoch FROM max(next_at))::double precision AS last FROM next
"""
# What a receiver asked to be left alone for stands where it may be of after the step.
ENDPOINTS = """
WITH moved AS (
    UPDATE webhook_endpoint SET open_until = open_until - make_interval(secs => %(seconds)s)
    WHERE open_until > clock_timestamp() AND beat_leads(%(epoch)s)
      AND coalesce(last_failure_at > clock_timestamp() OR last_failure_at < to_timestamp(%(found)s - %(unsure)s), true)
    RETURNING id
)
SELECT 0 AS read, NULL AS last FROM moved UNION ALL SELECT 0, NULL LIMIT 1
"""


Part = Callable[[Database, int | None], Awaitable[int]]


class StepsBack:
    """What one scheduler sets right, part by part, each once. A step that was found longer ago than `GIVEN_UP` seconds was another leader's,
    or cannot be set right."""

    def __init__(self) -> None:
        self._left: deque[tuple[float, Part]] = deque()
        self._term: int | None = None

    async def __call__(self, database: Database, epoch: int | None = None) -> Swept:
        """Set right what the steps back left that this process has found. At the beginning of a term leases too, whatever is known of steps."""
        found, is_new = list(database.clock.back), epoch != self._term
        database.clock.back.clear()
        self._term = epoch
        if is_new or found:
            self._left.append((time.monotonic(), _leases))
        self._left += ((step.found_by, part) for step in found for part in _parts(step))
        count = 0
        while self._left:
            since, part = self._left[0]
            if time.monotonic() - since < GIVEN_UP:
                count += await part(database, epoch)
            self._left.popleft()
        if found:
            log.warning("set_right_after_step_back", seconds=[round(step.seconds, 2) for step in found], rows=count)
        return Swept(ring=set(platforms()) if found else set(), count=count)


async def _leases(database: Database, epoch: int | None) -> int:
    values: dict[str, Any] = {
        "epoch": epoch,
        "lease": database.settings.stage_lease,
        "within": USE_WITHIN,
        "ahead": AHEAD,
        "batch": BATCH,
        "call_lease": lease_seconds(database.settings),
        "delivery_lease": LEASE,
    }
    async with database.statements() as alone:
        count = changed = await alone.run(LEASES, values)
        while changed == BATCH:
            changed = await alone.run(LEASES, values)
            count += changed
        for statement in OTHERS:
            count += await alone.run(statement, values)
    return count


def _parts(step: StepBack) -> Iterator[Part]:
    values = {"seconds": step.seconds, "found": step.found, "unsure": UNSURE, "batch": BATCH, "after": step.found}
    for platform in platforms():
        yield partial(_shift, values | {"platform": platform})
    for sql in (ENDPOINTS, PAUSES, DELIVERIES):
        yield partial(_walk, sql, values)


async def _shift(values: dict[str, Any], database: Database, epoch: int | None) -> int:
    """The credentials and breakers of one platform."""
    of = values | {"epoch": epoch}
    async with database.transaction() as transaction:
        await lock(transaction, values["platform"])
        count = await transaction.run(CREDENTIALS, of)
        for table in ("breaker", "owner_breaker"):
            count += await transaction.run(BREAKERS.format(table=table), of)
    return count


async def _walk(sql: str, values: dict[str, Any], database: Database, epoch: int | None) -> int:
    """To the end, a batch at a time; how many rows."""
    count, after = 0, values["after"]
    async with database.statements() as alone:
        while True:
            row = await alone.row(sql, values | {"epoch": epoch, "after": after})
            assert row is not None
            count, after = count + int(row.read), row.last
            if row.read < values["batch"]:
                return count
