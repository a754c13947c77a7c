"""What each trouble of a sink means, what Beat does about it, and what an operator can do: the words of alerts and of `beat events status`."""

from collections.abc import Mapping
from typing import NamedTuple

from beat_actors.events.sink import Trouble


class Remedy(NamedTuple):
    """Of a trouble: `cause`, what is wrong with a sink, after its name; `automatic`, what Beat does; `action`, one safe action."""

    cause: str
    automatic: str
    action: str


AGAIN = "Beat tries again within 2 s, and sends everything in order when it succeeds"
SHOWS = "`beat events status` shows when it catches up"

REMEDIES: Mapping[Trouble, Remedy] = {
    Trouble.UNREACHABLE: Remedy(
        "cannot be reached",
        AGAIN,
        f"start its server, or correct its URL in BEAT_EVENT_SINKS and restart the publishers; {SHOWS}",
    ),
    Trouble.AUTH: Remedy(
        "refuses the login, or what the login may do",
        "Beat tries again every 30 s, so that no account is locked",
        f"correct the login in its URL in BEAT_EVENT_SINKS, or its permissions on the server, and restart the publishers; {SHOWS}",
    ),
    Trouble.BLOCKED: Remedy(
        "takes no messages, because its server has raised an alarm",
        "Beat sends nothing until the server ends the alarm, and then everything in order",
        f"free memory or disk of its server, or consume what lies in its queues; {SHOWS}",
    ),
    Trouble.NO_CONFIRM: Remedy(
        "does not confirm events, though its connection is alive",
        "Beat connects again and sends once more what was not confirmed, with the same ids",
        f"check its server: a queue without a leader, a disk that hangs, a cluster without a majority; {SHOWS}",
    ),
    Trouble.NACKED: Remedy(
        "refuses to store events: a queue is full or has no leader",
        "Beat sends them again after pauses; nothing is lost",
        f"consume or enlarge the queue that is full; {SHOWS}",
    ),
    Trouble.UNROUTABLE: Remedy(
        "has no queue for events, so they would be lost there",
        "Beat keeps them and sends them again after pauses",
        f"bind a queue for these types on the server, or narrow the sink's types in BEAT_EVENT_SINKS; {SHOWS}",
    ),
    Trouble.FULL: Remedy(
        "has no memory or disk left",
        AGAIN,
        f"free memory or disk of its server, or shorten what it keeps; {SHOWS}",
    ),
    Trouble.LOST: Remedy(
        "has lost events that it had confirmed",
        "Beat goes on with the next event, and sends again what the log still has behind the last event that the server has",
        "find out what was deleted on its server; `beat events replay --sink NAME --from TIME --reason …` sends a time once more",
    ),
    Trouble.INVALID: Remedy(
        "refuses an event for good, such as one that is too large",
        "Beat parks the event and sends all others",
        "`beat events parked` shows it and why; then `beat events retry NAME` or `beat events drop NAME --seq N --reason …`",
    ),
}
UNKNOWN = Remedy(
    "takes nothing for a reason that this release does not know", AGAIN, "check its server, and restart the publishers"
)


def remedy(trouble: str) -> Remedy:
    """Of the trouble that a row of a sink names; the previous or the next release may know others."""
    return REMEDIES[Trouble(trouble)] if trouble in tuple(Trouble) else UNKNOWN


def why(state: str, trouble: str | None, reason: str | None) -> str:
    """Why a sink gets no events, in words; empty where it gets them."""
    if state == "no_publisher":
        return "no publisher process runs: python -m actors.publish"
    if state == "not_configured":
        return "publishers run, and none has it in BEAT_EVENT_SINKS"
    if state != "standing" or trouble is None:
        return ""
    said = f"it {remedy(trouble).cause}"
    return f"{said}: {reason}" if reason else said
