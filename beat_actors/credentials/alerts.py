"""The alerts about credentials: derived from their rows, so that an edit by hand resolves one too."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any, NamedTuple

from beat_actors.alerts import Alert, open_alerts, resolve_alerts
from beat_actors.database import Statements, Transaction
from beat_actors.moments import moment

# Days before its end at which a person is told of a credential that only an operator can replace.
DAYS_BEFORE = 7
# Credentials of one source that have alerts of their own. That many of a source are out is one alert of the source.
MOST_OF_SOURCE = 100


class Troubled(NamedTuple):
    """A credential in trouble. `ends_at`: when its token or its access to data ends; `is_expiry`: it is the token. `late`: its token is over,
    and by itself would have been refreshed before. `others`: other credentials of its source that can be used. `refusals`: an object with
    `operation`, what the provider `said`, and `others` that can do it, for each operation that it is denied."""

    id: int
    source: str
    label: str
    dead_at: datetime | None
    dead_reason: str | None
    ends_at: datetime | None
    is_expiry: bool | None
    late: bool | None
    ending: bool | None
    others: int
    refusals: list[dict[str, Any]] | None


SQL = Statements(__file__)
TROUBLED = SQL("troubled", Troubled)
OPENED = SQL("opened", str)


async def troubles(transaction: Transaction, platform: str | None = None) -> list[Alert]:
    """What is to be open now."""
    rows = await transaction.rows(TROUBLED, {"platform": platform, "days": DAYS_BEFORE, "most": MOST_OF_SOURCE})
    return [alert for row in rows for alert in _alerts(row)]


async def watch(transaction: Transaction, platform: str | None = None) -> None:
    """Open what is to be open, and resolve the rest."""
    wanted = {alert.key: alert for alert in await troubles(transaction, platform)}
    opened = set(await transaction.rows(OPENED, {"platform": platform}))
    await open_alerts(transaction, [wanted[key] for key in sorted(wanted.keys() - opened)])
    await resolve_alerts(transaction, sorted(opened - wanted.keys()))


def _alerts(row: Troubled) -> Iterator[Alert]:
    who, action = (
        f"credential {row.id} of {row.source} ({row.label})",
        f"`beat credentials replace {row.id} --reason …` with a new secret",
    )
    left = f"{row.others} other{'' if row.others == 1 else 's'} of {row.source} can be used"
    gravest = "warning" if row.others else "critical"
    if row.dead_at is not None:
        yield Alert(
            key=f"credential:{row.id}:dead",
            severity=gravest,
            cause=f"{who} is dead: {row.dead_reason or 'revoked or expired'}",
            impact=f"this credential makes no more calls; {left}",
            automatic="its work goes to other credentials and sources",
            action=action,
            source=row.source,
        )
        return
    if row.late:
        yield Alert(
            key=f"credential:{row.id}:refresh",
            severity=gravest,
            cause=f"the token of {who} has expired and could not be refreshed",
            impact=f"this credential makes no calls until it is refreshed; {left}",
            automatic="Beat retries the refresh with growing pauses",
            action=f"`beat credentials show {row.id}` has the last error",
            source=row.source,
        )
    for refusal in row.refusals or ():
        yield _denied(row, who, refusal)
    if row.ending and row.ends_at is not None:
        yield Alert(
            key=f"credential:{row.id}:expiry",
            severity="warning",
            cause=f"{who} {'expires' if row.is_expiry else 'loses access to the data of its user'} at {moment(row.ends_at)}",
            impact=f"after that the provider refuses its calls; {left}",
            automatic="Beat uses the credential until then, and checks it before and after",
            action=action,
            source=row.source,
        )


def _denied(row: Troubled, who: str, refusal: dict[str, Any]) -> Alert:
    """One for each operation that the provider does not let a credential do."""
    operation, others = refusal["operation"], refusal["others"]
    can = f"{others} other{'' if others == 1 else 's'} of {row.source} can" if others else f"none of {row.source} can"
    return Alert(
        key=f"credential:{row.id}:denied:{operation}",
        severity="warning",
        cause=f"the provider denies {operation} to {who}{': ' if refusal['said'] else ''}{refusal['said'] or ''}",
        impact=f"this credential makes no calls of {operation}; {can}",
        automatic="Beat uses other credentials and sources; one call tries again after a minute, then at growing intervals",
        action=f"grant the permission at the provider, then: `beat credentials enable {row.id} --reason …`",
        source=row.source,
    )
