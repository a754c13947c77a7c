"""`beat keys`: a key is shown once, and who did what is on record."""

from collections.abc import Iterator

import psycopg
import pytest

from beat_actors.access.tokens import parse
from beat_actors.settings import Settings
from tests.integration.cli.conftest import Beat


@pytest.fixture
def recorded(settings: Settings) -> Iterator[psycopg.Connection[tuple[str, str, str]]]:
    with psycopg.connect(str(settings.database_url), autocommit=True) as connection:
        yield connection


def records(connection: psycopg.Connection[tuple[str, str, str]]) -> list[tuple[str, str, str]]:
    return connection.execute("SELECT actor, action, target FROM audit_log ORDER BY id").fetchall()


def test_a_key_stands_alone_on_standard_output_and_nowhere_else(beat: Beat) -> None:
    made = beat("keys", "create", "feeder", "--scope", "submit", "--scope", "read", "--account", "acme", "--days", "30")
    assert made.code == 0
    assert parse(made.out.removesuffix("\n")) is not None
    assert "key 1 for feeder of account acme: submit read, until " in made.err
    secret = made.out.strip().rpartition("_")[2]
    shown = [beat("keys", "list"), beat("keys", "list", "--json")]
    assert not any(secret in said for said in (made.err, *(one.out + one.err for one in shown)))
    (row,) = shown[0].rows
    assert row[:7] == ["1", parse(made.out.strip()).prefix, "feeder", "active", "submit read", "acme", "6000"]
    (document,) = shown[1].json
    assert "hash" not in document
    assert document["expires_at"] is not None


def test_json_has_the_key_too(beat: Beat) -> None:
    made = beat("keys", "create", "operator", "--scope", "operate", "--rate", "60", "--json").json
    assert parse(made["key"]).prefix == made["prefix"]
    assert made["expires_at"] is None


def test_what_a_key_made_is_named_where_it_ends(beat: Beat, recorded) -> None:
    """A rotation hands the webhooks over and prints their new secrets; a revocation says which are paused, and the list why."""
    beat("keys", "create", "feeder", "--scope", "submit", "--account", "acme")
    for host in ("one", "two"):
        beat("webhooks", "add", f"https://{host}.example.com/hooks", "--account", "acme")
    recorded.execute("UPDATE webhook_endpoint SET api_key_id = 1")
    rotated = beat("keys", "rotate", "1")
    key, *webhooks = rotated.out.splitlines()
    assert parse(key) is not None
    assert [line.split()[:2] for line in webhooks] == [["webhook", "1"], ["webhook", "2"]]
    assert all(line.split()[2].startswith("whsec_") and line.split()[2] not in rotated.err for line in webhooks)
    again = beat("keys", "rotate", "2", "--json").json
    assert [one["id"] for one in again["webhooks"]] == [1, 2]
    revoked = beat("keys", "revoke", "3", "--reason", "leaked")
    assert "2 webhooks that it made are paused: 1 2" in revoked.err
    assert [row[4:7] for row in beat("webhooks", "list").rows] == [["paused", "key_revoked", "key 3 feeder"]] * 2
    assert "beat webhooks rotate 1" in beat("webhooks", "resume", "1").err
    assert [row[4] for row in beat("webhooks", "list").rows] == ["active", "paused"]


def test_every_change_is_on_record_with_who_made_it(beat: Beat, recorded, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGNAME", "ana")
    beat("keys", "create", "feeder", "--scope", "submit")
    monkeypatch.setenv("LOGNAME", "ben")
    rotated = beat("keys", "rotate", "1", "--hours", "1")
    assert rotated.code == 0
    assert "key 1 works until" in rotated.err
    assert (
        beat("keys", "revoke", rotated.out.strip(), "--reason", "leaked").out
        == "key 2 revoked; it opens nothing after 5 s\n"
    )
    assert beat("keys", "revoke", "2", "--reason", "again").code == 1
    assert records(recorded) == [
        ("cli:ana", "key.create", "key/1"),
        ("cli:ben", "key.rotate", "key/1"),
        ("cli:ben", "key.revoke", "key/2"),
    ]
    assert [row[3] for row in beat("keys", "list").rows] == ["active", "revoked"]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("create", "x"), 2, "--scope"),
        (("create", "x", "--scope", "root"), 2, "submit, urgent, read, metrics, operate, admin"),
        (("create", "x", "--scope", "admin", "--account", "acme"), 2, "affects all accounts"),
        (("create", "x", "--scope", "read", "--days", "-1"), 2, "expires after 3650 days"),
        (("create", "x", "--scope", "read", "--days", "nan"), 2, "expires after 3650 days"),
        (("create", "x", "--scope", "read", "--days", "1e300"), 2, "expires after 3650 days"),
        (("create", "x\x1b[2J", "--scope", "read"), 2, "U+001B"),
        (("create", "x", "--scope", "read", "--rate", "0"), 2, "calls a minute"),
        (("revoke", "1"), 2, "--reason"),
        (("revoke", "4711", "--reason", "x"), 4, "there is no such key"),
        (("rotate", "4711"), 4, "there is no such key"),
    ],
)
def test_what_cannot_be_done_is_said_and_not_done(beat: Beat, recorded, arguments, code: int, said: str) -> None:
    answer = beat("keys", *arguments)
    assert (answer.code, answer.out) == (code, "")
    assert said in answer.err
    assert records(recorded) == []
