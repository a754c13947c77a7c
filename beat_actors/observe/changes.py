"""What somebody changed in a span of time: the code and the settings that processes were started with, restarts, and what operators did."""

from datetime import datetime
from typing import Any, NamedTuple

from beat_actors.database import Statements, Transaction
from beat_actors.database.processes import SEEN_WITHIN
from beat_actors.observe.page import Change

READ, MOST = 2000, 100
"""Actions of operators that are read; rows of each kind."""


class Started(NamedTuple):
    """A process that was started with other code or settings than the one of its kind before it, whose fields end in `_before`."""

    at: datetime
    name: str
    version: str
    revision: str
    platforms: list[str] | None
    settings: dict[str, Any]
    version_before: str | None
    revision_before: str | None
    platforms_before: list[str] | None
    settings_before: dict[str, Any] | None


class Restarted(NamedTuple):
    """Processes of a kind that were started, the first at `at`."""

    name: str
    processes: int
    at: datetime


class Acted(NamedTuple):
    """An action of an operator, `times` from `at` until `last_at`. `detail`: of the last time."""

    at: datetime
    last_at: datetime
    actor: str
    action: str
    times: int
    targets: list[str]
    detail: dict[str, Any]


SQL = Statements(__file__)
STARTS, RESTARTED, OPERATORS = SQL("starts", Started), SQL("restarted", Restarted), SQL("operators", Acted)


async def changes(transaction: Transaction, since: datetime, until: datetime, *, actors: bool = True) -> list[Change]:
    """All of it, oldest first. `actors`: with the names and reasons of operators."""
    span = {"since": since, "until": until}
    starts = await transaction.rows(STARTS, {**span, "most": MOST})
    restarted = await transaction.rows(RESTARTED, {**span, "seconds": SEEN_WITHIN})
    acted = await transaction.rows(OPERATORS, {**span, "read": READ, "most": MOST})
    found = [
        *(Change(at=row.at, kind="deploy", who=row.name, what=deployed(row)) for row in starts),
        *(Change(at=row.at, kind="restart", who=row.name, what=_restarted(row)) for row in restarted),
        *(
            Change(
                at=row.at,
                kind="operator",
                who=row.actor if actors else None,
                what=_acted(row, whole=actors),
                times=row.times,
            )
            for row in acted
        ),
    ]
    return sorted(found, key=lambda one: one.at)


def deployed(row: Started) -> str:
    """What is new in what a process was started with."""
    if row.version_before is None:
        return f"{row.name}: version {row.version}, schema {row.revision}; no earlier start is known"
    said = []
    if row.version != row.version_before:
        said.append(f"version {row.version_before} -> {row.version}")
    if row.revision != row.revision_before:
        said.append(f"schema {row.revision_before} -> {row.revision}")
    now, before = set(row.platforms or ()), set(row.platforms_before or ())
    said += [f"platform {name} added" for name in sorted(now - before)]
    said += [f"platform {name} removed" for name in sorted(before - now)]
    settings, settings_before = row.settings, row.settings_before or {}
    for name in sorted({*settings, *settings_before}):
        old, new = settings_before.get(name, "default"), settings.get(name, "default")
        if old != new:
            said.append(f"{name} {_value(old)} -> {_value(new)}")
    return f"{row.name}: {', '.join(said) or 'the same code and settings'}"


def _value(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _restarted(row: Restarted) -> str:
    many = "1 process" if row.processes == 1 else f"{row.processes:,} processes"
    return f"{row.name}: {many} started"


def _acted(row: Acted, *, whole: bool) -> str:
    """`whole`: with what was changed, and why."""
    named = list(dict.fromkeys(row.targets))
    more = f" and {row.times - len(row.targets)} more" if row.times > len(row.targets) else ""
    said = f"{row.action} {', '.join(named)}{more}"
    if not whole:
        return said
    detail = [f"{name} {_value(value)}" for name, value in row.detail.items() if isinstance(value, bool | int | float)]
    reason = row.detail.get("reason")
    return said + (f": {', '.join(detail)}" if detail else "") + (f" ({reason})" if reason else "")
