"""`beat queues` over a queue as Dramatiq leaves it."""

from collections.abc import Iterator

import dramatiq
import psycopg
import pytest

from actors.broker import BeatBroker, build_broker
from beat_actors.settings import Settings
from tests.integration.cli.conftest import Beat


@pytest.fixture
def broker(settings: Settings) -> Iterator[BeatBroker]:
    broker = build_broker(settings)
    yield broker
    broker.client.close()


def send(broker: BeatBroker, *ids: int) -> str:
    message: dramatiq.Message[None] = dramatiq.Message("ingest", "ingest", (list(ids),), {}, {})
    broker.send([message])
    return message.message_id


def test_queues_are_lines_in_a_pipe_and_json_for_scripts(beat: Beat, broker: BeatBroker) -> None:
    send(broker, 1)
    assert ["ingest", "1", "0", "0", "0"] in [row[:5] for row in beat("queues").rows]
    (ingest,) = [queue for queue in beat("queues", "--json").json if queue["queue"] == "ingest"]
    assert (ingest["waiting"], ingest["actors"]) == (1, {"ingest": 1})


def test_a_message_is_listed_shown_and_dropped(beat: Beat, broker: BeatBroker, database_url: str) -> None:
    message = send(broker, 41, 42)
    ((listed, state, actor, about, *_),) = beat("queues", "list", "ingest").rows
    assert (listed, state, actor, about) == (message, "waiting", "ingest", "41 and 1 more")
    assert beat("queues", "show", message, "--json").json["args"] == [[41, 42]]
    dropped = beat("queues", "drop", message, "--reason", "a duplicate")
    assert (dropped.code, dropped.out) == (0, f"{message} is gone from ingest; it was waiting\n")
    assert beat("queues", "drop", message, "--reason", "a duplicate").code == 4
    with psycopg.connect(database_url) as connection:
        ((actor, action, reason),) = connection.execute(
            "SELECT actor, action, detail->>'reason' FROM audit_log"
        ).fetchall()
    assert actor.startswith("cli:")
    assert (action, reason) == ("message.drop", "a duplicate")


def test_what_waits_is_purged_and_counted(beat: Beat, broker: BeatBroker) -> None:
    for n in range(1, 4):
        send(broker, n)
    purged = beat("queues", "purge", "ingest", "--state", "waiting", "--reason", "a flood")
    assert (purged.code, purged.out) == (0, "3 waiting messages are gone from ingest\n")
    assert beat("queues", "list", "ingest").out == ""


def test_an_unknown_queue_is_not_found(beat: Beat) -> None:
    said = beat("queues", "list", "nonsense")
    assert said.code == 4
    assert "credential_broker, express, retrieve" in said.err
