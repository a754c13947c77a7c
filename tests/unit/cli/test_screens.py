"""On a terminal nothing that somebody copies is broken or cut, whatever the width."""

import io
import sys
from datetime import UTC, datetime

import pytest
from rich.console import Console

from beat_actors.cli import output
from beat_actors.cli.output import show_rows

FLOW = "refresh_profile_insta_daily_pace_of_all_accounts"
WORDS = "the provider said that it is asked too often, and the first credential is retried at noon with one probe call"


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    written = io.StringIO()
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(output, "out", Console(file=written, width=80, height=24, highlight=False))
    return written


@pytest.mark.parametrize("columns", [("id", "flow", "why"), ("id", "flow", "where", "source", "operation", "why")])
def test_an_identifier_is_never_broken(screen: io.StringIO, columns: tuple[str, ...]) -> None:
    cells = (1_234_567, FLOW, "vm:137/75", "bestsolutions", "profile_by_handle")[: len(columns) - 1]
    show_rows(columns, [(*cells, WORDS)] * 2, prose=("why",))
    told = screen.getvalue()
    assert all(len(line) <= 80 for line in told.splitlines())
    assert told.count("1234567") == told.count(FLOW) == 2
    for cell in cells[2:]:
        assert told.count(str(cell)) == 2
    assert all(word in told.split() for word in WORDS.split())


def test_an_identifier_that_is_wider_than_the_screen_stays_whole(screen: io.StringIO) -> None:
    wide = "x" * 120
    show_rows(("id", "key"), [(1, wide)])
    assert wide in screen.getvalue().replace("\n", "")


def test_times_have_one_form_with_their_zone(screen: io.StringIO) -> None:
    show_rows(("at",), [(datetime(2026, 11, 28, 12, 51, 53, 999, tzinfo=UTC),)])
    assert "2026-11-28T12:51:53Z" in screen.getvalue()


def test_counts_have_separators_and_ids_have_none(screen: io.StringIO) -> None:
    show_rows(("id", "calls"), [(17926, 17926)])
    assert "17926" in screen.getvalue()
    assert "17,926" in screen.getvalue()
