"""An event that is not as its schema says fails the test that had it written, and each form of an event is validated once."""

import json
from typing import Any

import psycopg
import pytest

from tests.conftest import Servers
from tests.written_events import WrittenEvents

DATA = {
    "id": 11, "location": "/v1/batches/11", "account_id": None, "total": 1, "counts": {"FAILED": 1},
    "created_at": "2030-01-31T11:00:00+00:00", "cancelled_at": None, "ended_at": "2030-01-31T12:00:00+00:00",
}  # fmt: skip
WRITE = "INSERT INTO event (event_id, type, subject, data) VALUES (gen_random_uuid(), %s, %s, %s::jsonb)"


def write(connection: psycopg.Connection, type_: str, subject: str, data: dict[str, Any]) -> None:
    connection.execute(WRITE, (type_, subject, json.dumps(data)))


@pytest.mark.parametrize(
    ("type_", "subject", "data", "wrong"),
    [
        ("beat.batch.ended", "batch/11", DATA, []),
        (
            "beat.batch.ended",
            "batch/11",
            DATA | {"total": "1"},
            ["beat.batch.ended.total: '1' is not of type 'integer'"],
        ),
        (
            "beat.batch.ended",
            "batch/11",
            DATA | {"counts": {"FAILED": "1"}},
            ["beat.batch.ended.counts.FAILED: '1' is not of type 'integer'"],
        ),
        (
            "beat.batch.ended",
            "batch/11",
            {k: v for k, v in DATA.items() if k != "total"},
            ["beat.batch.ended: 'total' is a required property"],
        ),
        (
            "beat.batch.ended",
            "batch/11",
            DATA | {"more": 1},
            ["beat.batch.ended: Additional properties are not allowed ('more' was unexpected)"],
        ),
        ("beat.batch.ended", "alert/11", DATA, ["beat.batch.ended has the subject alert/11"]),
        ("beat.batch.closed", "batch/11", DATA, ["beat.batch.closed is not in the catalogue"]),
        ("beat.batch.closed", "any", DATA, []),
        ("beat.batch.ended", "batch/11", {}, []),
    ],
)
def test_what_is_wrong_with_an_event_is_named(
    servers: Servers, database_url: str, type_: str, subject: str, data: dict[str, Any], wrong: list[str]
) -> None:
    with psycopg.connect(database_url) as connection:
        write(connection, type_, subject, data)
        assert WrittenEvents().look(connection) == wrong
        connection.rollback()


def test_a_form_is_validated_once(database_url: str) -> None:
    events = WrittenEvents()
    with psycopg.connect(database_url) as connection:
        for total in (1, 2, "3", "4", 5.5):
            write(connection, "beat.batch.ended", "batch/11", DATA | {"total": total})
        assert len(events.look(connection)) == 1
        assert events.look(connection) == []
        connection.rollback()


def test_a_test_with_a_wrong_event_fails_at_its_end(servers: Servers, template: str) -> None:
    with (
        pytest.raises(AssertionError, match="is not as"),
        servers.databases.database("test_wrong_event") as url,
        psycopg.connect(url) as connection,
    ):
        write(connection, "beat.batch.ended", "batch/12", {"id": 12})
    with servers.databases.database("test_right_event") as url, psycopg.connect(url) as connection:
        write(connection, "beat.batch.ended", "batch/12", DATA)
