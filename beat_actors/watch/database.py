"""PostgreSQL, by what Beat's processes and its own views say of it."""

from collections import Counter
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import NamedTuple

from beat_actors.alerts import Alert
from beat_actors.database import Database, Statements, upkeep
from beat_actors.database.processes import Process, processes
from beat_actors.moments import moment
from beat_actors.watch.rule import listed

SLOW_QUERY = 1.0
"""Seconds of the p99 of statements from which on the database counts as slow."""
SLOW_CLAIM, FEW_CLAIMS = 5.0, 5
"""Seconds for which the median claim of a process may have waited, where it made so many in the last minute."""
CONNECTIONS_SHARE = 0.8
SAME_OUTAGE = timedelta(seconds=30)
"""By how much the processes differ about the end of the same outage: they report every ten seconds, and reconnect after pauses."""


class InDefault(NamedTuple):
    """Rows that a table's default partition holds, and the days that they belong to."""

    parent: str
    held: int
    since: date | None
    until: date | None


SQL = Statements(__file__)
RESTORED = SQL("restored", datetime)
IN_DEFAULT = SQL("in_default", InDefault)


async def slow_database(database: Database) -> list[Alert]:
    """What processes report about their last minute: slow statements, exhausted pools, work that waited to be claimed. Also an outage that ended
    within the hour, and that the database was restored."""
    living = await processes(database)
    async with database.statements() as alone:
        restored_at = await alone.value(RESTORED)
    outage = _outage(living)
    found = (
        _restored(restored_at) if restored_at is not None else None,
        outage,
        _slow_statements(living),
        # During an outage every pool is exhausted: a larger one would not have helped.
        _exhausted_pools(living, database.settings.database_pool_timeout) if outage is None else None,
        _slow_claims(living),
    )
    return [alert for alert in found if alert is not None]


def _restored(at: datetime) -> Alert:
    return Alert(
        key="database:restored",
        severity="warning",
        cause=f"this database was restored into another cluster, found at {moment(at)}",
        impact="requests and events from after the dump are not in it; cursors of /v1/changes from after it are refused with 410",
        automatic="events, webhooks and /v1/changes continue after everything that was restored; the alert is resolved after a day",
        action="ask consumers to read their data again, and accounts to submit missing requests again",
    )


def _outage(living: Sequence[Process]) -> Alert | None:
    """The last outage that more than half of the processes saw: what a single one sees is its own network's."""
    seen = [outage for each in living for outage in each.outages[-1:]]
    if not seen or 2 * len(seen) <= len(living):
        return None
    last = max(one.until for one in seen)
    seen = [one for one in seen if last - one.until <= SAME_OUTAGE]
    if 2 * len(seen) <= len(living):
        return None
    since = min(one.since for one in seen)
    return Alert(
        key="database:outage",
        severity="warning",
        cause=f"PostgreSQL did not answer from {moment(since)} to {moment(last)} ({(last - since).total_seconds():.0f} s), "
        f"as {len(seen)} of {len(living)} processes saw it",
        impact="API calls in that time were answered with 503, and no work was done; nothing that was accepted is lost",
        automatic="every process has reconnected, and the work continues; the alert is resolved an hour after the outage",
        action="check PostgreSQL's log and its host for that time; `beat doctor` checks that everything works again",
    )


def _slow_statements(living: Sequence[Process]) -> Alert | None:
    slow = [each for each in living if each.statement_p99 >= SLOW_QUERY]
    if not slow:
        return None
    worst = max(each.statement_p99 for each in slow)
    return Alert(
        key="database:slow",
        severity="warning" if worst < 5 * SLOW_QUERY else "critical",
        cause=f"p99 statement latency is up to {worst:.1f} s ({_kinds(slow)})",
        impact="everything takes longer, and the API may answer 503",
        automatic="connections and statements are bounded, workers wait and come back by themselves",
        action="`beat db processes` shows which process; look for long transactions and locks: `beat db connections`",
    )


def _exhausted_pools(living: Sequence[Process], timeout: float) -> Alert | None:
    short = [each for each in living if each.pool_exhausted]
    if not short:
        return None
    times = sum(each.pool_exhausted for each in short)
    return Alert(
        key="database:pool",
        severity="warning",
        cause=f"connection pool exhausted {times} times in the last minute: no connection became free within {timeout:g} s ({_kinds(short)})",
        impact="affected work was requeued, affected API calls were answered with 503; nothing is lost",
        automatic="the work is retried; no process takes more connections than its pool has",
        action="`beat db processes` shows which process; where statements are not slow, raise BEAT_DATABASE_POOL_SIZE or run more processes",
    )


def _slow_claims(living: Sequence[Process]) -> Alert | None:
    slow = [each for each in living if each.claims >= FEW_CLAIMS and each.claim_p50 >= SLOW_CLAIM]
    if not slow:
        return None
    worst = max(each.claim_p50 for each in slow)
    return Alert(
        key="database:claims",
        severity="warning",
        cause=f"median queue latency is over {worst:.0f} s ({_kinds(slow)})",
        impact="everything takes longer; leases that are not taken up within 10 s go back to the broker, uncharged",
        automatic="nothing is lost; the broker gives out no more than may be in flight",
        action="`beat queues --once` and `beat db processes` show where work waits; run more workers, or fix the database",
    )


def _kinds(found: Sequence[Process]) -> str:
    """How many of each kind of process, and one of them."""
    counted = Counter(each.name for each in found)
    return (
        listed([f"{count} of {name}" for name, count in sorted(counted.items())]) + f"; {found[0].host}:{found[0].pid}"
    )


async def connections(database: Database) -> list[Alert]:
    """PostgreSQL's connections, when they are nearly used up."""
    found = await upkeep.connections(database)
    if found.used < found.most * CONNECTIONS_SHARE:
        return []
    return [
        Alert(
            key="connections:postgresql",
            severity="critical" if found.used >= found.most else "warning",
            cause=f"{found.used} of {found.most} connections of PostgreSQL are taken: "
            + listed([f"{each.name} {each.connections}" for each in found.clients]),
            impact="work that needs a connection waits, and the API answers 503",
            automatic="each process of Beat stays within its own pool (BEAT_DATABASE_POOL_SIZE) and recovers automatically",
            action="`beat db connections` shows who holds them; end those that are not Beat's, make pools smaller, or put PgBouncer before PostgreSQL",
        )
    ]


async def partitions(database: Database) -> list[Alert]:
    """Tables of which rows came into the default partition, because their day had none."""
    async with database.statements() as alone:
        rows = await alone.rows(IN_DEFAULT)
    return [
        Alert(
            key=f"partition:{row.parent}",
            severity="warning",
            cause=f"{row.held:,} rows of {row.parent} lie in its default partition (of {row.since} to {row.until})",
            impact="nothing is lost; they are read more slowly, and their day is not dropped as a whole",
            automatic="each ten minutes their days get partitions and they are moved; past retention they are deleted",
            action="check that a scheduler runs: `beat doctor`; if the sweep 'partitions' fails, an alert of its own has the error",
        )
        for row in rows
    ]
