"""What every command starts from: the settings in force, an engine, and how results and errors are told."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from rich.console import Console
from rich.table import Table

from actors.mailbox import Mailbox
from beat_actors.engine import Engine
from beat_actors.errors import BadInput, BadSettings, BeatError, NotFound, StorageUnavailable
from beat_actors.local import running_env
from beat_actors.settings import Settings, load

T = TypeVar("T")
out = Console(soft_wrap=True)
err = Console(stderr=True, soft_wrap=True)

FAILED, BAD_INPUT, UNAVAILABLE, NOT_FOUND, TIMED_OUT = 1, 2, 3, 4, 5
EXIT: dict[type[BaseException], int] = {
    BadInput: BAD_INPUT,
    BadSettings: BAD_INPUT,
    StorageUnavailable: UNAVAILABLE,
    NotFound: NOT_FOUND,
    BeatError: FAILED,
}


@dataclass(frozen=True, slots=True)
class Session:
    """An engine and a mailbox, for the length of one command."""

    engine: Engine
    mailbox: Mailbox


def settings_in_force(root: Path = Path(".beat")) -> Settings:
    """From BEAT_* variables; where there are none, from the stack that `beat up` runs in this folder. Raises `BadSettings`."""
    if "BEAT_DATABASE_URL" not in os.environ:
        env = running_env(root)
        if env is None:
            raise BadSettings(
                "Beat is not running in this folder and BEAT_DATABASE_URL is not set. Start the local stack with `beat up` "
                "(or `make run`), or set the BEAT_* variables of the one that you mean; `beat settings` lists them."
            )
        os.environ.update(env)
    return load()


@asynccontextmanager
async def session() -> AsyncIterator[Session]:
    settings = settings_in_force()
    engine, mailbox = Engine.start(settings, name="cli"), Mailbox(settings)
    try:
        yield Session(engine, mailbox)
    finally:
        await engine.close()
        mailbox.close()


def run(work: Callable[[Session], Awaitable[T]]) -> T:
    """Run a command's work inside a session."""

    async def inside() -> T:
        async with session() as opened:
            return await work(opened)

    return asyncio.run(inside())


def exit_code(error: BaseException) -> int:
    return next(EXIT[kind] for kind in type(error).__mro__ if kind in EXIT)


def tell(error: BeatError) -> None:
    """One clear sentence on standard error."""
    err.print(
        f"[bold red]beat:[/] {error}" if sys.stderr.isatty() else f"beat: {error}",
        highlight=False,
        markup=sys.stderr.isatty(),
    )


def show_json(value: Any) -> None:
    """For scripts: one JSON document on standard output."""
    sys.stdout.write(json.dumps(msgspec.to_builtins(value), indent=2, ensure_ascii=False) + "\n")


def show_rows(columns: Sequence[str], rows: Sequence[Sequence[Any]], *, empty: str) -> None:
    """A table on a terminal; tab-separated lines when piped."""
    if not sys.stdout.isatty():
        for row in rows:
            sys.stdout.write("\t".join("" if cell is None else str(cell) for cell in row) + "\n")
        return
    if not rows:
        out.print(f"[dim]{empty}[/]")
        return
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*("" if cell is None else str(cell) for cell in row))
    out.print(table)
