"""`beat doctor`, `beat migrate`, and where the settings come from."""

import asyncio
import json
import os
import uuid
from pathlib import Path
from typing import Any

import psycopg
import pytest

from beat_actors.database import Database
from beat_actors.database.processes import Code
from beat_actors.database.reporting import Reporter
from beat_actors.local.home import Home, temporary_home
from beat_actors.local.servers import SimulatorServer, running
from beat_actors.running_code import own
from beat_actors.settings import Settings
from tests.conftest import Servers
from tests.integration.cli.conftest import Beat
from tests.worlds import lost_log_lines, restored_into_a_younger_cluster


def findings(beat: Beat) -> dict[str, Any]:
    said = beat("doctor", "--json")
    assert said.code == (1 if any(not one["ok"] for one in said.json) else 0)
    return {one["check"]: one for one in said.json}


def test_what_is_well_is_said_to_be(beat: Beat, process_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BEAT_DATABASE_DIRECT_URL", process_url)
    assert beat("migrate").code == 0
    found = findings(beat)
    for check in (
        "settings",
        "PostgreSQL",
        "schema",
        "statement timeout",
        "database role",
        "clock",
        "leadership",
        "requests",
        "Redis",
        "eviction",
        "queues",
    ):
        assert found[check]["ok"], found[check]


def test_open_alerts_are_findings_with_their_action(beat: Beat, database_url: str) -> None:
    assert findings(beat)["alerts"] == {"check": "alerts", "ok": True, "found": "none is open", "fix": ""}
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO alert (key, severity, cause, impact, automatic, action, silenced) VALUES "
            "('platform:instagram', 'critical', 'Instagram is at a standstill', 'x', 'x', '`beat why 1`', false), "
            "('backlog:assets', 'warning', 'muted', 'x', 'x', 'x', true), ('limit:x', 'info', 'half', 'x', 'x', 'x', false)"
        )
    found = {name: one for name, one in findings(beat).items() if name.startswith("alert")}
    assert [(one["ok"], one["found"], one["fix"]) for one in found.values()] == [
        (False, "Instagram is at a standstill", "`beat why 1`")
    ]


def test_a_pooler_in_the_way_of_the_leader_is_found(beat: Beat, servers: Servers) -> None:
    found = findings(beat)["leadership"]
    assert found["ok"] == (servers.pooler is None)
    assert ("BEAT_DATABASE_DIRECT_URL" in found["fix"]) == (servers.pooler is not None)


@pytest.mark.parametrize(("role", "said"), [("beat", "a superuser"), ("beat_owner", "owns the schema")])
def test_a_process_login_that_may_too_much_is_named(
    beat: Beat, servers: Servers, database_url: str, role: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = database_url if role == "beat" else servers.owner_url(database_url)
    monkeypatch.setenv("BEAT_DATABASE_URL", url)
    found = findings(beat)["database role"]
    assert not found["ok"]
    assert said in found["found"]
    assert "beat db roles" in found["fix"]


def test_the_roles_and_the_schema_are_made_with_the_variables_of_the_database_alone(
    beat: Beat, servers: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = servers.postgres.url_of(f"made_{uuid.uuid4().hex[:8]}")
    for name in ("BEAT_REDIS_URL", "BEAT_VAULT_KEYS", "BEAT_MESSAGE_KEYS", "BEAT_DATABASE_OWNER_URL"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("BEAT_DATABASE_URL", servers.process_url(url))
    assert "set BEAT_DATABASE_ADMIN_URL and BEAT_DATABASE_OWNER_URL" in beat("db", "roles").err
    monkeypatch.setenv("BEAT_DATABASE_OWNER_URL", servers.owner_url(url))
    monkeypatch.setenv("BEAT_DATABASE_ADMIN_URL", "postgresql://beat:x@127.0.0.1:1/postgres")
    assert "PostgreSQL did not make the roles" in beat("db", "roles").err
    monkeypatch.setenv("BEAT_DATABASE_ADMIN_URL", servers.postgres.url_of("postgres"))
    try:
        said = beat("db", "roles")
        assert (said.code, "processes connect as beat_process" in said.out) == (0, True), said
        assert beat("migrate").code == 0
        with psycopg.connect(servers.process_url(url)) as connection:
            assert connection.execute("SELECT count(*) FROM lane").fetchone() == (0,)
    finally:
        with psycopg.connect(servers.postgres.url_of("postgres"), autocommit=True) as admin:
            admin.execute(f"DROP DATABASE IF EXISTS {url.rpartition('/')[2]} WITH (FORCE)")


def test_a_database_that_was_restored_is_said_to_be(beat: Beat, database_url: str) -> None:
    assert "cluster" not in findings(beat)
    restored_into_a_younger_cluster(database_url)
    assert "changes after the dump are missing" in findings(beat)["cluster"]["found"]


def test_lost_log_lines_are_named_with_what_to_do(beat: Beat, database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as admin:
        lost_log_lines(admin)
    found = findings(beat)["worker h:1"]
    assert (found["ok"], found["found"]) == (False, "3 lines of its log could not be written")
    assert "free disk space" in found["fix"]


def test_processes_older_than_what_is_installed_are_named_with_the_restart(beat: Beat, settings: Settings) -> None:
    async def report(code: Code) -> None:
        database = Database(settings, name="test")
        try:
            await Reporter(database, name="worker", code=code).report()
        finally:
            await database.close()

    here = own()
    asyncio.run(report(here))
    assert not [check for check in findings(beat) if check.startswith("restart")]
    asyncio.run(report(here._replace(revision="0001", platforms=("instagram",))))
    found = findings(beat)
    assert {check for check in found if check.startswith("restart")} == {
        "restart: schema",
        *(f"restart: platform {name}" for name in here.platforms or () if name != "instagram"),
    }
    assert "docker compose up" in found["restart: schema"]["fix"]


def test_what_is_missing_is_said_with_the_way_to_mend_it(beat: Beat) -> None:
    found = findings(beat)
    assert "python -m actors" in found["workers"]["fix"]
    assert "python -m scheduler" in found["scheduler"]["fix"]
    assert "beat credentials add" in found["credentials"]["fix"]
    assert found["deliverer"]["ok"]  # nobody wants to be told of anything
    assert beat("webhooks", "add", "https://example.com/hooks").code == 0
    assert "python -m scheduler.deliverer" in findings(beat)["deliverer"]["fix"]


def test_each_dependency_may_be_away_alone(beat: Beat, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BEAT_REDIS_URL", "redis://127.0.0.1:1/0")
    monkeypatch.setenv("BEAT_S3_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("BEAT_S3_BUCKET", "a-bucket")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("BEAT_ENVIRONMENT", "rehearsal")
    monkeypatch.setenv("BEAT_SIMULATOR_URL", "http://127.0.0.1:1")
    found = findings(beat)
    assert found["PostgreSQL"]["ok"]
    for check, variable in (
        ("Redis", "BEAT_REDIS_URL"),
        ("S3", "BEAT_S3_ENDPOINT_URL"),
        ("providers", "BEAT_SIMULATOR_URL"),
    ):
        assert not found[check]["ok"]
        assert variable in found[check]["fix"]


def test_a_simulator_is_refused_in_production_and_shown_in_a_rehearsal(
    beat: Beat, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert findings(beat)["environment"]["found"].startswith("production")
    monkeypatch.setenv("BEAT_SIMULATOR_URL", "http://127.0.0.1:1")
    refused = findings(beat)["settings"]
    assert not refused["ok"]
    assert "BEAT_ENVIRONMENT=rehearsal" in refused["found"]
    monkeypatch.setenv("BEAT_ENVIRONMENT", "rehearsal")
    with temporary_home() as home, running(home, simulator := SimulatorServer(home.port("simulator"), 10)):
        url = simulator.url
        monkeypatch.setenv("BEAT_SIMULATOR_URL", url)
        found = findings(beat)
        assert found["environment"]["found"].startswith("rehearsal")
        assert found["simulated sources"]["found"].endswith(f"ytapi, at {url}: 10 profiles, 0 faults on")
        assert found["real sources"]["found"] == "none"
        said = beat("scrape", "instagram", "x", "--timeout", "0")
        assert "simulated data" in said.err


def test_real_and_simulated_sources_are_distinguished(
    beat: Beat, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert "graphapi" in findings(beat)["real sources"]["found"]
    with temporary_home() as home, running(home, simulator := SimulatorServer(home.port("simulator"), 10)):
        own = {"lama": {"proxy": "socks5://beat:hidden-pw@127.0.0.1:1080"}, "ytapi": {"simulated": False}}
        monkeypatch.setenv("BEAT_SOURCES", json.dumps(own))
        found = findings(beat)
        assert found["route lama"]["found"] == (
            "called at https://api.hikerapi.com, through socks5://127.0.0.1:1080, as beat/0.1"
        )
        monkeypatch.setenv("BEAT_ENVIRONMENT", "rehearsal")
        monkeypatch.setenv("BEAT_SIMULATOR_URL", simulator.url)
        found = findings(beat)
        assert found["real sources"]["found"] == "ytapi"
        assert "lama" in found["simulated sources"]["found"]
        # A simulator that stands where a provider should: production is not to take it for one.
        monkeypatch.delenv("BEAT_SIMULATOR_URL")
        monkeypatch.setenv("BEAT_ENVIRONMENT", "production")
        monkeypatch.setenv("BEAT_SOURCES", json.dumps({"lama": {"base_url": f"{simulator.url}/lama"}}))
        found = findings(beat)
        assert not found["source lama"]["ok"]
        assert "take base_url of lama out of BEAT_SOURCES" in found["source lama"]["fix"]
        monkeypatch.setenv("BEAT_SOURCES", json.dumps({"lama": {"ca_file": str(tmp_path / "none.pem")}}))
        assert "PEM file" in findings(beat)["route lama"]["fix"]
    monkeypatch.setenv("BEAT_SOURCES", json.dumps({"lamma": {"user_agent": "x"}}))
    assert "there is no source lamma; there is: " in findings(beat)["settings"]["found"]
    # Neither the password nor the URL around it is repeated where the value is wrong.
    monkeypatch.setenv("BEAT_SOURCES", json.dumps({"lama": {"proxy": "socks5://beat:hidden-pw@127.0.0.1"}}))
    refused = findings(beat)["settings"]["found"]
    assert refused.startswith("BEAT_SOURCES: proxy is a URL with a port")
    assert "hidden-pw" not in refused


def test_without_a_database_every_command_is_code_3(beat: Beat, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("BEAT_DATABASE_URL", "BEAT_DATABASE_OWNER_URL"):
        monkeypatch.setenv(name, "postgresql://nobody:hidden-pw@127.0.0.1:1/nothing")
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


def test_a_database_without_schema_is_reported_and_fixed(beat: Beat, settings: Settings) -> None:
    with psycopg.connect(settings.owner_url, autocommit=True) as connection:
        connection.execute("DROP SCHEMA public CASCADE")
        connection.execute("CREATE SCHEMA public")
    found = findings(beat)
    assert "beat migrate" in found["schema"]["fix"]
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


def test_settings_that_lose_what_was_committed_are_named(beat: Beat, servers: Servers, database_url: str) -> None:
    """The server of the tests has them, since no test ends the machine."""
    said = findings(beat)["durability"]
    assert not said["ok"]
    assert said["found"].startswith("fsync = off, full_page_writes = off")
