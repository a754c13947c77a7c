"""Reading anew what stands in quarantine, when it is due: the payload that is kept first, the provider only where it is kept no more.

What a payload brings is written as if it had been readable from the start: its request runs again with that one fetch, as retrieved.
A payload that still cannot be read is a new entry, and costs no call.
"""

from dataclasses import dataclass, field
from typing import Any

import psycopg

from beat_actors.database import Database
from beat_actors.requests import retry
from beat_actors.requests.sweeps import Swept

BATCH = 100

# Asked by itself, and nothing more where there is nothing: it is asked each second, and hardly ever so.
ANY_DUE = "SELECT EXISTS (SELECT FROM quarantine WHERE resolved_at IS NULL AND replay_at <= clock_timestamp())"
TAKE = """
SELECT id, fetch_id FROM quarantine
WHERE resolved_at IS NULL AND replay_at <= clock_timestamp() AND beat_leads(%s) ORDER BY replay_at LIMIT %s FOR UPDATE SKIP LOCKED
"""
LOCK_FETCHES = "SELECT id FROM scrape_fetch WHERE id = ANY(%s) ORDER BY id FOR UPDATE"
LOCK_REQUESTS = """
SELECT r.id FROM scrape_request_log r WHERE r.id = ANY(ARRAY(SELECT request_id FROM scrape_fetch WHERE id = ANY(%s)))
ORDER BY r.id FOR UPDATE
"""
# What is known of each, now that nobody moves it. A payload belongs to the page that the fetch was at when it came: with another
# source's cursor it would be taken for another page.
LOOK = """
SELECT q.id, f.id AS fetch_id, f.request_id, r.status, r.live, f.stage, f.run = r.retry_count AS counts,
       (f.cursor_source IS NULL OR f.cursor_source = q.source)
         AND EXISTS (SELECT FROM raw_payload p WHERE p.fetch_id = f.id AND p.created_at = q.payload_at) AS kept
FROM quarantine q LEFT JOIN scrape_fetch f ON f.id = q.fetch_id LEFT JOIN scrape_request_log r ON r.id = f.request_id
WHERE q.id = ANY(%s) ORDER BY q.id
"""
REOPEN = """
WITH again AS (
    UPDATE scrape_request_log SET status = 'PROCESSING', retry_count = retry_count + 1, live = true, joined_to = NULL, open_fetches = 1,
        waiters = 0, scraped_at = NULL, collected_at = NULL, data = data - 'error', work_data = NULL,
        expires_at = CASE WHEN expires_at > clock_timestamp() THEN expires_at END
    WHERE id = ANY(%(requests)s) RETURNING id, retry_count
)
UPDATE scrape_fetch f SET run = again.retry_count FROM again WHERE f.request_id = again.id AND f.id = ANY(%(fetches)s)
"""
# What failed had asked everybody, the last one too: it is not to ask again if this cannot be read either.
REREAD = """
UPDATE scrape_fetch f SET stage = 'RETRIEVED', source = q.source,
    unreadable = CASE WHEN f.stage = 'FAILED' AND f.source IS NOT NULL THEN f.unreadable || f.source ELSE f.unreadable END,
    payload_at = q.payload_at, probe = false, call_of = NULL, error = NULL,
    fence = f.fence + 1, stage_attempts = 0, lease_until = NULL, not_before = NULL, waiting_for = NULL, sent_at = clock_timestamp()
FROM quarantine q WHERE q.id = ANY(%s) AND f.id = q.fetch_id
RETURNING f.id
"""
# Those that waited for it failed with it, and join it again.
JOINED = """
SELECT id FROM scrape_request_log WHERE joined_to = ANY(%s) AND status = 'FAILED' ORDER BY id LIMIT %s
"""
RESOLVE = "UPDATE quarantine SET resolved_at = clock_timestamp(), outcome = %s WHERE id = ANY(%s)"
LATER = "UPDATE quarantine SET replay_at = clock_timestamp() + interval '10 seconds' WHERE id = ANY(%s)"


@dataclass(slots=True)
class Found:
    """What was decided: fetches whose payload is to be read, requests that run again, entries that are dealt with when those do."""

    reread: list[int] = field(default_factory=list)
    reopened: list[int] = field(default_factory=list)
    refetched: dict[int, int] = field(default_factory=dict)
    count: int = 0


async def due(database: Database, epoch: int | None = None) -> Swept:
    """Entries whose time has come. Sends the fetches whose payload is to be read to ingest."""
    async with database.statements() as alone:
        if not await alone.value(ANY_DUE):
            return Swept()
    try:
        found = await _decide(database, epoch, BATCH)
    except psycopg.errors.UniqueViolation:
        # Somebody else asks for the same as one of them just now, so it cannot run beside it: each by itself, until it is that one's turn.
        found = await _one(database, epoch)
    swept = Swept(count=found.count, send=[("ingest", sorted(found.reread))] if found.reread else [])
    joined: list[int] = []
    if found.reopened:
        async with database.statements() as alone:
            joined = [row.id for row in await alone.rows(JOINED, (found.reopened, retry.MAX_RETRIES))]
    requests = sorted({*found.refetched.values(), *joined})
    if requests:
        outcomes = await retry.retry_all(database, requests)
        swept.ring |= {outcome.platform for outcome in outcomes if outcome.error is None}
    if found.refetched:  # only now: whoever dies before it does it again, and finds that the request runs
        async with database.statements() as alone:
            await alone.run(RESOLVE, ("refetched", list(found.refetched)))
    return swept


async def _one(database: Database, epoch: int | None) -> Found:
    try:
        return await _decide(database, epoch, 1)
    except psycopg.errors.UniqueViolation:
        async with database.transaction() as transaction:
            (taken,) = await transaction.rows(TAKE, (epoch, 1)) or [None]
            if taken is None:
                return Found()
            (row,) = await transaction.rows(LOOK, ([taken.id],))
            return Found(refetched={row.id: row.request_id}, count=1)


async def _decide(database: Database, epoch: int | None, limit: int) -> Found:
    """Take up to `limit` entries and have their payloads read where they are kept."""
    found = Found()
    async with database.transaction() as transaction:
        taken = await transaction.rows(TAKE, (epoch, limit))
        if not taken:
            return found
        fetches = sorted({row.fetch_id for row in taken})
        await transaction.rows(LOCK_FETCHES, (fetches,))
        await transaction.rows(LOCK_REQUESTS, (fetches,))
        rows = await transaction.rows(LOOK, ([row.id for row in taken],))
        # Of several answers to one fetch that could not be read, one is enough.
        newest = {row.fetch_id: row for row in rows if row.fetch_id is not None}
        outcomes: dict[str, list[int]] = {"reparsed": [], "not needed": [], "gone": []}
        later: list[int] = []
        for row in rows:
            outcome = _outcome(row) if newest.get(row.fetch_id, row) is row else "not needed"
            if outcome is None:
                later.append(row.id)
            elif outcome == "refetched":
                found.refetched[row.id] = row.request_id
            else:
                outcomes[outcome].append(row.id)
        again = [row for row in rows if row.id in outcomes["reparsed"] and not row.live]
        if again:
            found.reopened = [row.request_id for row in again]
            await transaction.run(REOPEN, {"requests": found.reopened, "fetches": [row.fetch_id for row in again]})
        if outcomes["reparsed"]:
            found.reread = [row.id for row in await transaction.rows(REREAD, (outcomes["reparsed"],))]
        for outcome, entries in outcomes.items():
            if entries:
                await transaction.run(RESOLVE, (outcome, entries))
        if later:
            await transaction.run(LATER, (later,))
    found.count = len(taken) - len(later)
    return found


def _outcome(row: Any) -> str | None:
    """What is to become of an entry; `None`: not yet, because somebody works on its fetch."""
    if row.fetch_id is None:
        return "gone"
    if not row.counts or row.status in ("COMPLETE", "CANCELLED") or row.stage == "DONE":
        return "not needed"
    if row.live and row.stage not in ("WAITING", "FAILED"):
        return None
    if row.kept and (row.stage == "WAITING" or not row.live):
        return "reparsed"
    # What still runs will ask other sources by itself.
    return "not needed" if row.live else "refetched"
