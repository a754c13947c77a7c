"""`beat top`: the whole installation, live."""

import asyncio
import contextlib
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass

from rich.console import Group
from rich.live import Live
from rich.text import Text

from beat_actors.cli.operators import ask
from beat_actors.cli.operators.watching import There
from beat_actors.cli.output import Flag, out, show_json
from beat_actors.cli.screen import VIEWS, frame, screen
from beat_actors.errors import BadInput
from beat_actors.observe.picture import Picture

LEAST, MOST = 0.5, 3600.0
PIPED = 200
"""Cells of a line in a pipe."""
UP, DOWN = ("k", "\x1b[A"), ("j", "\x1b[B")


def top(*, every: float = 2.0, once: Flag = False, json: Flag = False) -> None:
    """Watch the whole: rates, sources, credentials, waiting work, sinks, processes, alerts. Refreshed until `q`; once where the output is piped.

    Keys: s sources, c credentials, w waiting work, p processes, a alerts, h home, j and k scroll, q quit.

    Parameters
    ----------
    every
        Seconds between two looks. Each look is one statement.
    once
        Show it once, also on a terminal.
    json
        Once, as one JSON document.
    """
    if not LEAST <= every <= MOST:
        raise BadInput(f"--every is {LEAST:g} to {MOST:,.0f} seconds", field="every")
    if json:
        show_json(ask(There, lambda beat: beat.overview()))
    elif once or not (sys.stdout.isatty() and sys.stdin.isatty()):
        picture = ask(There, lambda beat: beat.overview())
        width = out.width if sys.stdout.isatty() else PIPED
        for line in frame(picture, width):
            out.print(line) if sys.stdout.isatty() else print(line.plain)
    else:
        with _keys() as pressed:
            ask(There, lambda beat: _watch(beat, every, pressed))


@dataclass(slots=True)
class _State:
    """What is on the screen."""

    picture: Picture
    view: str = "home"
    first: int = 0
    trouble: str | None = None

    def press(self, key: str) -> bool:
        """What a key changes; whether to go on."""
        if key in ("q", "\x03", "\x04"):
            return False
        if key in VIEWS:
            self.view, self.first = VIEWS[key], 0
        elif key in DOWN:
            self.first += 1
        elif key in UP:
            self.first = max(self.first - 1, 0)
        return True


async def _watch(beat: There, every: float, pressed: "asyncio.Queue[str]") -> None:
    loop = asyncio.get_running_loop()
    loop.add_reader(
        sys.stdin.fileno(), lambda: pressed.put_nowait(os.read(sys.stdin.fileno(), 64).decode(errors="replace"))
    )
    state = _State(await beat.overview())
    try:
        with Live(console=out, screen=True, auto_refresh=False) as live:
            look = asyncio.create_task(_look(beat, state, every))
            try:
                while True:
                    live.update(Group(*_lines(state)), refresh=True)
                    key = asyncio.create_task(pressed.get())
                    await asyncio.wait({key, look}, return_when=asyncio.FIRST_COMPLETED)
                    if look.done():
                        look = asyncio.create_task(_look(beat, state, every))
                    if key.done() and not state.press(key.result()):
                        return
                    key.cancel()
            finally:
                look.cancel()
    finally:
        loop.remove_reader(sys.stdin.fileno())


def _lines(state: _State) -> list[Text]:
    return list(screen(state.picture, state.view, out.width, out.height, first=state.first, trouble=state.trouble))


async def _look(beat: There, state: _State, every: float) -> None:
    """The next picture. Where Beat cannot be asked, the last one stays, and says so."""
    await asyncio.sleep(every)
    try:
        state.picture, state.trouble = await beat.overview(), None
    except Exception as error:  # noqa: BLE001 - the screen says what it was, and the next look may succeed
        from beat_actors.cli import failures

        state.trouble = failures.sentence(error)


@contextlib.contextmanager
def _keys() -> Iterator["asyncio.Queue[str]"]:
    """Keys as they are pressed, without Enter. The terminal is as before afterwards."""
    import termios
    import tty

    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)
    try:
        tty.setcbreak(descriptor)
        yield asyncio.Queue()
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
