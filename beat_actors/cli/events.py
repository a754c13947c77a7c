"""`beat events`: what is published to which sink and what stands, the log, and what operators do about both."""

import asyncio
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated

from cyclopts import App, Parameter

from beat_actors.cli.operators import ask
from beat_actors.cli.operators.events import Filter, There
from beat_actors.cli.output import TABLE, Flag, Shape, printable, say, show_json, show_list, show_rows, since, tell
from beat_actors.errors import BadInput
from beat_actors.events import troubles
from beat_actors.events.parked import MOST_RETRIED, Parked
from beat_actors.events.reading import PAGE, EventPage, EventView
from beat_actors.events.replays import NewReplay, ReplayView
from beat_actors.events.sink import Trouble
from beat_actors.events.status import MOST_COUNTED, EventStatus, Pace, SinkView, pace
from beat_actors.moments import moment

app = App(
    name="events", help="Events: the state of each sink, the log, replays, parked events; forget a sink, backfill."
)
MEASURED = 1.0
"""Seconds between the two looks that tell how fast a sink catches up."""
BEHIND = 100
"""Places from which on a sink is asked how fast it catches up."""
POLL = 1.0
Several = Annotated[list[str] | None, Parameter(negative="")]
Places = Annotated[list[int] | None, Parameter(negative="")]


@app.command
def status(*, json: Flag = False) -> None:
    """Show the log and every sink: what it is doing and why, how far it is behind, and until when at the present rate."""

    async def work(beat: There) -> tuple[EventStatus, dict[str, Pace | None]]:
        found = await beat.status()
        if all(one.lag_events < BEHIND for one in found.sinks):
            return found, {}
        await asyncio.sleep(MEASURED)
        again = await beat.status()
        return again, {one.name: pace(found, again, one.name) for one in again.sinks}

    found, paces = ask(There, work)
    if json:
        measured = [{"name": name, "pace": one} for name, one in paces.items() if one is not None]
        show_json({"log": found.log, "sinks": found.sinks, "paces": measured})
        return
    log = found.log
    waiting = f"{_bounded(log.pending)} events have no place yet" if log.pending else "none is pending"
    oldest = f", the oldest for {since(log.pending_seconds)}" if log.pending_seconds is not None else ""
    runs = {0: "no publisher runs", 1: "one publisher runs"}.get(log.publishers, f"{log.publishers} publishers run")
    say(f"the log has {log.last:,} places; {waiting}{oldest}; {runs}")
    show_rows(
        ("sink", "state", "for", "lag", "oldest", "caught up in", "sent", "returned", "nacked", "parked", "replays", "publisher", "why"),
        [_sink(one, paces.get(one.name), log.at) for one in found.sinks],
        prose=("why",),
        empty="no sink was ever configured; docs/events.md explains BEAT_EVENT_SINKS",
    )  # fmt: skip


def _sink(sink: SinkView, measured: Pace | None, now: datetime) -> Sequence[object]:
    eta = "" if measured is None else "never" if measured.eta_seconds is None else since(measured.eta_seconds)
    standing = since((now - sink.since).total_seconds()) if sink.since is not None else ""
    return (
        sink.name, sink.state.replace("_", " "), standing, sink.lag_events, since(sink.lag_seconds) if sink.lag_events else "", eta, sink.sent,
        sink.returned, sink.nacked, _bounded(sink.parked), sink.replays, sink.holder or "", troubles.why(sink.state, sink.trouble, sink.reason),
    )  # fmt: skip


def _bounded(count: int) -> str:
    return f"{count:,}" if count < MOST_COUNTED else f"{count:,} or more"


@app.command
def tail(
    *,
    type: str | None = None,
    subject: str | None = None,
    since: datetime | None = None,
    follow: Flag = False,
    limit: int = 50,
) -> None:
    """Print events of the log as JSON, one a line: the last ones, or all since a time.

    Parameters
    ----------
    type
        A type such as beat.alert.opened, or the beginning of types such as beat.alert.*.
    subject
        Such as scrape_request/17.
    since
        From this time (UTC) on, without a limit.
    follow
        Go on with events as they come, until interrupted.
    limit
        How many of the last ones.
    """
    wanted = Filter(None, _utc(since), type, subject)

    async def work(beat: There) -> None:
        page = await beat.page(wanted)
        _print(page.events if wanted.since is not None else page.events[-limit:])
        while follow or (wanted.since is not None and page.next < page.last):
            if page.next >= page.last:
                await asyncio.sleep(POLL)
            # An event gets its place after it has happened, so a page behind the first may have earlier ones.
            page = await _next(beat, wanted, page)
            _print(page.events)

    if wanted.since is None and (type or subject):
        tell(f"among the last {PAGE:,} events; --since TIME looks further back")
    ask(There, work)


async def _next(beat: There, wanted: Filter, page: EventPage) -> EventPage:
    return await beat.page(wanted._replace(after=page.next))


def _print(events: Sequence[EventView]) -> None:
    show_list(events, (), lambda _event: (), Shape(json_lines=True))
    # Into a pipe too, an event is written when it is there.
    sys.stdout.flush()


@app.command
def replay(
    *,
    sink: str,
    from_: Annotated[str, Parameter(name="--from")],
    to: str | None = None,
    type: Several = None,
    subject: str | None = None,
    rate: int = 1000,
    reason: str,
) -> None:
    """Send events to a sink once more, with their ids, marked as a replay. New events are sent beside them.

    Parameters
    ----------
    from_
        A place of the log, or a time (UTC). Of a time a few events around it are sent as well.
    to
        A place or a time; the present end of the log if not given.
    type
        A type, or the beginning of types such as beat.alert.*; may be given several times; all if not given.
    rate
        Events a second, at most 50,000.
    """
    begin, end = _place_or_time(from_, "--from"), _place_or_time(to, "--to")
    new = NewReplay(sink=sink, types=type or [], subject=subject, rate=rate)
    new.from_seq, new.from_time = (begin, None) if isinstance(begin, int) else (None, begin)
    new.to_seq, new.to_time = (end, None) if isinstance(end, int) else (None, end)
    made = ask(There, lambda beat: beat.replay(new, reason=reason))
    say(_asked(made))


def _asked(made: ReplayView) -> str:
    count = made.to_seq - made.from_seq + 1
    return (
        f"replay {made.id} sends the events at {count:,} places ({made.from_seq:,} to {made.to_seq:,}) to {made.sink}, {made.rate:,} a second: "
        f"within {since(made.eta_seconds)}"
    )


@app.command
def replays(*, cancel: int | None = None, reason: str = "", limit: int = 50, shape: Shape = TABLE) -> None:
    """List replays and backfills, newest first, with how far each has got; or cancel one.

    Parameters
    ----------
    cancel
        The id of the replay that is cancelled; needs --reason.
    """
    if cancel is not None:
        if not reason.strip():
            raise BadInput("say why the replay is cancelled: --reason", field="reason")
        ended = ask(There, lambda beat: beat.cancel(cancel, reason=reason))
        say(f"replay {ended.id} is cancelled; {ended.sent:,} events were sent")
        return
    show_list(
        ask(There, lambda beat: beat.replays(limit)),
        ("id", "sink", "kind", "from", "to", "events", "at", "sent", "rate", "ends in", "ended", "reason", "error"),
        lambda r: (
            r.id, r.sink, "backfill" if r.backfill else "replay", r.from_seq, r.to_seq, " ".join([*r.types, *([r.subject] if r.subject else [])]),
            r.position, r.sent, r.rate, since(r.eta_seconds), r.ended_at, r.reason, r.error,
        ),
        shape,
        prose=("reason", "error"),
        empty="there is no replay",
    )  # fmt: skip


@app.command
def parked(sink: str | None = None, /, *, limit: int = 100, shape: Shape = TABLE) -> None:
    """List events that a sink did not take while it took others, and what waits behind them.

    Parameters
    ----------
    limit
        How many, at most 1,000.
    """
    show_list(
        ask(There, lambda beat: beat.parked(sink, limit)),
        ("sink", "seq", "type", "subject", "trouble", "tries", "parked", "next try", "reason"),
        lambda p: (
            p.sink, str(p.seq), p.type or "past its retention", p.subject, "behind another" if p.behind else p.trouble.replace("_", " "), p.tries,
            p.parked_at, p.next_at, p.reason,
        ),
        shape,
        prose=("reason",),
        empty="no event is parked",
    )  # fmt: skip


@app.command
def retry(
    sink: str,
    /,
    *,
    seq: Places = None,
    subject: str | None = None,
    trouble: str | None = None,
    reason: str | None = None,
) -> None:
    """Send parked events again now, the first 10,000 of the log at most. Those that wait behind an earlier one of their subject follow it.

    Parameters
    ----------
    seq
        Only the event at this place; may be given several times.
    subject
        Only events of this subject.
    trouble
        Only events with this trouble, such as unroutable or nacked.
    """
    if trouble is not None and trouble not in tuple(Trouble):
        raise BadInput(f"--trouble is one of {', '.join(Trouble)}", field="trouble")
    wanted = Parked(sink=sink, seqs=seq or [], subject=subject, trouble=trouble)
    count = ask(There, lambda beat: beat.retry(wanted, reason=reason))
    say(f"Queued {count:,} parked {'event' if count == 1 else 'events'} for retry")
    if count >= MOST_RETRIED:
        tell(f"one call takes the first {count:,}; there may be more: give the command again when these are sent")
    if not count:
        tell("`beat events parked` shows what is parked, and what waits behind an earlier event of its subject")


@app.command
def drop(sink: str, /, *, seq: Places = None, reason: str) -> None:
    """Give up parked events: they are never sent to this sink, and the next ones of their subjects are tried.

    Parameters
    ----------
    seq
        The place of the event, as `beat events parked` shows it; may be given several times, 1,000 at most.
    """
    count = ask(There, lambda beat: beat.drop(sink, seq or [], reason=reason))
    say(f"{count:,} parked event{' is' if count == 1 else 's are'} dropped")


@app.command
def forget(sink: str, /, *, reason: str) -> None:
    """Forget a sink that is configured no more: its place in the log, its parked events and its replays."""
    gone = ask(There, lambda beat: beat.forget(sink, reason=reason))
    say(printable(f"{sink} is forgotten; it had reached place {gone.seq:,} and got {gone.sent:,} events"))


@app.command
def backfill(
    *,
    sink: str,
    from_: Annotated[datetime, Parameter(name="--from")],
    to: datetime,
    rate: int = 1000,
    reason: str,
) -> None:
    """Send a sink the events of a time whose log is gone: ends of requests and changes of data, with the ids that they have had. It takes minutes.

    Parameters
    ----------
    from_
        The time (UTC) of the first event.
    to
        The time before which the last event happened.
    rate
        Events a second, at most 50,000.
    """
    from beat_actors.cli.session import run, who
    from beat_actors.events.backfill import backfill as write

    begin, end = (at if at.tzinfo else at.replace(tzinfo=UTC) for at in (from_, to))
    made = run(lambda session: write(session.database, sink, begin, end, rate=rate, actor=who(), reason=reason))
    earlier = f" and {made.earlier:,} that were written before" if made.earlier else ""
    if made.replay is None:
        say("no event of this time is missing in the log")
    else:
        say(f"{made.written:,} events were written{earlier}; {_asked(made.replay)}")
    if made.present:
        tell(
            f"{made.present:,} events of this time are in the log as they were published; `beat events replay --sink NAME --from TIME --reason …` sends those"
        )


def _utc(at: datetime | None) -> datetime | None:
    return at if at is None or at.tzinfo else at.replace(tzinfo=UTC)


def _place_or_time(text: str | None, option: str) -> int | datetime | None:
    """A place of the log, or a time, in UTC where it names no zone. Raises `BadInput`."""
    if text is None:
        return None
    if text.isascii() and text.isdigit() and len(text) < 19:
        return max(int(text), 1)
    try:
        return _utc(datetime.fromisoformat(text))
    except ValueError:
        raise BadInput(
            f"{option} is a place of the log such as 4711, or a time such as {moment(datetime(2030, 1, 31, 12, tzinfo=UTC))}"
        ) from None
