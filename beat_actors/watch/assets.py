"""Uploads of assets: a backlog, URLs that expire before their turn, fetches that fail, a bucket that does not take objects, daily limits, objects that are not deleted."""

from collections.abc import Collection
from typing import NamedTuple

from beat_actors.alerts import Alert
from beat_actors.assets.classes import AssetClass
from beat_actors.assets.upkeep import caps
from beat_actors.assets.upkeep.backlog import AssetBacklog, backlog
from beat_actors.database import Database, Statements
from beat_actors.moments import moment
from beat_actors.watch.rule import listed, number

MORE_UPLOADS = "`beat flows set asset_upload_flow --workers 100 --concurrency 200 --reason …`"
BACKLOG_OPENS = 50_000
BACKLOG_RESOLVES = 40_000
LATE_OPENS, LATE_RESOLVES = 100, 20
"""Assets whose URLs expire before their turn."""
FAILING_OPENS, FAILING_RESOLVES = 0.5, 0.3
"""The share of the fetches of the last minutes that failed."""
FETCHES_AT_LEAST = 0.2
"""Fetches a second below which their share says nothing."""
REFUSED_OPENS, REFUSED_RESOLVES, REFUSED_READ = 20, 1, 1000
"""Of so many assets that wait for a later try, those that wait because of the bucket."""
DELETED_WITHIN = 600.0
"""Seconds within which an object is deleted, with its copies in the CDN."""
COUNTED = 10_000


class Backlog(NamedTuple):
    """Assets that wait. `stands`: an alert about them is open."""

    pending: int
    stands: bool


class Refused(NamedTuple):
    """Assets that are tried again first, how many of them wait because of the bucket, and what it said."""

    looked: int
    assets: int
    said: str | None


class Undeleted(NamedTuple):
    """Objects whose deletion does not end; seconds since the first began."""

    objects: int
    seconds: float | None


SQL = Statements(__file__)
BACKLOG, STANDING = SQL("backlog", Backlog), SQL("standing", str)
REFUSED, UNDELETED = SQL("refused", Refused), SQL("undeleted", Undeleted)


async def waiting(database: Database) -> list[Alert]:
    """Assets that wait to be stored. The alert opens at 50,000 and is resolved below 40,000, so that it does not flap."""
    async with database.statements() as alone:
        found = await alone.only(BACKLOG, {"most": BACKLOG_OPENS})
    if found.pending < (BACKLOG_RESOLVES if found.stands else BACKLOG_OPENS):
        return []
    return [
        Alert(
            key="backlog:assets",
            severity="warning",
            cause=f"{'at least ' if found.pending == BACKLOG_OPENS else ''}{found.pending:,} assets are waiting to be stored",
            impact="pictures are served from the providers' URLs, which expire; data is not affected",
            automatic="Beat stores profile pictures first, then what expires first; data collection is not delayed",
            action=f"`beat assets backlog` shows when it ends; let more be fetched at once: {MORE_UPLOADS}",
        )
    ]


async def uploads(database: Database) -> list[Alert]:
    """What is wrong with uploads. It reads what `assets.backlog` counts, once a minute."""
    async with database.statements() as alone:
        standing = set(await alone.rows(STANDING))
        refused = await alone.only(REFUSED, {"most": REFUSED_READ})
        undeleted = await alone.only(UNDELETED, {"seconds": DELETED_WITHIN, "most": COUNTED})
    found = await backlog(database)
    return [
        *_late(found, standing),
        *_failing(found, standing),
        *_refused(refused, standing),
        *await _capped(database),
        *_undeleted(undeleted),
    ]


def _late(found: AssetBacklog, standing: Collection[str]) -> list[Alert]:
    late = found.late or 0
    if late < (LATE_RESOLVES if "assets:late" in standing else LATE_OPENS):
        return []
    of = listed([f"{one.late:,} {one.asset_class}" for one in found.classes if one.late])
    until = "" if found.ends_at is None else f", and the last would have its turn at {moment(found.ends_at)}"
    return [
        Alert(
            key="assets:late",
            severity="warning",
            cause=f"the URLs of {late:,} of {found.pending:,} waiting assets expire before their turn ({of}): "
            f"{found.per_second or 0.0:,.1f} a second are fetched{until}",
            impact="their pictures have to be asked for again through their parents, which costs calls, or are missing",
            automatic="Beat fetches what can still be saved in the order of expiry, and asks the parent of each expired asset once for a fresh URL",
            action=f"let more be fetched at once: {MORE_UPLOADS}; then add workers of the queue `assets`",
        )
    ]


def _failing(found: AssetBacklog, standing: Collection[str]) -> list[Alert]:
    share, opened = found.failed_share or 0.0, "assets:failing" in standing
    if (found.per_second or 0.0) < FETCHES_AT_LEAST or share < (FAILING_RESOLVES if opened else FAILING_OPENS):
        return []
    return [
        Alert(
            key="assets:failing",
            severity="warning",
            cause=f"{share:.0%} of the fetches of assets in the last minutes failed, at {found.per_second or 0.0:,.1f} a second",
            impact="their pictures are not stored; the last good picture is served",
            automatic="Beat tries an asset again after growing waits, and asks its parent for a fresh URL when its own is dead",
            action="`beat assets list --status failed` shows why",
        )
    ]


def _refused(found: Refused, standing: Collection[str]) -> list[Alert]:
    if found.assets < (REFUSED_RESOLVES if "assets:bucket" in standing else REFUSED_OPENS):
        return []
    more = "at least " if found.looked == REFUSED_READ else ""
    return [
        Alert(
            key="assets:bucket",
            severity="critical",
            cause=f"the bucket of assets does not take objects: {more}{number(found.assets, 'asset')} wait for it; it last said: {found.said}",
            impact="no picture is stored meanwhile; nothing is lost except pictures whose URLs expire",
            automatic="Beat tries each asset again after growing waits; what expires first goes first",
            action="`beat doctor` says what the bucket lacks",
        )
    ]


async def _capped(database: Database) -> list[Alert]:
    settings = database.settings
    if not caps.limited(settings):
        return []
    share = await caps.share(database)
    now = caps.allowed(share)
    stopped = [one.name.lower() for one in AssetClass if one not in now.classes]
    if not stopped:
        return []
    limits = [
        f"BEAT_ASSET_DAILY_{name} = {value:,}"
        for name, value in (("REQUESTS", settings.asset_daily_requests), ("BYTES", settings.asset_daily_bytes))
        if value is not None
    ]
    return [
        Alert(
            key="assets:cap",
            severity="warning" if now.readers else "critical",
            cause=f"{share:.0%} of what may be fetched for assets today is used ({' and '.join(limits)})",
            impact=f"until midnight UTC no assets of these classes start: {listed(stopped)}"
            + ("" if now.readers else "; nor do those that readers wait for"),
            automatic="what is left of the limit goes to profile pictures and to readers; all classes start again at midnight UTC",
            action="`beat assets costs` shows which accounts and classes take most; raise the limit of the processes that upload",
        )
    ]


def _undeleted(found: Undeleted) -> list[Alert]:
    if not found.objects:
        return []
    more = "at least " if found.objects == COUNTED else ""
    return [
        Alert(
            key="assets:undeleted",
            severity="critical",
            cause=f"{more}{number(found.objects, 'object')} that should be deleted are still in the bucket or the CDN, the first for {(found.seconds or 0.0) / 60:.0f} min",
            impact="pictures that were to be forgotten can still be read by their URL",
            automatic="Beat deletes them as soon as the bucket and BEAT_ASSET_PURGE_URL answer",
            action="check that a worker of the queue `assets` runs, and that the bucket lets it delete: `beat doctor`",
        )
    ]
