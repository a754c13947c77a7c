"""What is told cannot hurt a terminal or a script that reads it, and every failure has its exit code."""

from pathlib import Path
from types import SimpleNamespace

import aiohttp
import pytest
import redis

from beat_actors.cli import up
from beat_actors.cli.failures import exit_code, sentence
from beat_actors.cli.output import printable, reason_of, show_rows
from beat_actors.cli.rehearsal import choose_handles
from beat_actors.cli.report import Neighbour, Pictures, Report
from beat_actors.cli.view import print_report
from beat_actors.errors import BadInput, BadSettings, BeatError, NotFound, StorageUnavailable, UnknownFlow


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("plain", "plain"),
        (None, ""),
        (0, "0"),
        ("a\tb\nc", r"a\tb\nc"),
        ("\x1b[2J", r"\x1b[2J"),
        ("\x9b2J", r"\x9b2J"),
        ("a\u202eb\u2066c", r"a\u202eb\u2066c"),
        ("čeština", "čeština"),
    ],
)
def test_controls_are_shown_and_not_obeyed(given: object, shown: str) -> None:
    assert printable(given) == shown


def test_a_cell_cannot_break_a_plain_row(capsys: pytest.CaptureFixture[str]) -> None:
    show_rows(("a", "b"), [("x\ty", "[red]z[/]"), (None, 3)])
    assert capsys.readouterr().out == "x\\ty\t[red]z[/]\n\t3\n"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (BadInput("x"), 2),
        (UnknownFlow("x"), 4),
        (BadSettings("x"), 2),
        (StorageUnavailable("x"), 3),
        (redis.ConnectionError("x"), 3),
        (aiohttp.ClientConnectionError("x"), 3),
        (ConnectionRefusedError("x"), 3),
        (NotFound("x"), 4),
        (BeatError("x"), 1),
        (ZeroDivisionError("x"), 1),
    ],
)
def test_exit_codes(error: Exception, code: int) -> None:
    assert exit_code(error) == code
    assert sentence(error)
    assert "\n" not in sentence(error)


def test_a_reason_is_one_short_line() -> None:
    assert reason_of({}) == ""
    assert reason_of({"code": "missing", "message": "no\n such   user"}) == "missing: no such user"
    assert len(reason_of({"code": "missing", "message": "x" * 5000})) < 300


def report(**changes: object) -> Report:
    values: dict[str, object] = {
        "total": 500, "complete": 500, "failed": 0, "lost": 0, "sources": (), "fallbacks": 0, "events": {}, "still_out": (),
        "ledger": 900, "over_limit": 0, "traced": 900, "charged": 900, "unknown": 0, "neighbours": (), "profiles": 500,
        "seconds": 1.0, "pictures": Pictures(0, 0),
    }  # fmt: skip
    return Report(**(values | changes))  # type: ignore[arg-type]


def test_the_verdict_says_what_is_not_as_it_should_be() -> None:
    assert report().verdict() == "complete 500 of 500 · lost 0 · ledger equal"
    failed = report(complete=499, failed=1, charged=902, unknown=2)
    assert failed.verdict() == "complete 499 of 500 · lost 0 · failed 1 · ledger differs by 2 (2 with unknown outcome)"
    assert report().good
    assert not failed.good
    assert not report(complete=499, lost=1).good
    assert not report(ledger=899).good


def test_the_same_seed_chooses_the_same_profiles() -> None:
    assert choose_handles(3, 1000, None) == ["creator_000000", "creator_000001", "creator_000002"]
    assert choose_handles(50, 1000, 7) == choose_handles(50, 1000, 7) != choose_handles(50, 1000, 8)
    assert len(set(choose_handles(500, 1000, 7))) == 500


def test_s3_4_the_report_says_what_the_neighbours_felt(capsys: pytest.CaptureFixture[str]) -> None:
    print_report(report(neighbours=[Neighbour("youtube", 101.4, 99.6), Neighbour("shopify", 120.0, None)]))
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    told = lines.index("storm median latency of requests to other platforms, before and during it:")
    assert lines[told + 1 : told + 3] == ["youtube 101 ms, 100 ms", "shopify 120 ms, no answer"]


def test_the_report_says_how_many_pictures_are_stored(capsys: pytest.CaptureFixture[str]) -> None:
    print_report(report(pictures=Pictures(1_024, 3)))
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert "pictures 1,024 stored in the bucket, 3 wait for their turn" in lines


def test_a_stack_that_starts_says_that_its_data_is_simulated(capsys: pytest.CaptureFixture[str]) -> None:
    for real in (False, True):
        with up._starting(SimpleNamespace(real=real, home=SimpleNamespace(path=Path("home"), logs=Path("logs")))):  # type: ignore[arg-type]
            pass
        said = capsys.readouterr().out
        assert ("this is a rehearsal: " in said) == (not real)
        assert ("all data is simulated" in said) == (not real)
