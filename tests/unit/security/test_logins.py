"""No user and no password in what is said of a driver's error, or logged of anything."""

import json
import logging

import pytest

from beat_actors.logins import said, without_logins
from beat_actors.logs import handler
from beat_actors.masking import mask


@pytest.mark.parametrize(
    "text",
    [
        'connection to server at "db.internal", port 5432 failed: FATAL:  password authentication failed for user "bob"',
        'FATAL: role "bob" does not exist',
        'FATAL:  no pg_hba.conf entry for host "10.0.0.1", user "bob", database "beat", SSL off',
        'missing "=" after "postgresql://bob:hunter2@db.internal/beat" in connection info string',
        "postgresql+psycopg://bob:hun/ter2@db.internal/beat",
        "rediss://:hunter2@cache.internal:6380/0?timeout=5",
        "http://bob:hunter2@proxy.internal:3128",
        "host=db.internal user=bob password=hunter2 dbname=beat",
        "host=db.internal user='bob' password = 'hunter2 and \\' more'",
        "User bob has no permissions to run the 'info' command",
        "{'host': 'db.internal', 'user': 'bob', 'password': 'hunter2'}",
        "ConnectionParameters(user='bob', password=\"hunter2\")",
    ],
)
def test_p8_what_a_driver_says_is_reported_without_users_and_passwords(text: str) -> None:
    told = without_logins(text)
    assert not any(secret in told for secret in ("bob", "hun", "ter2", "more"))
    assert "***" in told
    assert all(host in told for host in ("db.internal", "cache.internal", "proxy.internal") if host in text)


@pytest.mark.parametrize(
    "text",
    [
        "PostgreSQL did not answer: Connection refused",
        "https://provider.invalid/users?key=***&of=a@b",
        "the user asked for a password twice",
        "see https://docs.example/page#role or write to ops@example.org",
    ],
)
def test_other_text_stays_as_it_is(text: str) -> None:
    assert without_logins(text) == text


def test_an_error_is_reported_by_its_first_line_or_by_its_kind() -> None:
    assert said(OSError("connection refused\n\tIs the server running?")) == "connection refused"
    assert said(TimeoutError()) == "TimeoutError"


def test_p8_logs_hold_no_logins() -> None:
    event = mask(None, "error", {"event": "lost", "exception": 'user "bob"\nredis://bob:hunter2@h', "n": 1})
    assert "bob" not in json.dumps(event)
    record = logging.LogRecord("pool", logging.WARNING, "", 1, "broken: %s", ("postgresql://bob:hunter2@h/x",), None)
    assert json.loads(handler().format(record))["message"] == "broken: postgresql://***@h/x"
