"""The alerts about notifications: sinks that fail, and messages that no process sends."""

from datetime import datetime
from typing import NamedTuple

from beat_actors.alerts import Alert
from beat_actors.database import Database, Statements
from beat_actors.database.processes import SEEN_WITHIN
from beat_actors.moments import moment
from beat_actors.notify.kinds import NO_PLATFORM
from beat_actors.webhooks.deliveries import PROCESS

FAILURES = 3
"""Failures in a row after which an alert opens."""


class Trouble(NamedTuple):
    """A sink in trouble. `given_up`: messages within a day. `only`: no other active sink works."""

    name: str
    kind: str
    target: str
    failures: int
    last_success_at: datetime | None
    last_error: str | None
    pending: int
    given_up: int
    only: bool


SQL = Statements(__file__)
IN_TROUBLE = SQL("in_trouble", Trouble)
NOT_SENT = SQL("not_sent", int)


async def in_trouble(database: Database) -> list[Alert]:
    """Sinks that do not take messages, and messages that are due while no deliverer runs."""
    async with database.statements() as alone:
        rows = await alone.rows(IN_TROUBLE, {"failures": FAILURES})
        waiting = await alone.value(NOT_SENT, {"within": SEEN_WITHIN, "process": PROCESS, "no_platform": NO_PLATFORM})
    found = [_failing(row) for row in rows]
    return found if waiting is None else [*found, _not_sent(waiting)]


def _failing(row: Trouble) -> Alert:
    last = "never" if row.last_success_at is None else f"at {moment(row.last_success_at)}"
    gave = f"; {row.given_up} messages were given up within a day" if row.given_up else ""
    return Alert(
        key=f"notify:{row.name}",
        severity="critical" if row.only else "warning",
        cause=f"the notification sink {row.name} ({row.kind}, {row.target}) failed {row.failures} times in a row: {row.last_error or 'no answer'}; "
        f"it last took a message {last}{gave}",
        impact="nobody is notified of alerts; they are listed by `beat alerts`"
        if row.only
        else "who reads this sink is not notified; other sinks are not affected",
        automatic=f"Beat tries again after growing pauses (5 s to 10 min); {row.pending} messages wait, and tell then what is open and what ended",
        action=f"`beat notify test {row.name}` shows the error at once; correct the sink: `beat notify remove {row.name} --reason …`, then add it again",
    )


def _not_sent(seconds: int) -> Alert:
    return Alert(
        key="notify:deliverer",
        severity="critical",
        cause=f"notifications have been due for {seconds} s, and no deliverer process runs",
        impact="nobody is notified of alerts; they are listed by `beat alerts`",
        automatic="a deliverer that starts sends what is open then",
        action="start one: python -m scheduler.deliverer; check that it reaches PostgreSQL: `beat doctor`",
    )
