"""`beat events` over the test's own database: the log, the sinks, replays and parked events."""

import json
import os
import signal
import subprocess
import sys
import threading

import psycopg
import pytest

from beat_actors.cli import events
from tests.integration.cli.conftest import Beat
from tests.integration.events.rows import EVENTS, PARK, PLACES, PROCESS, SINK, UNHELD


@pytest.fixture
def rows(database_url: str) -> psycopg.Connection:
    return psycopg.connect(database_url, autocommit=True)


@pytest.fixture
def filled(rows: psycopg.Connection) -> psycopg.Connection:
    """Ten events, and a sink that has the first four of them."""
    rows.execute(EVENTS, (10,))
    rows.execute(PLACES)
    rows.execute(SINK, ("bus", 4))
    return rows


def test_the_state_of_each_sink_says_what_stands_and_why(beat: Beat, filled: psycopg.Connection) -> None:
    def state() -> tuple[str, str]:
        _, row = beat("events", "status").rows
        return row[1], row[-1]

    head, row = beat("events", "status").rows
    assert head == ["the log has 10 places; none is pending; no publisher runs"]
    assert (row[:4], row[6:11], row[-2]) == (["bus", "publishing", "", "6"], ["0", "0", "0", "0", "0"], "a:1")
    filled.execute("UPDATE event_sink SET trouble = 'unroutable', reason = 'no queue is bound', since = now()")
    assert state() == ("standing", "it has no queue for events, so they would be lost there: no queue is bound")
    filled.execute(UNHELD)
    assert state() == ("no publisher", "no publisher process runs: python -m actors.publish")
    filled.execute(PROCESS)
    assert state() == ("not configured", "publishers run, and none has it in BEAT_EVENT_SINKS")
    filled.execute(EVENTS, (3,))
    said = beat("events", "status", "--json").json
    assert (said["log"]["pending"], said["log"]["publishers"]) == (3, 1)
    assert said["sinks"][0]["lag_events"] == 6
    assert said["sinks"][0]["lag_seconds"] > 0


def test_a_sink_that_catches_up_says_until_when(beat: Beat, filled: psycopg.Connection) -> None:
    filled.execute("UPDATE event_sequence SET seq = 1000")
    assert beat("events", "status").rows[1][5] == "never"


def test_events_of_the_log_are_printed_one_a_line(beat: Beat, filled: psycopg.Connection) -> None:
    def printed(*arguments: str) -> list[int]:
        said = beat("events", "tail", *arguments)
        assert said.code == 0
        return [json.loads(line)["version"] for line in said.out.splitlines()]

    assert printed("--limit", "3") == [8, 9, 10]
    assert printed("--type", "beat.alert.*") == [5, 10]
    assert printed("--subject", "scrape_request/1", "--limit", "2") == [7, 10]
    assert printed("--since", "2020-01-01") == list(range(1, 11))
    assert printed("--since", "2100-01-01") == []
    refused = beat("events", "tail", "--type", "beat.nothing")
    assert (refused.code, "beat.alert.opened" in refused.err) == (4, True)


def test_events_are_followed_into_a_pipe_until_interrupted(beat: Beat, filled: psycopg.Connection) -> None:
    command = [
        sys.executable,
        "-c",
        # A shell that runs the tests in the background has SIGINT ignored.
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); from beat_actors.cli import main; main()",
        "events",
        "tail",
        "--follow",
        "--limit",
        "1",
    ]
    # `beat` has set the environment. A pipe is buffered unless somebody flushes it.
    env = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True) as following:
        assert following.stdout is not None
        watchdog = threading.Timer(60, following.kill)
        watchdog.start()
        try:
            assert json.loads(following.stdout.readline())["seq"] == 10
            filled.execute(EVENTS, (2,))
            filled.execute(PLACES)
            assert [json.loads(following.stdout.readline())["seq"] for _ in range(2)] == [11, 12]
            following.send_signal(signal.SIGINT)
            assert (following.stdout.read(), following.wait()) == ("", 130)
        finally:
            watchdog.cancel()
            following.kill()


def test_s5_10_events_are_replayed_by_place_time_type_and_subject(beat: Beat, filled: psycopg.Connection) -> None:
    made = beat("events", "replay", "--sink", "bus", "--from", "3", "--to", "7", "--reason", "lost")
    assert made.out == "replay 1 sends the events at 5 places (3 to 7) to bus, 1,000 a second: within 0 s\n"
    assert (
        beat(
            "events",
            "replay",
            "--sink",
            "bus",
            "--from",
            "2020-01-01T00:00:00Z",
            "--type",
            "beat.alert.*",
            "--reason",
            "x",
        ).code
        == 0
    )
    assert (
        beat(
            "events",
            "replay",
            "--sink",
            "bus",
            "--from",
            "1",
            "--subject",
            "scrape_request/1",
            "--rate",
            "2",
            "--reason",
            "x",
        ).code
        == 0
    )
    third, second, first = beat("events", "replays", "--json").json
    assert (first["from_seq"], first["to_seq"], first["position"], first["types"]) == (3, 7, 2, ["*"])
    assert (second["from_seq"], second["to_seq"], second["types"]) == (1, 10, ["beat.alert.*"])
    assert (third["subject"], third["rate"], third["eta_seconds"]) == ("scrape_request/1", 2, 5)
    assert (
        beat("events", "replays", "--cancel", "3", "--reason", "enough").out
        == "replay 3 is cancelled; 0 events were sent\n"
    )
    assert beat("events", "replays", "--json").json[0]["error"] == "cancelled by an operator"
    audited = beat("audit", "sink/bus", "--json").json
    assert [one["action"] for one in audited] == ["event.replay_cancel", *["event.replay"] * 3]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("--sink", "bsu", "--from", "1"), 4, "there is: bus"),
        (("--sink", "bus", "--from", "yesterday"), 2, "a place of the log"),
        (("--sink", "bus", "--from", "11"), 2, "the places 1 to 10"),
        (("--sink", "bus", "--from", "7", "--to", "3"), 2, "no events between"),
        (("--sink", "bus", "--from", "1", "--type", "beat.nothing"), 4, "beat.alert.opened"),
        (("--sink", "bus", "--from", "1", "--rate", "0"), 2, "rate"),
    ],
)
def test_a_replay_that_cannot_be_is_refused(
    beat: Beat, filled: psycopg.Connection, arguments: tuple[str, ...], code: int, said: str
) -> None:
    refused = beat("events", "replay", *arguments, "--reason", "x")
    assert (refused.code, said in refused.err) == (code, True), refused.err


def test_parked_events_are_listed_sent_again_and_dropped(
    beat: Beat, filled: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    for seq, trouble, behind in (
        (1, "nacked", False),
        (2, "unroutable", False),
        (4, "invalid", True),
        (7, "invalid", True),
    ):
        filled.execute(PARK, ("bus", trouble, behind, seq))
    listed = beat("events", "parked", "bus").rows
    assert [(row[1], row[4]) for row in listed] == [
        ("1", "nacked"), ("2", "unroutable"), ("4", "behind another"), ("7", "behind another"),
    ]  # fmt: skip
    assert beat("events", "retry", "bus", "--trouble", "nacked").out == "Queued 1 parked event for retry\n"
    assert beat("events", "retry", "bus", "--seq", "4").out == "Queued 0 parked events for retry\n"
    assert beat("events", "retry", "bus", "--trouble", "nothing").code == 2
    monkeypatch.setattr(events, "MOST_RETRIED", 1)
    assert "there may be more" in beat("events", "retry", "bus", "--trouble", "nacked").err
    due = {seq for (seq,) in filled.execute("SELECT seq FROM event_parked WHERE next_at IS NOT NULL")}
    assert due == {1}
    # The next event of the subject is tried, and the one behind it waits for that one.
    assert beat("events", "drop", "bus", "--seq", "1", "--reason", "of no use").out == "1 parked event is dropped\n"
    left = filled.execute("SELECT seq, behind, next_at IS NOT NULL FROM event_parked ORDER BY seq").fetchall()
    assert left == [(2, False, False), (4, False, True), (7, True, False)]
    assert beat("events", "drop", "bus", "--seq", "1", "--reason", "x").code == 4
    assert beat("events", "drop", "bus", "--reason", "x").code == 2
    (dropped, *_) = beat("audit", "sink/bus", "--json").json
    assert (dropped["action"], dropped["detail"]["events"][0]["seq"]) == ("event.drop", 1)


def test_a_sink_is_forgotten_once_no_publisher_has_it(beat: Beat, filled: psycopg.Connection) -> None:
    filled.execute(PARK, ("bus", "nacked", False, 1))
    assert beat("events", "replay", "--sink", "bus", "--from", "1", "--reason", "x").code == 0
    refused = beat("events", "forget", "bus", "--reason", "gone")
    assert (refused.code, "BEAT_EVENT_SINKS" in refused.err) == (1, True)
    filled.execute(UNHELD)
    assert (
        beat("events", "forget", "bus", "--reason", "gone").out
        == "bus is forgotten; it had reached place 4 and got 0 events\n"
    )
    assert filled.execute(
        "SELECT (SELECT count(*) FROM event_parked) + (SELECT count(*) FROM event_replay)"
    ).fetchone() == (0,)
    assert beat("events", "parked", "bus").code == 4


def test_doctor_names_what_keeps_events_from_a_sink(beat: Beat, filled: psycopg.Connection) -> None:
    def found(check: str) -> tuple[str, str]:
        finding = next(one for one in beat("doctor", "--json").json if one["check"] == check)
        return finding["found"], finding["fix"]

    assert found("publisher") == ("none runs; events wait", "start one: python -m actors.publish")
    assert found("sink bus") == ("publishing, 6 events behind", "")
    filled.execute("UPDATE event_sink SET trouble = 'blocked', reason = 'low on memory', since = now()")
    said, fix = found("sink bus")
    assert "it takes no messages, because its server has raised an alarm: low on memory" in said
    assert "free memory or disk" in fix
