"""`beat queues`: the queues in Redis and their messages."""

import asyncio
import sys

from cyclopts import App
from rich.console import Group, RenderableType
from rich.live import Live
from rich.text import Text

from actors.queues import MessageView, QueueOverview, QueueView
from beat_actors.cli.names import QueueName
from beat_actors.cli.operators import ask
from beat_actors.cli.operators.queues import There
from beat_actors.cli.output import TABLE, Flag, Shape, out, say, show_json, show_list, show_rows, table
from beat_actors.moments import moment

EVERY = 1.0
HEAD = ("queue", "waiting", "in flight", "delayed", "dead", "oldest s", "done/s", "actors")
app = App(
    name="queues",
    help="Show queues live: depth, in-flight messages per worker, dead letters; show, requeue, drop, purge.",
)


@app.default
def look(*, once: Flag = False, shape: Shape = TABLE) -> None:
    """Show every queue, refreshed until Ctrl-C; once where the output is piped.

    Parameters
    ----------
    once
        Show them once, also on a terminal.
    """
    if once or shape != TABLE or not sys.stdout.isatty():
        found = ask(There, lambda beat: beat.look())
        show_list(found.queues, HEAD, _row, shape, prose=("actors",), spare=("done/s", "delayed", "actors"))
    else:
        ask(There, _watch)


@app.command(name="list")
def list_messages(queue: QueueName, /, *, limit: int = 20, shape: Shape = TABLE) -> None:
    """List messages of a queue: in flight, longest waiting, newest dead letters; at most LIMIT of each."""
    show_list(
        ask(There, lambda beat: beat.messages(queue, limit)),
        ("id", "state", "actor", "target", "bytes", "where or why"),
        _line,
        shape,
        prose=("where or why",),
        empty=f"the queue {queue} is empty",
    )


@app.command
def show(message_id: str, /, *, json: Flag = False) -> None:
    """Show one message and its content."""
    found = ask(There, lambda beat: beat.message(message_id))
    if json:
        show_json(found)
        return
    fields = {name: getattr(found, name) for name in found.__struct_fields__}
    show_rows(
        ("", ""),
        [(name, value if name.endswith("_at") else str(value)) for name, value in fields.items() if value is not None],
    )


@app.command
def requeue(message_id: str, /, *, reason: str) -> None:
    """Requeue a message: one that is dead or delayed, or that a worker holds."""
    found = ask(There, lambda beat: beat.requeue(message_id, reason=reason))
    say(f"{found.id} waits in {found.queue} again; it was {found.state}")


@app.command(name="requeue-dead")
def requeue_dead(queue: QueueName, /, *, reason: str, actor: str | None = None, rate: float = 10.0) -> None:
    """Requeue the dead letters of a queue at a rate, the oldest first; the scheduler does it. Letters that die meanwhile stay.

    Parameters
    ----------
    actor
        Only those of this one; `beat queues` shows whose they are.
    rate
        Messages a second.
    """
    found = ask(There, lambda beat: beat.requeue_dead(queue, actor, rate, reason=reason))
    of = f" of {actor}" if actor else ""
    say(f"the dead letters{of} in {queue}, which has {found.dead:,}, are requeued, {rate:g} a second")


@app.command
def drop(message_id: str, /, *, reason: str) -> None:
    """Delete a message. Its work is not lost: the scheduler finds it in the rows and sends it again."""
    found = ask(There, lambda beat: beat.drop(message_id, reason=reason))
    say(f"{found.id} is gone from {found.queue}; it was {found.state}")


@app.command
def purge(queue: QueueName, /, *, reason: str, state: str = "dead") -> None:
    """Delete all messages of a queue in one state. Messages in flight stay.

    Parameters
    ----------
    state
        waiting, delayed or dead.
    """
    count = ask(There, lambda beat: beat.purge(queue, state, reason=reason))
    say(f"{count:,} {state} messages are gone from {queue}")


async def _watch(beat: There) -> None:
    with Live(console=out, screen=False, auto_refresh=False) as live:
        while True:
            live.update(_picture(await beat.look()), refresh=True)
            await asyncio.sleep(EVERY)


def _picture(found: QueueOverview) -> RenderableType:
    workers = [(worker.worker, worker.holds, f"{worker.seen:.0f} s ago") for worker in found.workers]
    return Group(
        table(HEAD, [_row(queue) for queue in found.queues]),
        Text(),
        table(("worker", "holds", "seen"), workers) if workers else Text("no worker fetches messages", style="yellow"),
        Text(f"{moment(found.at)}   Ctrl-C ends", style="dim"),
    )


def _row(queue: QueueView) -> tuple[object, ...]:
    dead = Text(f"{queue.dead:,}", style="bold red") if queue.dead and sys.stdout.isatty() else queue.dead
    oldest = "" if queue.oldest is None else f"{queue.oldest:,.1f}"
    actors = ", ".join(f"{actor} {count}" for actor, count in sorted(queue.actors.items()))
    if queue.dead_actors:
        dead_of = ", ".join(f"{actor} {count}" for actor, count in sorted(queue.dead_actors.items()))
        actors = f"{actors}{'; ' if actors else ''}dead: {dead_of}"
    return (
        queue.queue,
        queue.waiting,
        sum(queue.in_flight.values()),
        queue.delayed,
        dead,
        oldest,
        f"{queue.per_second:,.1f}",
        actors,
    )


def _line(message: MessageView) -> tuple[object, ...]:
    where = message.unusable or message.worker or (f"died {moment(message.died_at)}" if message.died_at else "")
    return (message.id, message.state, message.actor or "", _of(message.args), message.bytes, where)


def _of(args: list[object] | None) -> str:
    """What a message is about, in few characters."""
    if not args:
        return ""
    first = args[0]
    if isinstance(first, list):
        return f"{first[0]} and {len(first) - 1} more" if len(first) > 1 else str(first[0])
    return str(first)
