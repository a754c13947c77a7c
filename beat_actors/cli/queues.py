"""`beat queues`: what lies in Redis, live, and the hands to mend it."""

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Annotated, TypeVar

from cyclopts import App, Parameter
from rich.console import Group, RenderableType
from rich.live import Live
from rich.text import Text

from actors.queues import MessageView, QueueOverview, Queues, QueueView
from beat_actors.cli.output import out, say, show_json, show_rows, table
from beat_actors.cli.session import quiet_logs, settings_in_force, who
from beat_actors.database import Database

T = TypeVar("T")
EVERY = 1.0
HEAD = ("queue", "waiting", "in flight", "delayed", "dead", "oldest s", "done/s", "of")
app = App(
    name="queues", help="What lies in Redis, live: depth, who holds what, dead letters; show, requeue, drop, purge."
)

Json = Annotated[bool, Parameter(negative="")]


@dataclass(frozen=True, slots=True)
class Bench:
    queues: Queues
    database: Database


@app.default
def look(*, once: Annotated[bool, Parameter(negative="")] = False, json: Json = False) -> None:
    """Show every queue, and go on showing until Ctrl-C; once where the output is piped.

    Parameters
    ----------
    once
        Show it once, also on a terminal.
    """
    if json:
        show_json(_run(lambda bench: bench.queues.look()))
    elif once or not sys.stdout.isatty():
        found = _run(lambda bench: bench.queues.look())
        show_rows(HEAD, [_row(queue) for queue in found.queues])
    else:
        _run(_watch)


@app.command(name="list")
def list_messages(queue: str, /, *, limit: int = 20, json: Json = False) -> None:
    """List messages of a queue: what workers hold, what waits the longest, what died last; at most LIMIT of each."""
    found = _run(lambda bench: bench.queues.messages(queue, limit))
    if json:
        show_json(found)
        return
    show_rows(
        ("id", "state", "actor", "of", "bytes", "where or why"),
        [_line(message) for message in found],
        empty="it is empty",
    )


@app.command
def show(message_id: str, /, *, json: Json = False) -> None:
    """Show one message and what is in it."""
    found = _run(lambda bench: bench.queues.message(message_id))
    if json:
        show_json(found)
        return
    fields = {name: getattr(found, name) for name in found.__struct_fields__}
    show_rows(("", ""), [(name, str(value)) for name, value in fields.items() if value is not None])


@app.command
def requeue(message_id: str, /, *, reason: str) -> None:
    """Let a message be worked on (again): one that is dead or delayed, or that a worker holds."""
    found = _run(lambda bench: bench.queues.requeue(bench.database, message_id, actor=who(), reason=reason))
    say(f"{found.id} waits in {found.queue} again; it was {found.state}")


@app.command(name="requeue-dead")
def requeue_dead(queue: str, /, *, reason: str, actor: str | None = None, rate: float = 10.0) -> None:
    """Let the dead letters of a queue be worked on again, at a pace, the oldest first; the scheduler does it. What dies meanwhile stays.

    Parameters
    ----------
    actor
        Only those of this one; `beat queues` shows whose they are.
    rate
        Messages a second.
    """
    found = _run(
        lambda bench: bench.queues.requeue_dead(bench.database, queue, of=actor, rate=rate, actor=who(), reason=reason)
    )
    of = f" of {actor}" if actor else ""
    say(f"the dead letters{of} in {queue}, which has {found.dead:,}, are requeued, {rate:g} a second")


@app.command
def drop(message_id: str, /, *, reason: str) -> None:
    """Take a message away. Its work is not lost: the scheduler finds it in the rows and sends it again."""
    found = _run(lambda bench: bench.queues.drop(bench.database, message_id, actor=who(), reason=reason))
    say(f"{found.id} is gone from {found.queue}; it was {found.state}")


@app.command
def purge(queue: str, /, *, reason: str, state: str = "dead") -> None:
    """Take away all messages of a queue that are of one state. What workers hold stays theirs.

    Parameters
    ----------
    state
        waiting, delayed or dead.
    """
    count = _run(lambda bench: bench.queues.purge(bench.database, queue, state, actor=who(), reason=reason))
    say(f"{count:,} {state} messages are gone from {queue}")


async def _watch(bench: Bench) -> None:
    with Live(console=out, screen=False, auto_refresh=False) as live:
        while True:
            live.update(_picture(await bench.queues.look()), refresh=True)
            await asyncio.sleep(EVERY)


def _picture(found: QueueOverview) -> RenderableType:
    workers = [(worker.worker, worker.holds, f"{worker.seen:.0f} s ago") for worker in found.workers]
    return Group(
        table(HEAD, [_row(queue) for queue in found.queues]),
        Text(),
        table(("worker", "holds", "seen"), workers) if workers else Text("no worker fetches messages", style="yellow"),
        Text(f"{found.at:%H:%M:%S} UTC   Ctrl-C ends", style="dim"),
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
    where = (
        message.unusable or message.worker or (f"died {message.died_at:%Y-%m-%d %H:%M:%S}" if message.died_at else "")
    )
    return (message.id, message.state, message.actor or "", _of(message.args), message.bytes, where)


def _of(args: list[object] | None) -> str:
    """What a message is about, in few characters."""
    if not args:
        return ""
    first = args[0]
    if isinstance(first, list):
        return f"{first[0]} and {len(first) - 1} more" if len(first) > 1 else str(first[0])
    return str(first)


def _run(work: Callable[[Bench], Awaitable[T]]) -> T:
    async def inside() -> T:
        async with _bench() as bench:
            return await work(bench)

    return asyncio.run(inside())


@asynccontextmanager
async def _bench() -> AsyncIterator[Bench]:
    settings = settings_in_force()
    quiet_logs()
    bench = Bench(Queues(settings), Database(settings, name="cli"))
    try:
        yield bench
    finally:
        bench.queues.close()
        await bench.database.close()
