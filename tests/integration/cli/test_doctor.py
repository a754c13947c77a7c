"""`beat doctor`, `beat migrate`, and where the settings come from."""

import os
from pathlib import Path
from typing import Any

import psycopg
import pytest

from beat_actors.local import Home
from beat_actors.settings import Settings
from tests.conftest import Servers
from tests.integration.cli.conftest import Beat


def findings(beat: Beat) -> dict[str, Any]:
    said = beat("doctor", "--json")
    assert said.code == (1 if any(not one["ok"] for one in said.json) else 0)
    return {one["check"]: one for one in said.json}


def test_what_is_well_is_said_to_be(beat: Beat, database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BEAT_DATABASE_DIRECT_URL", database_url)
    assert beat("migrate").code == 0
    found = findings(beat)
    for check in (
        "settings",
        "PostgreSQL",
        "schema",
        "statement timeout",
        "clock",
        "leadership",
        "requests",
        "Redis",
        "eviction",
        "queues",
    ):
        assert found[check]["ok"], found[check]


def test_a_pooler_in_the_way_of_the_leader_is_found(beat: Beat, servers: Servers) -> None:
    found = findings(beat)["leadership"]
    assert found["ok"] == (servers.pooler is None)
    assert ("BEAT_DATABASE_DIRECT_URL" in found["mend"]) == (servers.pooler is not None)


def test_what_is_missing_is_said_with_the_way_to_mend_it(beat: Beat) -> None:
    found = findings(beat)
    assert "python -m actors" in found["workers"]["mend"]
    assert "python -m scheduler" in found["scheduler"]["mend"]
    assert "beat credentials add" in found["credentials"]["mend"]


def test_each_dependency_may_be_away_alone(beat: Beat, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BEAT_REDIS_URL", "redis://127.0.0.1:1/0")
    monkeypatch.setenv("BEAT_S3_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("BEAT_SIMULATOR_URL", "http://127.0.0.1:1")
    found = findings(beat)
    assert found["PostgreSQL"]["ok"]
    for check, variable in (
        ("Redis", "BEAT_REDIS_URL"),
        ("S3", "BEAT_S3_ENDPOINT_URL"),
        ("providers", "BEAT_SIMULATOR_URL"),
    ):
        assert not found[check]["ok"]
        assert variable in found[check]["mend"]


def test_without_a_database_every_command_is_code_3(beat: Beat, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BEAT_DATABASE_URL", "postgresql://nobody:hidden-pw@127.0.0.1:1/nothing")
    assert not findings(beat)["PostgreSQL"]["ok"]
    for command in (("requests",), ("migrate",), ("credentials", "list"), ("scrape", "instagram", "x")):
        said = beat(*command)
        assert said.code == 3, said
        assert said.err.startswith("beat: PostgreSQL")
        assert "hidden-pw" not in said.err


def test_without_redis_a_request_is_accepted_all_the_same(beat: Beat, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BEAT_REDIS_URL", "redis://127.0.0.1:1/0")
    said = beat("scrape", "instagram", "x", "--timeout", "0", "--json")
    assert said.code == 5
    assert said.json[0]["request"]["status"] == "PENDING"
    assert "Redis does not answer" in said.err


def test_a_database_without_schema_is_told_and_mended(beat: Beat, settings: Settings) -> None:
    with psycopg.connect(str(settings.database_url), autocommit=True) as connection:
        connection.execute("DROP SCHEMA public CASCADE")
        connection.execute("CREATE SCHEMA public")
    found = findings(beat)
    assert "beat migrate" in found["schema"]["mend"]
    asked = beat("requests")
    assert asked.code == 3
    assert "beat migrate" in asked.err
    assert beat("migrate").out.startswith("the database is at revision ")
    assert findings(beat)["schema"]["ok"]


def test_the_stack_that_runs_here_is_found(
    beat: Beat, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    variables = {
        "BEAT_DATABASE_URL": str(settings.database_url),
        "BEAT_REDIS_URL": str(settings.redis_url),
        "BEAT_VAULT_KEYS": settings.vault_keys.get_secret_value(),
        "BEAT_MESSAGE_KEYS": settings.message_keys.get_secret_value(),
    }
    without_beat = {name: value for name, value in os.environ.items() if not name.startswith("BEAT_")}
    monkeypatch.setattr("os.environ", dict(without_beat))
    monkeypatch.chdir(tmp_path)
    home = Home(tmp_path / ".beat")
    home.lock()
    home.write_env(variables)
    assert beat("requests").code == 0
    home.unlock()
    monkeypatch.setattr("os.environ", dict(without_beat))
    stopped = beat("requests")
    assert stopped.code == 2
    assert "beat up" in stopped.err
