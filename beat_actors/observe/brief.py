"""The page that an operator reads first: what is wrong now, since when, why, who is affected, what happens next, and the one safe action.

It is made of the open alerts, of which `roots` finds the causes, and of bounded looks at what waits. A calm system costs two statements.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from beat_actors.database import Database, Statements, Transaction, jsonb
from beat_actors.database.processes import SEEN_WITHIN
from beat_actors.observe import distrust
from beat_actors.observe.changes import changes
from beat_actors.observe.page import Affected, Brief, Part, Trouble
from beat_actors.observe.roots import Group, Standing, groups
from beat_actors.observe.words import command_in, listed, number
from beat_actors.platforms.registry import platforms

LISTED = 5
"""Problems that are listed."""
ALERTS = 500
BREAKERS = 20
"""Open data breakers that are listed."""
COUNTED = 10_000
BEFORE = timedelta(hours=1)
NOTICED = timedelta(minutes=1)
"""What changed so shortly after the opening of an alert stands with what changed before it: clocks and looks differ."""
UNLED = timedelta(seconds=15)
"""Since when the scheduler was not seen before it counts as absent."""
EVERYTHING = frozenset({"database", "redis", "workers", "connections", "process", "sweep", "scheduler"})
"""Rules about what all work needs."""
OF_ASSETS = frozenset({"assets", "backlog"})


class Now(NamedTuple):
    """`led_at`: when the scheduler was seen last; `looked_at`: when it looked for problems. `requests`: how many have not ended.
    `data_breakers`: those that are open, as `distrust.read` takes them."""

    at: datetime
    led_at: datetime | None
    looked_at: datetime | None
    alerts: int
    requests: int
    processes: dict[str, int]
    data_breakers: list[dict[str, Any]]


class Waits(NamedTuple):
    """What waits in a scope, and the moments at which something happens there."""

    n: int
    flows: list[str]
    oldest: datetime | None
    fetches: int
    requests: int
    accounts: int
    failed: int
    until: datetime | None
    probe_at: datetime | None
    credential_at: datetime | None


class Assets(NamedTuple):
    assets: int
    accounts: int
    oldest: datetime | None


SQL = Statements(__file__)
NOW, STANDING = SQL("now", Now), SQL("standing", Standing)
AFFECTED, ASSETS = SQL("affected", Waits), SQL("assets", Assets)


async def brief(database: Database, *, actors: bool = True) -> Brief:
    """The page of this moment. `actors`: with the names and reasons of operators. Raises `StorageUnavailable`."""
    async with database.statements() as alone:
        now = await alone.only(NOW, {"most": COUNTED, "seconds": SEEN_WITHIN, "breakers": BREAKERS})
        standing = await alone.rows(STANDING, {"most": ALERTS})
    return await _brief(database, now, standing, actors=actors)


async def _brief(database: Database, now: Now, standing: Sequence[Standing], *, actors: bool) -> Brief:
    platform_of = {source: name for name, platform in platforms().items() for source in platform.sources}
    unled = now.led_at is None or now.at - now.led_at > UNLED
    found = groups([*([_unled(now)] if unled else []), *standing], platform_of)
    graver = [one for one in found if one.severity != "info" and not one.root.silenced]
    breakers = [distrust.read(row) for row in now.data_breakers]
    if not graver:
        return Brief(at=now.at, status="calm", sentence=_calm(now, found), data_breakers=breakers)
    shown = found[:LISTED]
    onset = min(one.root.opened_at for one in graver)
    async with database.statements() as alone:
        problems = await _problems(alone, shown, platform_of, now.at)
        before = await changes(alone, onset - BEFORE, min(onset + NOTICED, now.at), actors=actors)
        after = await changes(alone, onset + NOTICED, now.at, actors=actors) if now.at > onset + NOTICED else []
    return Brief(
        at=now.at,
        status="blind" if unled else "trouble",
        sentence=_sentence(graver),
        problems=problems,
        left_out=len(found) - len(shown),
        data_breakers=breakers,
        before=before,
        after=after,
    )


def _unled(now: Now) -> Standing:
    """That nobody looks for problems is the first of them: what else stands on the page may be over, and what began since is not on it."""
    known = "no alert is up to date" if now.looked_at is None else f"alerts are as of {now.looked_at:%H:%M:%S}Z"
    lacking = "" if now.processes.get("worker") else ", and no worker process has reported within half a minute"
    return Standing(
        key="scheduler:none",
        severity="critical",
        cause=f"no scheduler leads: {known}, and this page can be too{lacking}",
        impact="problems that began since are not noticed; delayed work, lost messages and dead workers' work are not found; nothing is lost",
        automatic="another scheduler takes over within 5 s if one runs",
        action="start one: python -m scheduler; then `beat doctor` checks that it leads",
        source=None,
        covers=None,
        opened_at=now.led_at or now.at,
        silenced=False,
        explained=False,
    )


def _calm(now: Now, noted: Sequence[Group]) -> str:
    """One line."""
    many = f"{'at least ' if now.requests >= COUNTED else ''}{number(now.requests, 'request')} in progress"
    running = listed([f"{count} {name}" for name, count in sorted(now.processes.items())]) or "no process"
    silenced = sum(one.root.silenced for one in noted)
    notes = [one.root.cause for one in noted if not one.root.silenced]
    said = [f"Nothing is wrong: {many}, {running} running"]
    if silenced:
        said.append(f"{number(silenced, 'alert')} silenced: `beat alerts`")
    if notes:
        said.append(f"noted: {notes[0]}" + (f" and {len(notes) - 1} more: `beat alerts`" if notes[1:] else ""))
    return "; ".join(said)


def _sentence(found: Sequence[Group]) -> str:
    """The first cause up to its first detail, and how many others there are."""
    first = found[0].root.cause
    rest = f", and {number(len(found) - 1, 'more problem')}" if found[1:] else ""
    return f"{first.partition(': ')[0].partition('. ')[0]}{rest}"


async def _problems(
    transaction: Transaction, found: Sequence[Group], platform_of: Mapping[str, str], at: datetime
) -> list[Trouble]:
    scopes = {n: scope for n, group in enumerate(found) if (scope := _scope(group.root, platform_of)) is not None}
    rows: dict[int, Waits] = {}
    if scopes:
        asked = [{"n": n, "since": found[n].root.opened_at.isoformat(), **scope} for n, scope in scopes.items()]
        rows = {row.n: row for row in await transaction.rows(AFFECTED, {"scopes": jsonb(asked), "most": COUNTED})}
    assets: Assets | None = None
    if any(group.root.rule in OF_ASSETS for group in found):
        assets = await transaction.only(ASSETS, {"most": COUNTED})
    return [
        _problem(group, rows.get(n), assets if group.root.rule in OF_ASSETS else None, at)
        for n, group in enumerate(found)
    ]


def _scope(root: Standing, platform_of: Mapping[str, str]) -> dict[str, Any] | None:
    """What work needs what is broken; `None` where that is no work of requests."""
    if root.rule in EVERYTHING:
        return {}
    if root.rule in {"platform", "claims"}:
        covers = list(platforms()[root.about].sources) if root.about in platforms() else root.covers
        return {"platform": root.about, "sources": covers}
    if root.rule == "waiting" or root.key.startswith("hand:flow:"):
        platform, _, flow = root.about.removeprefix("flow:").partition(":")
        return {"platform": platform, "flow": flow}
    if root.key.startswith("code:platform "):
        return {"platform": root.about.removeprefix("platform ")}
    if root.source is not None:
        return {"platform": platform_of.get(root.source), "sources": [root.source]}
    return None


def _problem(group: Group, waits: Waits | None, assets: Assets | None, at: datetime) -> Trouble:
    root = group.root
    next_at, what = _next(root, waits, at)
    return Trouble(
        key=root.key,
        severity=group.severity,
        since=root.opened_at,
        silenced=root.silenced,
        cause=root.cause,
        impact=root.impact,
        affected=_affected(root, waits, assets),
        automatic=root.automatic,
        next=what,
        next_at=next_at,
        action=root.action,
        command=command_in(root.action),
        parts=[Part(key=one.key, severity=one.severity, cause=one.cause) for one in group.parts],
    )


def _next(root: Standing, waits: Waits | None, at: datetime) -> tuple[datetime | None, str]:
    """The next thing that happens by itself, and when."""
    known = []
    if waits is not None:
        known = [
            (waits.until, "the first waiting request can go on"),
            (waits.probe_at, f"one probe call to {root.source or 'the first source'}"),
            (waits.credential_at, "the first credential can be used again"),
        ]
    due = sorted((when, what) for when, what in known if when is not None)
    if not due:
        return None, "no time is known"
    when, what = due[0]
    # A probe whose time has come is made with the next request that needs the source.
    return (when, what) if when > at else (when, f"{what}, with the next request that needs it")


def _affected(root: Standing, waits: Waits | None, assets: Assets | None) -> Affected:
    if assets is not None:
        more = assets.assets >= COUNTED
        said = f"{'at least ' if more else ''}{number(assets.assets, 'asset')} of {'at least ' if more else ''}{number(assets.accounts, 'account')} wait to be stored; no request waits for it"
        return Affected(accounts=assets.accounts, more=more, oldest=assets.oldest, sentence=said)
    if waits is None:
        uncounted = "refused requests leave no row, so they are not counted" if root.rule == "limit" else ""
        return Affected(counted=False, sentence=uncounted or "no request waits for it")
    more = waits.fetches >= COUNTED
    least = "at least " if more else ""
    said = "no request waits for it"
    if waits.requests:
        said = f"{least}{number(waits.requests, 'request')} of {least}{number(waits.accounts, 'account')} {'waits' if waits.requests == 1 else 'wait'} ({listed(waits.flows)})"
    if waits.failed:
        said += f"; {'at least ' if waits.failed >= COUNTED else ''}{number(waits.failed, 'request')} failed since"
    return Affected(
        requests=waits.requests,
        accounts=waits.accounts,
        flows=waits.flows,
        failed=waits.failed,
        more=more,
        oldest=waits.oldest,
        sentence=said,
    )
