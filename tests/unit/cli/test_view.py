"""The live view of `beat up`: what happened last is always on the screen, and no frame is higher than the terminal."""

import io
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console

from beat_actors.cli import output, up, view
from beat_actors.cli.report import Calls, Progress, State
from beat_actors.local.first_key import FILE
from beat_actors.local.service import Status

SOURCES = ("graphapi", "arraybobo", "lama", "jotucker", "tikwm", "ytapi", "shopify", "bestsolutions", "api23")
SERVICES = ("postgres", "valkey", "simulator", "s3", "workers", "uploads", "scheduler", "deliverer", "publisher", "api")
LAST = "  9.2 s  graphapi goes down, jotucker begins to answer 429"
NEWS = (
    "  3.9 s  19 credentials cool down",
    "  4.2 s  all Instagram credentials are rate-limited (429) and cool down; requests wait, and more arrive",
    "  7.2 s  the storm is over, the credentials are reset",
    "  8.1 s  500 requests for a profile and its posts go to the API",
    LAST,
)


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    return terminal(monkeypatch, 80, 24)


def terminal(monkeypatch: pytest.MonkeyPatch, width: int, height: int) -> io.StringIO:
    written = io.StringIO()
    console = Console(file=written, width=width, height=height, highlight=False)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    for module in (output, view, up):
        monkeypatch.setattr(module, "out", console)
    return written


def services(restarting: str = "") -> list[Status]:
    return [
        Status(name, "starting" if name == restarting else "up", 1, int(name == restarting), None, None, Path("log"))
        for name in SERVICES
    ]


def progress(news: tuple[str, ...] = NEWS) -> Progress:
    state = State(5, 3, "graphapi profile_by_handle, jotucker posts_by_id", 1, 289, 15)
    queues = dict.fromkeys(("credential_broker", "express", "retrieve", "ingest", "process", "credentials"), 0)
    sources = [Calls(name, 100, 50, 3, 2, 1, 100.0) for name in SOURCES]
    return Progress(692, {"COMPLETE": 388, "PENDING": 304}, sources, state, {**queues, "retrieve": 7}, [*news], 17.0)


@pytest.mark.parametrize("height", [16, 18, 20, 22, 24, 30, 50])
def test_a_frame_fits_the_terminal_and_has_what_happened_last(monkeypatch: pytest.MonkeyPatch, height: int) -> None:
    written = terminal(monkeypatch, 80, height)
    output.out.print(view.picture(progress(), services("workers")))
    lines = written.getvalue().splitlines()
    assert len(lines) < height
    assert all(len(line) <= 80 for line in lines)
    told = [line.strip("│").rstrip() for line in lines]
    assert f" {LAST}" in told
    assert any("9 up  workers starting (1 restarts)" in line for line in told)
    assert any("7 retrieve" in line and "express" not in line for line in told)
    # What is shown of the news is whole: none begins with the second line of one.
    first = next(line for line in told[told.index(next(one for one in told if "services" in one)) + 1 :] if line)
    assert " s  " in first


def test_all_sources_are_shown_on_80_by_24(screen: io.StringIO) -> None:
    output.out.print(view.picture(progress(), services()))
    assert all(name in screen.getvalue() for name in SOURCES)
    assert "10 up" in screen.getvalue()


@pytest.mark.parametrize("real", [False, True])
def test_each_command_of_the_closing_tip_can_be_copied(screen: io.StringIO, real: bool) -> None:
    home = SimpleNamespace(path=Path("/srv/some/where/beat/.beat"))
    up._invite(SimpleNamespace(api_url="http://127.0.0.1:8000", home=home, real=real))  # type: ignore[arg-type]
    lines = screen.getvalue().splitlines()
    assert all(len(line) <= 80 for line in lines)
    for command, what in up.REAL_TIPS if real else up.TIPS:
        assert any(line.endswith(command) or f"{command} " in line for line in lines)
        assert what in " ".join(screen.getvalue().split())
    whole = screen.getvalue().replace(" \\\n   ", "")
    assert (
        f'curl -H "authorization: Bearer $(cat {home.path / FILE})" http://127.0.0.1:8000/v1/scrape-requests' in whole
    )
