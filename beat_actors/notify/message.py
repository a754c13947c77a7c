"""What a message says, apart from the form that a kind of sink takes. Pure."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from beat_actors.moments import moment
from beat_actors.severities import SEVERITIES

SHOWN = 20
"""Alerts that a text for people gives in full."""
NAMED = 40
"""Further alerts of which such a text gives the cause."""
LONGEST_SUBJECT = 200


class Told(NamedTuple):
    """An alert of a message. `told`, `told_at`: the severity that the sink was told last, and when; `None`: nothing. Resolved where `resolved_at` is set."""

    id: int
    key: str
    severity: str
    cause: str
    impact: str
    automatic: str
    action: str
    source: str | None
    platform: str | None
    opened_at: datetime
    over_at: datetime | None
    resolved_at: datetime | None
    told: str | None
    told_at: datetime | None


class Affected(NamedTuple):
    """Open requests of a platform, and of how many accounts and keys they are."""

    platform: str
    requests: int
    tenants: int


@dataclass(frozen=True, slots=True)
class Message:
    """A message to a sink. `group`: identifies the alerts of one group, also in later messages. `source`: the installation. `link`: where alerts
    can be read, if that is known. `counted`: so many open requests were counted at most. `alerts`: the open ones first."""

    id: int
    sink: str
    group: str
    at: datetime
    source: str
    alerts: Sequence[Told] = ()
    affected: Sequence[Affected] = ()
    counted: int = 0
    link: str | None = None
    test: bool = False
    repeat_seconds: int | None = None

    @property
    def firing(self) -> list[Told]:
        return [one for one in self.alerts if one.resolved_at is None]

    @property
    def resolved(self) -> list[Told]:
        return [one for one in self.alerts if one.resolved_at is not None]

    @property
    def state(self) -> str:
        """`test`, `firing`, or `resolved`: no alert of the group is open."""
        return "test" if self.test else "firing" if self.firing else "resolved"

    @property
    def severity(self) -> str:
        """The gravest of the open alerts; else of those that ended."""
        return max((one.severity for one in self.firing or self.resolved), key=SEVERITIES.index, default="info")


def has_news(message: Message) -> bool:
    """Whether there is anything to say: a test, an alert that the sink does not know or that has become more severe, an end, or a repetition. There is
    not where another process has said it meanwhile."""
    if message.test or message.resolved or any(_is_news(one) for one in message.firing):
        return True
    told = [one.told_at for one in message.firing if one.told_at is not None]
    return bool(told and message.repeat_seconds) and (message.at - max(told)).total_seconds() >= (
        message.repeat_seconds or 0
    )


def title(message: Message) -> str:
    """One line: what matters most, and how much more there is."""
    if message.test:
        return one_line(f"[TEST] Beat can send notifications to {message.sink}")
    first, *others = message.firing or message.resolved
    mark = first.severity.upper() if message.firing else "RESOLVED"
    more = f" (+{len(others)} more)" if others else ""
    return f"[{mark}] {shortened(one_line(first.cause), LONGEST_SUBJECT - len(more))}{more}"


def summary(message: Message) -> str:
    """One line on all alerts of a message."""
    if message.test:
        return f"This is a test of the sink {message.sink}. No alert is open because of it."
    new = [one for one in message.firing if one.told is None]
    graver = [one for one in message.firing if one.told is not None and _rank(one.severity) > _rank(one.told)]
    still = len(message.firing) - len(new) - len(graver)
    parts = [
        f"{count} {word}{by}"
        for count, word, by in (
            (len(new), "new", _by_severity(new)),
            (len(graver), "more severe", ""),
            (still, "still open", ""),
            (len(message.resolved), "resolved", ""),
        )
        if count
    ]
    return f"Alerts: {', '.join(parts)}."


def plain(message: Message) -> str:
    """The whole message as text."""
    lines = [summary(message), ""]
    shown = [*message.firing, *message.resolved]
    for one in shown[:SHOWN]:
        lines += [headline(one), *(f"  {name:<9} {said}" for name, said in details(message, one)), ""]
    rest = shown[SHOWN:]
    if rest:
        lines.append(f"{len(rest):,} more{_by_severity([one for one in rest if one.resolved_at is None])}:")
        lines += [f"  {shortened(headline(one), 150)}" for one in rest[:NAMED]]
        if len(rest) > NAMED:
            lines.append(f"  ... and {len(rest) - NAMED:,} others: `beat alerts`")
        lines.append("")
    lines += [f"Sent by Beat ({message.source}) at {moment(message.at)} to {message.sink}."]
    if message.link is not None:
        lines.append(f"All alerts: {message.link}")
    return "\n".join(lines)


def headline(one: Told) -> str:
    mark = "RESOLVED" if one.resolved_at is not None else one.severity.upper()
    return f"{mark}: {one_line(one.cause)}"


def details(message: Message, one: Told) -> list[tuple[str, str]]:
    """What there is to say on an alert, each with its name."""
    if one.resolved_at is not None:
        return [
            ("since", f"{moment(one.opened_at)}"),
            ("until", f"{moment(one.resolved_at)} ({lasted(one.resolved_at - one.opened_at)})"),
            ("alert", f"{one.key} (id {one.id})"),
        ]
    return [
        ("since", f"{moment(one.opened_at)} ({lasted(message.at - one.opened_at)})"),
        ("affected", f"{one_line(one.impact)}{affected(message, one)}"),
        ("Beat does", one_line(one.automatic)),
        ("recovery", over(message, one)),
        ("action", one_line(one.action)),
        ("alert", f"{one.key} (id {one.id}); mute it: `beat alerts silence {one.id} --reason …`"),
    ]


def affected(message: Message, one: Told) -> str:
    """How many requests are open of the alert's platform, or of all, and whose."""
    of = [each for each in message.affected if one.platform in (None, each.platform)]
    requests = sum(each.requests for each in of)
    if not requests:
        return "; no request waits" if one.platform is None else f"; no request of {one.platform} waits"
    more = "at least " if sum(each.requests for each in message.affected) >= message.counted > 0 else ""
    whose = f"{sum(each.tenants for each in of):,} accounts or keys"
    return f"; {more}{requests:,} open requests{'' if one.platform is None else f' of {one.platform}'} ({whose})"


def over(message: Message, one: Told) -> str:
    """When the cause is expected to be gone."""
    if one.over_at is None:
        return "not known; a message follows when it is"
    if one.over_at <= message.at:
        return f"expected since {moment(one.over_at)}"
    return f"expected at {moment(one.over_at)} (in {lasted(one.over_at - message.at)})"


def lasted(span: timedelta) -> str:
    seconds = max(0, round(span.total_seconds()))
    for unit, name in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * unit:
            return f"{seconds // unit} {name}"
    return f"{seconds} s"


def one_line(text: str) -> str:
    return " ".join(text.split())


def shortened(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _is_news(one: Told) -> bool:
    return one.told is None or _rank(one.severity) > _rank(one.told)


def _rank(severity: str) -> int:
    return SEVERITIES.index(severity)


def _by_severity(alerts: Sequence[Told]) -> str:
    counted = Counter(one.severity for one in alerts)
    found = [f"{counted[name]:,} {name}" for name in reversed(SEVERITIES) if counted[name]]
    return f" ({', '.join(found)})" if found else ""
