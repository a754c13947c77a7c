"""docs/scenarios.md follows the table of scenarios and the names of the tests, and what does not agree is named."""

from pathlib import Path

import pytest

from tests.scenarios import main, scenarios

TABLE = """\
[S1]
title = "The provider is down"
required = true
[S1.rows]
1 = "An outage is an outage."
2 = "An alert opens."
[S1.later]
2 = "the metric is not built"

[S5]
title = "The bus is down"
required = false
[S5.rows]
1 = "Events wait."
"""
HELD = "async def test_s1_1_and_s1_2_an_outage_raises_an_alert(): ...\n"


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    (tmp_path / "tests/unit").mkdir(parents=True)
    (tmp_path / "docs").mkdir()
    (tmp_path / "tests/scenarios.toml").write_text(TABLE)
    (tmp_path / "tests/unit/test_outage.py").write_text(HELD)
    assert main(tmp_path, check=False) == 0
    return tmp_path


def test_the_page_gives_each_row_its_tests_and_says_what_is_not_built(
    repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = (repository / "docs/scenarios.md").read_text()
    link = "[test_s1_1_and_s1_2_an_outage_raises_an_alert](../tests/unit/test_outage.py)"
    assert f"| S1.1 | An outage is an outage. | {link} |" in page
    assert f"| S1.2 | An alert opens. | {link}<br>Not complete: the metric is not built |" in page
    assert "| S5.1 | Events wait. | not built yet |" in page
    capsys.readouterr()
    assert main(repository, check=True) == 0
    told = capsys.readouterr().out
    assert "S1.2 is not complete: the metric is not built" in told
    assert "not built yet: S5.1" in told


def test_a_test_inside_a_class_is_found(repository: Path) -> None:
    (repository / "tests/unit/test_bus.py").write_text("class TestBus:\n    def test_s5_1_events_wait(self): ...\n")
    assert main(repository, check=False) == 0
    assert "| S5.1 | Events wait. | [test_s5_1_events_wait]" in (repository / "docs/scenarios.md").read_text()


@pytest.mark.parametrize(
    ("test", "said"),
    [
        ("def test_s1_1_an_outage(): ...\n", "S1.2 has no test: An alert opens."),
        (HELD + "def test_s1_3_something(): ...\n", "test_s1_3_something names S1.3, which is no row"),
        (HELD + "def test_s5_1_events_wait(): ...\n", "docs/scenarios.md is out of date"),
    ],
)
def test_what_does_not_agree_is_named(
    repository: Path, capsys: pytest.CaptureFixture[str], test: str, said: str
) -> None:
    (repository / "tests/unit/test_outage.py").write_text(test)
    assert main(repository, check=True) == 1
    assert said in capsys.readouterr().err


def test_a_note_about_no_row_is_refused() -> None:
    with pytest.raises(ValueError, match=r"S5\.later names no row: 7"):
        scenarios(f'{TABLE}\n[S5.later]\n7 = "nothing"\n')
