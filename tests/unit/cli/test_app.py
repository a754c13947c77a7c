"""The command line as it is before any stack exists: help, version, bad usage, the page of settings."""

import inspect
import json
import os
import re
from pathlib import Path

import pytest

from beat_actors.cli.app import COMMANDS, LOCAL, OF_NO_STACK, invoke
from beat_actors.cli.app import app as cli
from beat_actors.cli.output import BAD_INPUT
from beat_actors.settings import Settings
from beat_actors.simulator.faults import FaultKind

ALLOWED_NEGATIVES = {"--no-examples", "--no-rehearsal", "--no-shared", "--no-limits", "--no-resolved"}
"""Options that a person would want to switch off."""
DOCS = Path(__file__).parents[3] / "docs"


@pytest.fixture(autouse=True)
def _nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in Settings.model_fields:
        monkeypatch.delenv(f"BEAT_{name.upper()}", raising=False)
    monkeypatch.delenv("BEAT_ROOT", raising=False)
    monkeypatch.delenv("BEAT_DEBUG", raising=False)
    monkeypatch.delenv("BEAT_API_URL", raising=False)


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["--help"]) == 0
    said = capsys.readouterr().out
    assert all(name in said for name, _, _ in COMMANDS)


@pytest.mark.parametrize("name", [name for name, _, _ in COMMANDS])
def test_every_command_has_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke([name, "--help"]) == 0
    assert name in capsys.readouterr().out


def test_the_help_names_every_kind_of_fault(capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["simulator", "fault", "--help"]) == 0
    said = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert [kind for kind in (*FaultKind, "malformed") if kind not in said] == []


def test_the_help_of_one_command_does_not_repeat_what_all_have_in_common(capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["--help"]) == 0
    assert "Exit codes" in capsys.readouterr().out
    assert invoke(["alerts", "--help"]) == 0
    assert "Exit codes" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("typed", "meant"), [("alert", "`beat alerts`"), ("status", "`beat brief`"), ("nosuch", "`beat --help`")]
)
def test_a_command_that_does_not_exist_is_refused_with_the_nearest_one(
    typed: str, meant: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert invoke([typed, "--json"]) == BAD_INPUT
    said = capsys.readouterr().err
    assert f'there is no command "{typed}"' in said
    assert meant in said


@pytest.mark.parametrize("name", [name for name, _, _ in COMMANDS])
def test_no_option_is_an_artefact_of_the_parser(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    app = cli[name]
    for line in [[name], *([name, command] for command in app if not command.startswith("-"))]:
        assert invoke([*line, "--help"]) == 0
        said = capsys.readouterr().out
        assert "--empty-" not in said
        assert set(re.findall(r"--no-[a-z-]+", said)) <= ALLOWED_NEGATIVES


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["--version"]) == 0
    assert capsys.readouterr().out.strip().count(".") == 2


@pytest.mark.parametrize(
    "line",
    [
        ["nonsense"],
        ["scrape"],
        ["scrape", "instagram"],
        ["scrape", "instagram", "x", "--posts", "many"],
        ["scrape", "instagram", "x", "--priority", "urgent"],
        ["why", "x"],
        ["requests", "--status", "odd"],
        ["credentials", "enable", "1"],
        ["up", "--profiles", "0"],
        ["requests"],
    ],
)
def test_bad_usage_is_one_sentence_and_code_2(line: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    said_once(line, 2, capsys)


@pytest.mark.parametrize(
    "line",
    [
        ["scrape", "nowhere", "x"],
        ["scrape", "instagram", "x", "--flow", "nothing"],
        ["credentials", "add", "nobody"],
        ["simulator", "fault", "earthquake", "lama"],
        ["chaos", "--only", "nothing"],
    ],
)
def test_a_name_that_nothing_has_is_code_4(line: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    said_once(line, 4, capsys)


def said_once(line: list[str], code: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(line) == code
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith("beat: ")
    assert told.err.count("\n") == 1
    assert "Traceback" not in told.err


def test_without_a_stack_it_says_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["requests"]) == 2
    said = capsys.readouterr().err
    assert "beat up" in said
    assert "BEAT_DATABASE_URL" in said


def test_doctor_without_a_stack_says_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["doctor", "--json"]) == 1
    (finding,) = json.loads(capsys.readouterr().out)
    assert finding["check"] == "settings"
    assert not finding["ok"]
    assert "beat up" in finding["fix"]


def test_debug_shows_the_error_itself() -> None:
    with pytest.raises(Exception, match="BEAT_DATABASE_URL"):
        invoke(["requests", "--debug"])


def test_the_page_of_settings_is_up_to_date(capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["settings", "--markdown"]) == 0
    assert capsys.readouterr().out == (DOCS / "settings.md").read_text(), "beat settings --markdown > docs/settings.md"


def test_settings_show_defaults_that_are_empty_or_zero(capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["settings"]) == 0
    shown = dict(line.split("\t")[:2] for line in capsys.readouterr().out.splitlines())
    assert shown["BEAT_DATABASE_MAX_OVERFLOW"] == "0"
    assert shown["BEAT_WEBHOOK_ALLOW_PRIVATE"] == "False"
    assert shown["BEAT_LIMITS"] == "{}"
    assert shown["BEAT_DATABASE_URL"] == "required"


def test_settings_as_json_names_every_variable(capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["settings", "--json"]) == 0
    found = {entry["variable"]: entry for entry in json.loads(capsys.readouterr().out)}
    assert set(found) == {f"BEAT_{name.upper()}" for name in Settings.model_fields}
    assert found["BEAT_STAGE_BATCH"]["default"] == 50


HERE_ALONE = sorted(LOCAL)
ELSEWHERE = "http://elsewhere.invalid"


@pytest.mark.parametrize("names", HERE_ALONE)
@pytest.mark.parametrize("how", [["--url", ELSEWHERE], [f"--url={ELSEWHERE}"]])
@pytest.mark.parametrize("first", [True, False])
def test_what_cannot_be_done_elsewhere_is_not_done_here_instead(
    names: tuple[str, ...], how: list[str], first: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    line = [*how, *names, "ingest"] if first else [*names, "ingest", *how]
    assert invoke(line) == 2
    told = capsys.readouterr()
    assert (told.out, told.err.count("\n")) == ("", 1)
    assert "nothing was done" in told.err
    assert "BEAT_API_URL" not in os.environ


@pytest.mark.parametrize("names", [names for names in HERE_ALONE if names[0] not in OF_NO_STACK])
def test_nor_where_the_environment_names_the_api(
    names: tuple[str, ...], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BEAT_API_URL", ELSEWHERE)
    assert invoke([*names, "list"]) == 2
    assert f"env -u BEAT_API_URL beat {' '.join(names)}" in capsys.readouterr().err
    assert invoke([*names, "--help"]) == 0


@pytest.mark.parametrize("line", [["alerts"], ["keys", "list"], ["queues", "list", "ingest"], ["db"], ["doctor"]])
def test_over_an_api_a_key_is_needed(
    line: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("BEAT_API_KEY", raising=False)
    monkeypatch.setenv("BEAT_API_URL", ELSEWHERE)
    assert invoke(line) == 2
    assert "BEAT_API_KEY is not set" in capsys.readouterr().err


@pytest.mark.parametrize("line", [["requests", "--url"], ["requests", "--url="], ["queues", "list", "--url"]])
def test_a_url_that_names_nothing_is_bad_input(line: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(line) == 2
    assert "--url names the API" in capsys.readouterr().err


def test_settings_are_printed_whichever_api_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BEAT_API_URL", ELSEWHERE)
    assert invoke(["settings"]) == 0


@pytest.mark.parametrize("line", ["--posts 2 a b c", "a --posts 2 b c", "a b c --posts 2", "a b --posts=2 c"])
def test_options_may_stand_before_between_and_after_the_handles(line: str) -> None:
    _, bound, _ = cli.parse_args(["scrape", "instagram", *line.split()], exit_on_error=False, print_error=False)
    assert bound.args == ("instagram", "a", "b", "c")
    assert bound.kwargs == {"posts": 2}


def test_no_command_has_a_list_that_ends_at_the_first_option() -> None:
    """A list of words before `/` gets only those that stand together; `*words` gets all."""
    for name, *_ in COMMANDS:
        for command in (cli[name], *(cli[name][sub] for sub in cli[name] if not sub.startswith("-"))):
            target = command.default_command
            for parameter in inspect.signature(target).parameters.values() if target else ():
                is_list = "list[" in inspect.formatannotation(parameter.annotation)
                assert not (is_list and parameter.kind is parameter.POSITIONAL_ONLY), (name, parameter)
