"""On a terminal nothing that somebody copies is broken or cut, whatever the width."""

import io
import sys
from datetime import UTC, datetime

import pytest
from rich.console import Console

from beat_actors.cli import output
from beat_actors.cli.output import hanging, say, show_fields, show_rows, tell

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
    assert wide in screen.getvalue()
    say(f"it is {wide} and nothing else")
    assert f"\n{wide}\n" in screen.getvalue()


def test_a_sentence_is_broken_between_words_and_a_document_not_at_all(screen: io.StringIO) -> None:
    said = f"  {FLOW} {FLOW}: {WORDS}"
    say(said)
    lines = screen.getvalue().splitlines()
    assert len(lines) > 1
    assert lines[0].startswith(f"  {FLOW}")
    assert all(len(line) <= 80 for line in lines)
    assert " ".join(lines).split() == said.split()
    document = '{"message":"' + WORDS + '"}'
    say(f"verdict  refused {document}", whole=True)
    assert screen.getvalue().endswith(f"verdict  refused {document}\n")


def test_times_have_one_form_with_their_zone(screen: io.StringIO) -> None:
    show_rows(("at",), [(datetime(2026, 11, 28, 12, 51, 53, 999, tzinfo=UTC),)])
    assert "2026-11-28T12:51:53Z" in screen.getvalue()


def test_counts_have_separators_and_ids_have_none(screen: io.StringIO) -> None:
    show_rows(("id", "calls"), [(17926, 17926)])
    assert "17926" in screen.getvalue()
    assert "17,926" in screen.getvalue()


def test_a_narrow_screen_leaves_out_spare_columns_before_it_leaves_the_table(screen: io.StringIO) -> None:
    columns, row = ("flow", "limit", "workers", "concurrency", "state"), (FLOW, 400, 20, 20, "paused")
    show_rows(columns, [row] * 3, spare=("workers", "concurrency"))
    told = screen.getvalue().splitlines()
    assert told[0].split() == ["flow", "limit", "concurrency", "state"]
    assert [line.split() for line in told[1:]] == [[FLOW, "400", "20", "paused"]] * 3
    assert all(len(line) <= 80 for line in told)


def test_one_thing_is_shown_with_all_of_its_fields(screen: io.StringIO) -> None:
    show_fields([("id", "7"), ("flow", FLOW), ("owner", None), ("why", WORDS)])
    told = screen.getvalue().splitlines()
    assert told[:2] == ["id    7", f"flow  {FLOW}"]
    assert not any(line.startswith("owner") for line in told)
    assert all(len(line) <= 80 for line in told)


def test_json_is_broken_between_its_members(screen: io.StringIO) -> None:
    text = '{"message":"(#4)","type":"OAuthException","code":4,"is_transient":true,"fbtrace_id":"A426simulated","more":[1,2]}'
    show_fields([("cause", f"code 403, detail {text}")])
    told = [line.strip() for line in screen.getvalue().splitlines()]
    assert all(len(line) <= 80 for line in told)
    assert '"fbtrace_id":"A426simulated",' in " ".join(told)
    assert "".join(told).replace("cause", "").replace(" ", "") == f"code403,detail{text}"


COMMAND = "`beat quarantine show 17 --payload`"
LONG = "`beat quarantine replay malformed --source bestsolutions --operation profile_by_handle --reason …`"


@pytest.mark.parametrize("words", range(24))
def test_a_command_is_never_broken_without_a_backslash(screen: io.StringIO, words: int) -> None:
    before = " ".join(["word"] * words)
    show_fields([("what to do", f"{before} {COMMAND} shows it; then {LONG} and look")])
    say(f"{before} {COMMAND} shows it; then {LONG} and look")
    show_rows(("id", "what to do"), [(1, f"{before} {COMMAND} shows it")] * 2, prose=("what to do",))
    told = screen.getvalue()
    assert all(len(line) <= 80 for line in told.splitlines())
    assert told.count(COMMAND) == 4
    assert " ".join(told.replace("\\\n", " ").split()).count(LONG) == 2


def test_an_error_keeps_its_command_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.StringIO()
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(output, "err", Console(file=written, width=80, height=24, highlight=False))
    tell(f"nothing was done, as nobody said of which of all the many entries: {COMMAND}")
    assert written.getvalue().splitlines()[1] == COMMAND
    assert written.getvalue().startswith("beat: nothing was done")


@pytest.mark.parametrize("name", ["complete        ", "  4.2 s  ", "", "    "])
def test_a_line_goes_on_below_what_stands_behind_its_name(name: str) -> None:
    first, *rest = hanging(f"{name}{WORDS}", 60)
    assert first.startswith(f"{name}the provider")
    margin = len(name) if name.strip() else 0
    assert rest
    assert all(line[:margin].isspace() and not line[margin].isspace() if margin else line[0] != " " for line in rest)
    assert all(len(line) <= 60 for line in (first, *rest))


def test_words_for_which_a_row_has_no_room_stand_below_it(screen: io.StringIO) -> None:
    rows = [("2026-11-28T12:51:53Z", "key:1", "credential.reset", f"credential/{n}", WORDS) for n in (1, 2)]
    show_rows(("at", "who", "action", "target", "detail"), rows, prose=("detail",))
    head, *told = screen.getvalue().splitlines()
    assert head.split() == ["at", "who", "action", "target"]
    assert told[0].split() == list(rows[0][:4])
    assert len(told) == 2 * 3
    assert all(len(line) <= 80 for line in told)
    assert " ".join(told[1:3]).split() == WORDS.split()
