"""The alerts about webhooks: endpoints that fail, and events that no process delivers."""

from typing import NamedTuple

from beat_actors.alerts import Alert
from beat_actors.database import Database, Statements
from beat_actors.database.processes import SEEN_WITHIN
from beat_actors.webhooks.deliveries import PROCESS


class Trouble(NamedTuple):
    """An endpoint in trouble. `key_id`: the key that made it, where that has ended; it was `revoked`, or has expired."""

    id: int
    state: str
    failures: int
    host: str
    key_id: int | None
    revoked: bool


SQL = Statements(__file__)
IN_TROUBLE = SQL("in_trouble", Trouble)
NOT_DELIVERED = SQL("not_delivered", int)


async def in_trouble(database: Database) -> list[Alert]:
    """Endpoints that fail, up to 200 of them, and deliveries that are due while no deliverer runs."""
    async with database.statements() as alone:
        rows = await alone.rows(IN_TROUBLE)
        waiting = await alone.value(NOT_DELIVERED, {"within": SEEN_WITHIN, "process": PROCESS})
    found = [
        _paused(row.id, row.host, "was revoked" if row.revoked else "expired")
        if row.key_id is not None and row.state == "active"
        else _failing(row.id, row.host, row.failures, gone=row.state == "disabled")
        for row in rows
    ]
    return found if waiting is None else [*found, _not_delivered(waiting)]


def _not_delivered(seconds: int) -> Alert:
    return Alert(
        key="webhook:deliverer",
        severity="critical",
        cause=f"webhook deliveries have been due for {seconds} s, and no deliverer process runs",
        impact="no webhook is delivered; events wait, and a delivery fails after 24 h",
        automatic="a deliverer that starts delivers everything that is due",
        action="start one: python -m scheduler.deliverer; check that it reaches PostgreSQL: `beat doctor`",
    )


def _paused(number: int, host: str, how: str) -> Alert:
    return Alert(
        key=f"webhook:{number}",
        severity="warning",
        cause=f"the webhook to {host} is paused: the API key that created it {how}",
        impact="its consumer receives no events; other webhooks are not affected",
        automatic="its deliveries wait for 24 h, then fail",
        action=f"`beat webhooks list` shows who created it; then `beat webhooks resume {number}` and `beat webhooks rotate {number}`, "
        f"or `beat webhooks remove {number} --reason …`",
    )


def _failing(number: int, host: str, failures: int, *, gone: bool) -> Alert:
    if gone:
        cause, automatic = f"the webhook to {host} answered 410 Gone", "Beat sends nothing more to it"
        then = f"`beat webhooks resume {number}`"
    else:
        cause = f"the webhook to {host} failed {failures} times in a row"
        automatic = "Beat tries one delivery after each pause (30 s to 1 h); the others follow when it succeeds, or fail after 24 h"
        then = f"`beat webhooks resend {number} --since TIME` sends the failed ones again"
    return Alert(
        key=f"webhook:{number}",
        severity="warning",
        cause=cause,
        impact="its consumer receives no events; other webhooks are not affected",
        automatic=automatic,
        action=f"`beat webhooks deliveries {number}` shows the errors; when the consumer is back: {then}",
    )
