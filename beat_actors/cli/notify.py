"""`beat notify`: where alerts are sent, and what became of the messages. Addresses and keys are secrets, and are never shown."""

import asyncio
import getpass
import sys
from typing import Annotated, Any

from cyclopts import App, Parameter

from beat_actors.cli.given import STDIN, expanded
from beat_actors.cli.ids import AnyNotifySink, NotifySinkName
from beat_actors.cli.operators import ask
from beat_actors.cli.operators.notify import There
from beat_actors.cli.output import FAILED, TABLE, Flag, Shape, printable, say, show_json, show_list, tell
from beat_actors.errors import BadInput, NotFound
from beat_actors.notify.kinds import PAGERDUTY, Definition, Route
from beat_actors.notify.sinks import TEST_SECONDS, NotificationSinkView, NotificationView

app = App(
    name="notify",
    help="Notifications of alerts: list, add, change, pause, resume, remove sinks; send a test; list messages.",
)
Several = Annotated[list[str] | None, Parameter(negative="")]
ALWAYS = "always"


@app.command(name="list")
def list_(*, shape: Shape = TABLE) -> None:
    """List the sinks: which alerts each gets, and whether it takes them."""
    show_list(
        ask(There, lambda beat: beat.sinks()),
        ("name", "kind", "target", "from", "platforms", "when", "state", "waiting", "last success", "last error"),
        lambda s: (
            s.name, s.kind, f"{s.target} {' '.join(s.recipients)}".strip(), s.severity, " ".join(s.platforms or ("all",)),
            _when(s), s.state if not s.failures else f"{s.state}, {s.failures} failures", s.pending, s.last_success_at,
            s.last_error,
        ),
        shape,
        prose=("last error",),
        empty="nobody is notified of alerts; add a sink: `beat notify add NAME KIND`",
    )  # fmt: skip


@app.command
def add(
    name: str,
    kind: str,
    /,
    *,
    address: str | None = None,
    key: str | None = None,
    to: Several = None,
    sender: str | None = None,
    severity: str = "warning",
    platform: Several = None,
    hours: str | None = None,
    days: str | None = None,
    timezone: str = "UTC",
    group_by: str | None = None,
    repeat: int | None = None,
    resolved: bool = True,
    json: Flag = False,
) -> None:
    """Add a sink of the kind email, slack, pagerduty, alertmanager or webhook. What is not named of its secrets is asked for, or
    read from standard input.

    Parameters
    ----------
    address
        Its URL; - reads it from standard input. Of email: smtps://USER:PASSWORD@HOST, or smtp:// for STARTTLS.
    key
        PagerDuty's integration key; the bearer token of an Alertmanager.
    to
        A recipient of e-mail; may be given several times.
    sender
        The sender of e-mail.
    severity
        These alerts and more severe ones: info, warning or critical.
    platform
        Only alerts of this platform; `beat`: those of no single platform. May be given several times.
    hours
        Only in these hours, such as 8-18 or 22-6. What is open when they begin is sent then.
    days
        Only on these days, such as mon-fri.
    timezone
        Of hours and days.
    group_by
        all: one message has all alerts that changed; rule: one for each rule and source.
    repeat
        Seconds after which open alerts are sent again; 0: never.
    resolved
        Also tell when an alert ends.
    """
    given = Definition(
        kind=kind,
        url=_secret(address, "address", wanted=kind != PAGERDUTY),
        key=_secret(key, "key", wanted=kind == PAGERDUTY),
        to=to or [],
        sender=sender,
    )
    route = Route(
        severity=severity,
        platforms=platform or None,
        hours=hours,
        days=days,
        timezone=timezone,
        group_by=group_by,
        repeat=repeat,
        resolved=resolved,
    )
    made = ask(There, lambda beat: beat.add(name, given, route))
    if json:
        show_json({"name": made.name, "kind": made.kind, "target": made.target, "secret": made.secret})
        return
    tell(printable(f"sink {made.name} ({made.kind}, {made.target}). Try it: `beat notify test {made.name}`"))
    if made.secret is not None:
        tell("This is the only time that the secret that signs its messages is shown:")
        sys.stdout.write(f"{made.secret}\n")


@app.command
def change(
    name: NotifySinkName,
    /,
    *,
    severity: str | None = None,
    platform: Several = None,
    hours: str | None = None,
    days: str | None = None,
    timezone: str | None = None,
    group_by: str | None = None,
    repeat: int | None = None,
    resolved: bool | None = None,
) -> None:
    """Change which alerts a sink gets, and when. What is not named stays.

    Parameters
    ----------
    platform
        As of `beat notify add`; all: of every platform.
    hours
        As of `beat notify add`; always: at any time.
    days
        As of `beat notify add`; always: on any day.
    """
    given: dict[str, Any] = {
        "severity": severity,
        "hours": hours,
        "days": days,
        "timezone": timezone,
        "group_by": group_by,
        "repeat": repeat,
        "resolved": resolved,
        "platforms": platform or None,
    }
    changes = {field: value for field, value in given.items() if value is not None}
    for field in ("hours", "days"):
        if changes.get(field) == ALWAYS:
            changes[field] = None
    if changes.get("platforms") == ["all"]:
        changes["platforms"] = None
    if not changes:
        raise BadInput("name at least one field to change; see: `beat notify change --help`")
    ask(There, lambda beat: beat.change(name, changes))
    say(printable(f"sink {name} is changed"))


@app.command
def pause(name: NotifySinkName, /) -> None:
    """Send nothing to a sink. Messages that wait for it are dropped."""
    ask(There, lambda beat: beat.pause(name, paused=True))
    say(printable(f"sink {name} is paused"))


@app.command
def resume(name: NotifySinkName, /) -> None:
    """Send to a sink again. What is open now is sent."""
    ask(There, lambda beat: beat.pause(name, paused=False))
    say(printable(f"sink {name} is active"))


@app.command
def remove(name: NotifySinkName, /, *, reason: str) -> None:
    """Remove a sink with its messages.

    Parameters
    ----------
    reason
        Kept in the audit log.
    """
    ask(There, lambda beat: beat.remove(name, reason=reason))
    say(printable(f"sink {name} is removed"))


@app.command(name="test")
def send_test(name: AnyNotifySink = None, /, *, json: Flag = False) -> int:
    """Send a test message to a sink, or to all that are active, and say whether it arrived. Exits with 1 if one did not."""

    async def work(beat: There) -> list[NotificationView]:
        names = [name] if name is not None else [one.name for one in await beat.sinks() if one.state == "active"]
        if not names:
            raise NotFound("there is no active sink; add one: `beat notify add NAME KIND`")
        made = [await beat.test(one) for one in names]
        return [await _ended(beat, number) for number in made]

    found = ask(There, work)
    if json:
        show_json({"tests": found})
    for one in found if not json else ():
        if one.state == "sent":
            seconds = 0.0 if one.ended_at is None else (one.ended_at - one.created_at).total_seconds()
            say(printable(f"{one.sink}: arrived after {seconds:.1f} s"))
        elif one.attempt == 0:
            say(printable(f"{one.sink}: not sent: no deliverer took it; start one: python -m scheduler.deliverer"))
        else:
            say(printable(f"{one.sink}: failed: {one.error or 'no answer'}"))
    return 0 if all(one.state == "sent" for one in found) else FAILED


@app.command(name="log")
def log_(name: AnyNotifySink = None, /, *, state: str | None = None, limit: int = 50, shape: Shape = TABLE) -> None:
    """List messages, newest first.

    Parameters
    ----------
    state
        pending, sent, failed or dropped (there was nothing to say any more).
    """
    show_list(
        ask(There, lambda beat: beat.messages(name, state, limit)),
        ("id", "sink", "group", "state", "made", "ended", "attempts", "open", "resolved", "error"),
        lambda m: (
            m.id, m.sink, "test" if m.test else m.group_key or "all", m.state, m.created_at, m.ended_at, m.attempt, m.firing,
            m.resolved, m.error,
        ),
        shape,
        prose=("error",),
        empty="no message was made",
    )  # fmt: skip


async def _ended(beat: There, number: int) -> NotificationView:
    """The message, when its fate is known or the time for it is over."""
    for _ in range(TEST_SECONDS + 1):
        found = await beat.message(number)
        if found.state != "pending":
            break
        await asyncio.sleep(1.0)
    return found


def _secret(given: str | None, what: str, *, wanted: bool) -> str | None:
    """A secret that was named, or that is read from standard input: for `-`, and where it is wanted and was not named. A person is asked for it."""
    if given is None and not wanted:
        return None
    if given is None and sys.stdin.isatty():
        return getpass.getpass(f"{what}: ") or None
    lines = expanded([STDIN if given is None else given])
    if given is None and not lines:
        return None
    if len(lines) != 1:
        raise BadInput(f"standard input must have one line: the {what}", field=what)
    return lines[0]


def _when(sink: NotificationSinkView) -> str:
    said = " ".join(part for part in (sink.days, sink.hours) if part)
    return f"{said} {sink.timezone}" if said else ALWAYS
