"""The shapes of `beat brief` and of GET /v1/brief. No I/O."""

from datetime import datetime
from typing import Annotated, Literal

import msgspec

from beat_actors.severities import SEVERITIES
from beat_actors.shapes import one_of

STATUSES = ("calm", "trouble", "blind", "past")
CHANGES = ("deploy", "restart", "operator")
ENTRIES = ("alert", "breaker", *CHANGES)

Kind = Literal["alert", "breaker", "deploy", "restart", "operator"]


class Affected(msgspec.Struct, frozen=True, kw_only=True):
    """Who is affected. `requests` of `accounts` wait, in `flows` (platform and flow); `failed` requests failed since it began. A request of a key
    without an account counts as one of an account of its own.

    `more`: at least so many; the count stops there. `oldest`: since when the oldest of them waits. `counted`: whether it can be counted at all.
    """

    requests: int = 0
    accounts: int = 0
    flows: list[str] = []
    failed: int = 0
    more: bool = False
    oldest: datetime | None = None
    counted: bool = True
    sentence: str


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """An alert that another one explains."""

    key: str
    severity: Annotated[str, one_of(SEVERITIES)]
    cause: str


class Trouble(msgspec.Struct, frozen=True, kw_only=True):
    """What is wrong: an alert that no other alert explains, with those that it explains as its `parts`.

    `severity`: the highest of all of them. `automatic`: what Beat does by itself. `next_at`: when it will do the next thing, `next`, or null where
    no time is known. `command`: the command of the safe action, or null where it is none of Beat's.
    """

    key: str
    severity: Annotated[str, one_of(SEVERITIES)]
    since: datetime | None
    silenced: bool
    cause: str
    impact: str
    affected: Affected
    automatic: str
    next: str
    next_at: datetime | None
    action: str
    command: str | None
    parts: list[Part]


class OpenDataBreaker(msgspec.Struct, frozen=True, kw_only=True):
    """A data breaker that is open: the answers of a source, as this version of its parser reads them, are not used, or hardly. `following`: the version
    is that of the next parser, so that the deployed one reads all answers.

    `share`: of the last answers, how many were out of range (0 to 1); null where none was counted. `why` is empty where an operator opened it.
    `action`: the safe one, a command in backticks.
    """

    source: str
    operation: str
    parser_version: int
    following: bool
    since: datetime
    by_hand: bool
    share: float | None
    why: str
    action: str


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody changed: code or settings that processes were started with, processes that were started, what operators did.

    `who`: the operator or the kind of process; null where the caller's key may not read the audit log. `times`: how often, from `at` on.
    """

    at: datetime
    kind: Annotated[Literal["deploy", "restart", "operator"], one_of(CHANGES)]
    who: str | None
    what: str
    times: int = 1


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """A line of the timeline."""

    at: datetime
    kind: Annotated[Kind, one_of(ENTRIES)]
    what: str


class Interval(msgspec.Struct, frozen=True, kw_only=True):
    """The throughput of all platforms in an interval of the timeline: leases that were given for calls, and call outcomes that were applied, a minute.

    `estimated`: there were so many dispatch cycles that only the first of the interval were read."""

    since: datetime
    until: datetime
    leases: float
    outcomes: float
    estimated: bool = False


class Brief(msgspec.Struct, frozen=True, kw_only=True):
    """One page. `status`: calm; trouble; blind (nobody looks for problems, so the page may be out of date); past (of a span of time).

    `sentence`: all of it in one line. `problems`: the root cause first. `left_out`: problems, and entries of the timeline, that are not listed.
    `data_breakers`: those that are open, the oldest first, 20 at most, also where the page is calm. `before`: what changed in the hour before the first
    problem began; `after`: since then. `timeline`, `throughput`: of the span of time from
    `since` until `until`.
    """

    at: datetime
    status: Annotated[Literal["calm", "trouble", "blind", "past"], one_of(STATUSES)]
    sentence: str
    problems: list[Trouble] = []
    left_out: int = 0
    data_breakers: list[OpenDataBreaker] = []
    before: list[Change] = []
    after: list[Change] = []
    since: datetime | None = None
    until: datetime | None = None
    timeline: list[Entry] = []
    throughput: list[Interval] = []
