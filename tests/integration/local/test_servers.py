"""The embedded servers, for real."""

import asyncio
import json
import os
import shutil
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest
import redis

from beat_actors.database import migrate
from beat_actors.errors import ObjectsUnavailable
from beat_actors.local.account import unprivileged
from beat_actors.local.errors import LocalError
from beat_actors.local.home import Home, temporary_home
from beat_actors.local.s3 import S3Server
from beat_actors.local.servers import UNSAFE_BUT_FAST, PostgresServer, ValkeyServer, running
from beat_actors.transport.objects import ObjectStore
from tests.integration.local.processes import eventually, family, runs

pytestmark = pytest.mark.slow

AS_ROOT = os.geteuid() == 0


def test_postgres_and_valkey_keep_their_data_over_a_restart(home: Home) -> None:
    postgres, valkey = PostgresServer.at(home, UNSAFE_BUT_FAST), ValkeyServer.at(home)
    with running(home, postgres, valkey):
        with psycopg.connect(postgres.url) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 'ÄÖ'::text AS word")
        with redis.Redis.from_url(valkey.url) as client:
            client.set("kept", "yes")
            policy = client.config_get("maxmemory-policy")["maxmemory-policy"]
    assert policy == "noeviction"
    again = PostgresServer.at(home, UNSAFE_BUT_FAST), ValkeyServer.at(home)
    assert (again[0].url, again[1].url) == (postgres.url, valkey.url)
    with running(home, *again):
        with psycopg.connect(postgres.url) as connection:
            assert connection.execute("SELECT lower(word) FROM kept").fetchone() == ("äö",)
        with redis.Redis.from_url(valkey.url) as client:
            assert client.get("kept") == b"yes"


@pytest.mark.exhaustive
def test_data_that_was_made_before_there_were_roles_is_taken_over(home: Home) -> None:
    """As an older Beat left it: one superuser, who owns everything, and connections of processes as that one."""
    postgres = PostgresServer.at(home, UNSAFE_BUT_FAST)
    with running(home, postgres):
        with psycopg.connect(postgres.url, autocommit=True) as admin:
            admin.execute("ALTER DATABASE beat OWNER TO beat; ALTER SCHEMA public OWNER TO beat")
            admin.execute(
                "DROP OWNED BY beat_process; DROP ROLE beat_process; DROP OWNED BY beat_owner; DROP ROLE beat_owner"
            )
        migrate.upgrade(postgres.url)
        with psycopg.connect(postgres.url, autocommit=True) as admin:
            admin.execute(
                "INSERT INTO lane (platform, flow, operation, priority, sources) VALUES ('a', 'b', 'c', 1, '{d}')"
            )
    secrets = json.loads((home.path / "secrets.json").read_text())
    home.write("secrets.json", json.dumps({"postgres": secrets["postgres"]}))
    again = PostgresServer.at(home, UNSAFE_BUT_FAST)
    with running(home, again):
        migrate.upgrade(again.owner_url, again.process_url)
        with psycopg.connect(again.process_url, autocommit=True) as connection:
            assert connection.execute("SELECT platform FROM lane").fetchall() == [("a",)]
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute("DROP TABLE lane")


def test_the_servers_listen_on_the_loopback_and_want_a_password(home: Home) -> None:
    postgres, valkey = PostgresServer.at(home, UNSAFE_BUT_FAST), ValkeyServer.at(home)
    with running(home, postgres, valkey) as supervisor:
        with pytest.raises(psycopg.OperationalError, match="password"):
            psycopg.connect(postgres.url.replace(postgres.password, "guessed"))
        with redis.Redis(port=valkey.port) as client, pytest.raises(redis.AuthenticationError):
            client.ping()
        for one in supervisor.status():
            assert one.pid
            process = psutil.Process(one.pid)
            listening = {c.laddr.ip for c in process.net_connections() if c.status == psutil.CONN_LISTEN}
            assert listening == {"127.0.0.1"}
            line = " ".join(process.cmdline())
            assert postgres.password not in line
            assert valkey.password not in line


@pytest.mark.exhaustive
def test_s3_keeps_objects_over_a_crash_and_wants_its_key(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    s3 = S3Server.at(home)
    for name, value in s3.env.items():
        monkeypatch.setenv(name, value)
    store = ObjectStore(s3.bucket, endpoint_url=s3.url)

    def answered(work: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
        """After a start its parts find each other, and it answers 500 meanwhile."""
        for _ in range(300):
            try:
                return asyncio.run(work())
            except ObjectsUnavailable as error:
                said = error
                time.sleep(0.1)
        raise said

    with running(home, s3) as supervisor:
        assert answered(lambda: store.put("a/b", b"0123456789"))
        assert asyncio.run(store.put("a/b", b"other")) is False
        (before,) = supervisor.status()
        assert before.pid
        os.kill(before.pid, 9)
        assert eventually(lambda: supervisor.status()[0].restarts == 1 and supervisor.status()[0].state == "up")
        assert answered(lambda: store.read("a/b", (2, 3))) == b"234"
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "guessed")
        with pytest.raises(ObjectsUnavailable, match="SignatureDoesNotMatch"):
            asyncio.run(ObjectStore(s3.bucket, endpoint_url=s3.url).read("a/b"))
        # Each of its parts listens on the loopback alone.
        process = psutil.Process(supervisor.status()[0].pid)
        listening = {c.laddr.ip for c in process.net_connections() if c.status == psutil.CONN_LISTEN}
        assert listening == {"127.0.0.1"}
        assert s3.secret_key not in " ".join(process.cmdline())


def test_two_data_roots_do_not_know_of_each_other(home: Home) -> None:
    with temporary_home() as other:
        mine, theirs = PostgresServer.at(home, UNSAFE_BUT_FAST), PostgresServer.at(other, UNSAFE_BUT_FAST)
        with running(home, mine), running(other, theirs):
            with psycopg.connect(mine.url) as connection:
                connection.execute("CREATE TABLE here ()")
            with psycopg.connect(theirs.url) as connection:
                assert connection.execute("SELECT to_regclass('here')").fetchone() == (None,)


def test_another_version_s_data_is_refused_with_a_sentence(home: Home) -> None:
    postgres = PostgresServer.at(home, UNSAFE_BUT_FAST)
    postgres.service()
    (postgres.data / "PG_VERSION").write_text("12\n")
    with pytest.raises(LocalError, match=r"written by PostgreSQL 12, and this is \d+"):
        postgres.service()


@pytest.mark.skipif(not AS_ROOT, reason="only root has to become somebody else")
def test_as_root_postgres_runs_as_somebody_else(home: Home) -> None:
    postgres = PostgresServer.at(home, UNSAFE_BUT_FAST)
    account = unprivileged()
    assert account
    with running(home, postgres) as supervisor:
        (one,) = supervisor.status()
        assert one.pid
        process = psutil.Process(one.pid)
        assert set(process.uids()) == {account.uid}
        assert set(process.gids()) == {account.gid}
        groups = next(line for line in Path(f"/proc/{one.pid}/status").read_text().splitlines() if "Groups:" in line)
        assert groups.split()[1:] == [], "root's other groups must not come along"


@pytest.mark.skipif(not AS_ROOT, reason="only root has to become somebody else")
def test_a_root_that_postgres_cannot_reach_gets_a_place_elsewhere(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    home = Home(closed / ".beat")
    try:
        with running(home, PostgresServer.at(home, UNSAFE_BUT_FAST)):
            place = Path((home.path / "elsewhere").read_text().strip())
            assert PostgresServer.at(home).data == place / "postgres"
            assert stat.S_IMODE((place / "postgres").stat().st_mode) == 0o700
        assert home.place_for(unprivileged()) == place
    finally:
        home.erase()
    assert not place.exists()
    assert not home.path.exists()


SERVE = """
import sys, time
from pathlib import Path
from beat_actors.local.home import Home
from beat_actors.local.servers import UNSAFE_BUT_FAST, PostgresServer, ValkeyServer, running
home = Home(Path(sys.argv[1]))
with running(home, PostgresServer.at(home, UNSAFE_BUT_FAST), ValkeyServer.at(home)) as supervisor:
    print(*(one.pid for one in supervisor.status()), flush=True)
    sys.stdin.readline()
"""


@pytest.mark.exhaustive
def test_not_as_root_everything_runs_as_oneself(tmp_path: Path) -> None:
    command = [sys.executable, "-c", SERVE, str(tmp_path / ".beat")]
    uid = os.geteuid()
    if AS_ROOT:
        account = unprivileged()
        assert account
        uid = account.uid
        setpriv = shutil.which("setpriv")
        if setpriv is None:
            pytest.skip("setpriv is needed to become somebody else and still read the environment of root")
        command = [
            *(setpriv, f"--reuid={uid}", f"--regid={account.gid}", "--clear-groups"),
            *("--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search", *command),
        ]
        os.chown(tmp_path, uid, account.gid)
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout
    pids = [int(word) for word in process.stdout.readline().split()]
    if not pids:
        _, said = process.communicate()
        if "Permission denied" in said or "not permitted" in said:
            pytest.skip("this system lets nobody else run this Python")
        pytest.fail(said)
    assert {psutil.Process(pid).uids().effective for pid in pids} == {uid}
    _, said = process.communicate("\n")
    assert process.returncode == 0, said
    assert not any(runs(pid) for pid in pids)
    assert not (tmp_path / ".beat" / "elsewhere").exists()


def test_kill_9_leaves_no_server_and_the_data_root_can_be_used_again() -> None:
    with temporary_home() as home:
        home.unlock()
        process = subprocess.Popen(
            [sys.executable, "-c", SERVE, str(home.path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert process.stdout
        assert process.stdout.readline()
        everybody = family(process.pid)
        assert len(everybody) > 8, "PostgreSQL has helpers, and they count"
        process.kill()
        process.wait()
        home.lock()
        assert not any(runs(one) for one in everybody if one != process.pid)
        postgres = PostgresServer.at(home, UNSAFE_BUT_FAST)
        with running(home, postgres), psycopg.connect(postgres.url) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
