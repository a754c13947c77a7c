"""Names from the command line, from a file and from standard input."""

import io
from pathlib import Path

import pytest

from beat_actors.cli.given import MOST, STDIN, expanded, number, with_stdin
from beat_actors.errors import BadInput


def test_names_come_from_a_file_and_from_standard_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "names").write_text("one\n\n  two \n# not this\n")
    monkeypatch.setattr("sys.stdin", io.StringIO("three\nfour\n"))
    assert expanded(["zero", f"@{tmp_path / 'names'}", STDIN]) == ["zero", "one", "two", "three", "four"]


def test_a_handle_with_its_sign_is_no_file() -> None:
    assert expanded(["@somebody"]) == ["@somebody"]


@pytest.mark.parametrize(
    ("argument", "becomes"),
    [("-", STDIN), ("--key=-", f"--key={STDIN}"), ("--key=--", "--key=--"), ("--key=a=-", "--key=a=-"), ("a=-", "a=-")],
)
def test_a_dash_means_standard_input_also_behind_an_option(argument: str, becomes: str) -> None:
    assert with_stdin(argument) == becomes


def test_too_many_names_are_refused(tmp_path: Path) -> None:
    (tmp_path / "names").write_text("x\n" * (MOST + 1))
    with pytest.raises(BadInput, match="at most"):
        expanded([f"@{tmp_path / 'names'}"])


@pytest.mark.parametrize(("text", "found"), [("17926", 17926), ("17,926", 17926)])
def test_a_number_is_taken_as_it_was_shown(text: str, found: int) -> None:
    assert number(text, "request") == found


@pytest.mark.parametrize("text", ["x", "", "-1", "1.5", "٣", "9" * 30])
def test_what_is_no_number_is_refused(text: str) -> None:
    with pytest.raises(BadInput, match="a request has a number"):
        number(text, "request")
