"""Reports: the line that is printed, and the promises that a report calls broken."""

from dataclasses import replace

import pytest

from beat_actors.chaos.check import Findings
from beat_actors.chaos.report import Budget, Report

CLEAN = Findings(
    accepted=120, done=120, failed=0, cancelled=0, lost=0, dup=0, nonterminal=0, over_issued=0, unaccounted=0, unknown=3, extra_calls=0
)  # fmt: skip
REPORT = Report(
    fault="kill.retrieve", seed=7, findings=CLEAN, fired=6, zombie_rejected=2, api_bad=0, ttr_s=4.25, drain_s=6.5, run_s=12.0,
    api_p99_s=0.04, budget=Budget(ttr=10.0), extra={"point": "x"},
)  # fmt: skip


def test_a_line_is_key_value_and_ends_with_the_verdict() -> None:
    fields = dict(word.split("=") for word in REPORT.line().split())
    assert list(fields)[:4] == ["fault", "seed", "accepted", "done"]
    assert (fields["lost"], fields["dup"], fields["unknown"], fields["ttr_s"]) == ("0", "0", "3", "4.2")
    assert fields["point"] == "x"
    assert list(fields)[-1] == "verdict"
    assert fields["verdict"] == "ok"


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        (replace(REPORT, findings=replace(CLEAN, lost=1)), "lost=1"),
        (replace(REPORT, findings=replace(CLEAN, dup=2)), "dup=2"),
        (replace(REPORT, findings=replace(CLEAN, nonterminal=1)), "nonterminal=1"),
        (replace(REPORT, findings=replace(CLEAN, over_issued=1)), "over_issued=1"),
        (replace(REPORT, findings=replace(CLEAN, unaccounted=1)), "unaccounted=1"),
        (replace(REPORT, findings=replace(CLEAN, extra_calls=4)), "extra_calls=4, more than 3"),
        (replace(REPORT, findings=replace(CLEAN, extra_calls=6, late=2)), "extra_calls=6, more than 5"),
        (replace(REPORT, findings=replace(CLEAN, extra_calls=6, severed=2)), "extra_calls=6, more than 5"),
        (replace(REPORT, findings=replace(CLEAN, failed=1)), "failed=1, not 0"),
        (replace(REPORT, budget=Budget(ttr=10.0, failed=1)), "failed=0, not 1"),
        (replace(REPORT, api_bad=3, api_bad_statuses={500: 2, 0: 1}), "api_bad=3 (1 x 0, 2 x 500)"),
        (replace(REPORT, complaints=("a credential was blamed",)), "a credential was blamed"),
    ],
)
def test_a_broken_promise_is_named(broken: Report, said: str) -> None:
    assert broken.broken == [said]
    assert "verdict=BROKEN" in broken.line()


@pytest.mark.parametrize(
    ("late", "said"),
    [
        (replace(REPORT, ttr_s=10.5), "ttr_s=10.5, more than 10"),
        (replace(REPORT, budget=Budget(api=0.01)), "api_p99_s=0.0, more than 0.01"),
        (replace(REPORT, late=("a call took 8 s",)), "a call took 8 s"),
    ],
)
def test_a_budget_of_time_that_was_not_kept_is_named_and_breaks_no_promise(late: Report, said: str) -> None:
    assert (late.slow, late.broken) == ([said], [])
    assert "verdict=SLOW" in late.line()
    assert REPORT.slow == replace(late, skipped="no-library").slow == []


def test_a_skipped_run_says_why_and_breaks_nothing() -> None:
    skipped = replace(REPORT, skipped="no-library", findings=replace(CLEAN, lost=9))
    assert skipped.line() == "fault=kill.retrieve seed=7 skipped=no-library"
    assert skipped.broken == []
