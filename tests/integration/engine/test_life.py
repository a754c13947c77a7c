"""Credentials' life through real processes: the scheduler finds what is due, workers ask, the broker settles, the ledger agrees."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from typing import Any

import psycopg
import pytest

from tests.integration.engine.conftest import System

pytestmark = [pytest.mark.timeout(240), pytest.mark.exhaustive]

OWNER = "17841400000000009"


def beat(system: System, *arguments: str, stdin: str = "") -> tuple[int, Any]:
    """The command line, over the stack: its exit code, and the JSON that it prints."""
    done = subprocess.run(
        [sys.executable, "-c", "from beat_actors.cli import main; main()", *arguments, "--json"],
        env={**os.environ, **system.stack.env},
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


def run(system: System, sql: str, *params: Any) -> None:
    with psycopg.connect(system.stack.postgres.url, autocommit=True) as connection:
        connection.execute(sql, params)


async def by_operation(system: System, source: str) -> dict[str, int]:
    ledger = await system.with_simulator(lambda simulator: simulator.ledger())
    return ledger["by_source"][source]["by_operation"]


async def test_what_can_be_checked_is_checked_soon_after_it_was_added(system: System) -> None:
    found = system.rows("SELECT source, check_outcome, scopes FROM credential ORDER BY source")
    checked = {(row.source, row.check_outcome) for row in found if row.check_outcome}
    assert checked == {("graphapi", "ok"), ("lama", "ok")}
    assert all(row.scopes for row in found if row.source == "graphapi")
    assert (await by_operation(system, "graphapi"))["debug_token"] == 4
    assert (await by_operation(system, "lama"))["balance"] == 4
    await system.assert_the_books_agree()


async def test_adding_says_what_the_check_found(system: System) -> None:
    """And a dead credential lives again with a new secret."""
    await system.with_simulator(lambda s: s.add_credential("graphapi", "test-token-gone", revoked=True))
    code, said = beat(
        system, "credentials", "add", "graphapi", stdin=json.dumps({"token": "test-token-gone", "user_id": OWNER})
    )
    assert (code, said["check"]["outcome"]) == (1, "credential_dead")
    number = str(said["id"])
    alerted = "SELECT count(*) FROM alert WHERE key = %s AND resolved_at IS NULL"
    await system.until(lambda: system.value(alerted, f"credential:{number}:dead") == 1)
    new = json.dumps({"token": "test-token-new", "user_id": OWNER})
    code, said = beat(system, "credentials", "replace", number, "--reason", "a new token", stdin=new)
    assert (code, said["state"], said["check"]["outcome"]) == (0, "ready", "ok")
    await system.until(lambda: system.value("SELECT count(*) FROM alert WHERE resolved_at IS NULL") == 0)
    code, shown = beat(system, "credentials", "show", number)
    assert [event["kind"] for event in shown["history"]] == ["revived", "replaced", "dead", "added"]
    await system.all_settled()
    await system.assert_the_books_agree()


async def test_an_ambiguous_answer_is_verified_by_the_token_itself(system: System) -> None:
    before = (await by_operation(system, "graphapi"))["debug_token"]
    # Long after the last check, whose word would do.
    run(system, "UPDATE credential SET checked_at = checked_at - interval '1 hour'")
    params = {"user_id": OWNER, "media_id": "18900000000000001"}
    ids = await system.submit(6, flow="refresh_own_post", params=params)
    await system.all_ended(ids)
    errors = system.rows(
        "SELECT status, data->'error'->>'code' AS code FROM scrape_request_log WHERE id = ANY(%s)", ids
    )
    assert {tuple(row) for row in errors} == {("FAILED", "missing")}
    asked = (await by_operation(system, "graphapi"))["debug_token"] - before
    assert 1 <= asked <= 2  # one for each worker that had one of them
    await system.assert_the_books_agree()


async def test_killing_workers_over_checks_loses_none_and_the_books_agree(system: System) -> None:
    await system.with_simulator(lambda simulator: simulator.set_latency(1.0))
    run(system, "UPDATE credential SET check_at = clock_timestamp() WHERE dead_at IS NULL")
    await system.until(lambda: system.value("SELECT count(*) FROM credential_call") > 0, every=0.02)
    await asyncio.sleep(0.2)
    for process in system.worker_processes():
        os.kill(process, signal.SIGKILL)
    await system.until(lambda: any(s.name == "workers" and s.state == "up" for s in system.stack.supervisor.status()))
    await system.with_simulator(lambda simulator: simulator.set_latency(0.0))
    await system.until(lambda: system.value("SELECT count(*) FROM trace_log WHERE outcome = 'unknown'") > 0)
    await system.all_checked()
    assert (
        system.value("SELECT count(*) FROM credential WHERE check_outcome IS NOT NULL AND check_outcome <> 'ok'") == 0
    )
    await system.assert_the_books_agree()


async def test_a_youtube_grant_is_refreshed_used_and_dead_when_it_is_taken_back(system: System) -> None:
    grant = {"client_id": "test-client", "client_secret": "test-token-client", "refresh_token": "test-token-grant"}
    code, said = beat(system, "credentials", "add", "ytapi", stdin=json.dumps(grant))
    assert (code, said["check"]["outcome"]) == (0, "ok")
    credential = said["id"]
    fields = {"platform": "youtube", "flow": "refresh_profile_by_handle", "params": {"handle": "creator_000007"}}
    ids = await system.submit(1, **fields)
    await system.all_ended(ids)
    assert system.value("SELECT status FROM scrape_request_log WHERE id = %s", ids[0]) == "COMPLETE"
    # As if its hour were nearly over.
    run(system, "UPDATE credential SET refresh_at = clock_timestamp() WHERE id = %s", credential)
    generation = "SELECT generation FROM credential WHERE id = %s"
    await system.until(lambda: system.value(generation, credential) == 3)
    await system.all_settled()
    assert await by_operation(system, "ytapi") == {"token": 2, "check": 1, "profile_by_handle": 1}
    ledger = await system.with_simulator(lambda simulator: simulator.ledger())
    assert len(ledger["by_source"]["ytapi"]["by_credential"]) == 1  # with whichever token, the grant
    await system.assert_the_books_agree()

    await system.with_simulator(lambda s: s.add_credential("ytapi", grant["refresh_token"], revoked=True))
    run(system, "UPDATE credential SET refresh_at = clock_timestamp() WHERE id = %s", credential)
    dead = "SELECT dead_reason FROM credential WHERE id = %s"
    await system.until(lambda: system.value(dead, credential) is not None)
    assert "invalid_grant" in system.value(dead, credential)  # of a refresh codes are kept, and no words
    alerted = "SELECT count(*) FROM alert WHERE key = %s AND resolved_at IS NULL"
    await system.until(lambda: system.value(alerted, f"credential:{credential}:dead") == 1)
    waiting = await system.submit(1, **fields | {"params": {"handle": "creator_000008"}})
    lane = "SELECT count(*) FROM lane WHERE platform = 'youtube' AND reasons IS NOT NULL"
    await system.until(lambda: system.value(lane) == 1)  # it waits, and a new grant serves it
    code, said = beat(
        system,
        "credentials",
        "replace",
        str(credential),
        "--reason",
        "the user granted it again",
        stdin=json.dumps({**grant, "refresh_token": "test-token-again"}),
    )
    assert (code, said["state"]) == (0, "ready")
    await system.all_ended(waiting)
    assert system.value("SELECT status FROM scrape_request_log WHERE id = %s", waiting[0]) == "COMPLETE"
    await system.until(lambda: system.value(alerted, f"credential:{credential}:dead") == 0)
    await system.all_settled()
    await system.assert_the_books_agree()


async def test_p8_no_secret_leaves_the_vault_by_its_check(system: System) -> None:
    logs = b"".join(log.read_bytes() for log in system.stack.home.logs.glob("*.log*"))
    dump = system.dump()
    assert b"credential_check" in dump
    assert b"credential_refresh" in dump
    assert b"test-token-" not in logs + dump
    assert b"test-lama-" not in logs + dump
    assert b"ya29." not in logs + dump
