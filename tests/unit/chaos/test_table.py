"""The table over many runs, and how it takes in the rows of one that stands."""

from dataclasses import replace

from beat_actors.chaos.table import matrix_table
from tests.unit.chaos.test_report import CLEAN, REPORT

FAULTS = ("kill.retrieve", "redis.down", "storm")


def test_the_table_shows_the_worst_of_each_fault_and_what_so_many_clean_requests_prove() -> None:
    other = replace(REPORT, fault="redis.down", ttr_s=None)
    table = matrix_table([REPORT, replace(REPORT, seed=8, ttr_s=5.5, drain_s=9.0), other], faults=FAULTS)
    assert "| `kill.retrieve` | 2 | 0 | 240 | 0 | 0 | 0 | 0 | 0 | 4 | 5.5 | 9.0 |" in table
    assert "| `redis.down` | 1 | 0 | 120 | 0 | 0 | 0 | 0 | 0 | 2 | - | 6.5 |" in table
    assert "3 runs, 360 requests accepted, 0 lost, doubled or unfinished" in table
    assert "0.8333%" in table
    assert "broke a promise" not in table


def test_what_must_not_be_is_added_up_and_said() -> None:
    lost = replace(REPORT, findings=replace(CLEAN, lost=2))
    slow = replace(REPORT, seed=8, complaints=("the healthy platform waits",))
    table = matrix_table([lost, slow, replace(lost, seed=9)], faults=FAULTS)
    assert "| `kill.retrieve` | 3 | 3 | 360 | 4 | 0 |" in table
    assert "4 lost, doubled or unfinished. 3 runs broke a promise." in table
    assert "rule of three" not in table


def test_rows_of_faults_that_were_not_run_stay_in_the_order_of_the_faults() -> None:
    storm = replace(REPORT, fault="storm")
    before = matrix_table([storm, REPORT, replace(REPORT, fault="of.old")], faults=("of.old", *FAULTS))
    table = matrix_table(
        [replace(REPORT, fault="redis.down"), replace(REPORT, seed=1), replace(REPORT, seed=2)],
        faults=FAULTS,
        before=before,
    )
    rows = [line.split(" | ")[:2] for line in table.splitlines() if line.startswith("| `")]
    assert rows == [["| `kill.retrieve`", "2"], ["| `redis.down`", "1"], ["| `storm`", "1"]]
    assert "4 runs, 480 requests accepted" in table


def test_a_fault_that_was_skipped_has_a_row_and_counts_nowhere() -> None:
    table = matrix_table([REPORT, replace(REPORT, fault="storm", skipped="no-library")], faults=FAULTS)
    assert "| `storm` | skipped: no-library |" in table
    assert "1 runs, 120 requests accepted" in table
    assert matrix_table([REPORT], faults=FAULTS, before=table) == table
