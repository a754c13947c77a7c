"""`beat parsers`: what is printed, and the exit codes that CI relies on."""

import asyncio
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
from dataclasses import replace
from fcntl import ioctl
from typing import Any

import msgspec
import psycopg
import pytest

from beat_actors.database import Database
from beat_actors.platforms.interface import NextParser
from beat_actors.platforms.registry import source_named
from beat_actors.settings import Settings
from tests.conformance.recordings import of_platforms
from tests.integration.cli.conftest import Beat
from tests.integration.parsers.conftest import Deploy, Stored, deploy, each

__all__ = ["deploy"]
POSTS = next(
    one for _, table in of_platforms() for one in table.GOOD if (one.source, one.operation) == ("api23", "posts_by_id")
)
OPERATION = ("api23", "posts_by_id")
READER = """
CREATE ROLE {name} LOGIN PASSWORD 'reader';
GRANT CONNECT ON DATABASE {database} TO {name};
GRANT USAGE ON SCHEMA public TO {name};
GRANT SELECT ON scrape_fetch, raw_payload, archived_payload, payload_object, profile_log, post_log TO {name};
"""


NEW_VERSION = """
import sys
from dataclasses import replace
import msgspec
from beat_actors.platforms.registry import source_named
endpoints = source_named("api23")[1].endpoints
old = endpoints["posts_by_id"]
def parse(body, spec):
    parsed = old.parse(body, spec)
    return replace(parsed, records=[msgspec.structs.replace(one, likes=one.likes * 1000, caption="c" * 300) for one in parsed.records])
endpoints["posts_by_id"] = replace(old, parse=parse)
from beat_actors.cli.app import invoke
"""
PROGRAM = f'{NEW_VERSION}sys.exit(invoke(["parsers", "diff", "api23", "posts_by_id"]))'
SHADOW = f"""{NEW_VERSION}
import signal
from beat_actors.parsers import shadow
signal.signal(signal.SIGINT, signal.default_int_handler)  # it is ignored below a shell that runs the tests in the background
shadow.SETTLED = 0
sys.exit(invoke(["parsers", "shadow", "api23", "posts_by_id", "--every", "1", "--json"]))
"""


@pytest.fixture
def payloads(settings: Settings, database_url: str) -> int:
    """How many answers with posts are stored."""

    async def keep() -> None:
        database = Database(settings, name="test")
        with psycopg.connect(database_url, autocommit=True) as admin:
            (now,) = admin.execute("SELECT clock_timestamp() - interval '1 hour'").fetchone() or ()
            stored = Stored(database, admin, now)
            for _ in range(3):
                await stored.keep(*OPERATION, POSTS.body(), POSTS.params)
        await database.close()

    asyncio.run(keep())
    return 3


def times_1000(post: Any) -> Any:
    return msgspec.structs.replace(post, likes=post.likes * 1000)


def test_an_unchanged_parser_exits_with_0_and_a_broken_one_with_1(beat: Beat, payloads: int, deploy: Deploy) -> None:
    said = beat("parsers", "diff", *OPERATION, "--last", "10000")
    assert (said.code, said.rows[-1]) == (0, ["passed: no record differs"])
    found = beat("parsers", "diff", *OPERATION, "--json").json
    assert (found["payloads"], found["fields"], found["exceeded"]) == (payloads, [], False)
    deploy(*OPERATION, each(times_1000))
    said = beat("parsers", "diff", *OPERATION)
    assert said.code == 1
    assert ["field", "changed", "added", "removed", "share", "largest"] in said.rows
    count = f"{found['records']}"
    assert ["posts.likes", count, "0", "0", "100.00%", "99,900.00%"] in said.rows
    assert said.rows[-1][0].startswith(f"NOT PASSED: {count} of {count} stored records (100.00%) change a metric")
    assert beat("parsers", "diff", *OPERATION, "--threshold", "1").code == 0
    (likes,) = beat("parsers", "diff", *OPERATION, "--json").json["fields"]
    assert [one["after"] == one["before"] * 1000 for one in likes["examples"]] == [True] * 3
    hidden = beat("parsers", "diff", *OPERATION, "--no-examples")
    assert hidden.code == 1
    assert str(likes["examples"][0]["key"]) not in hidden.out
    assert beat("parsers", "diff", *OPERATION, "--no-examples", "--json").json["fields"][0]["examples"] == []


def test_a_lost_record_exits_with_1_and_is_named(beat: Beat, payloads: int, deploy: Deploy) -> None:
    deploy(*OPERATION, each(lambda post: None if post.post_id == "1175103047869201094" else post))
    said = beat("parsers", "diff", *OPERATION, "--threshold", "1")
    assert said.code == 1
    assert ["lost", "post_log 1175103047869201094", "", ""] in said.rows
    assert said.rows[-1][0].startswith(f"NOT PASSED: {payloads} stored records are lost;")


@pytest.mark.slow
def test_what_comes_is_compared_while_the_shadow_runs_and_ctrl_c_shows_it(
    beat: Beat, settings: Settings, database_url: str
) -> None:
    """In a process of its own, with a parser that reads other likes, as in the checkout of a new version."""
    with subprocess.Popen(
        [sys.executable, "-c", SHADOW], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=dict(os.environ)
    ) as running:
        assert running.stderr is not None
        assert running.stderr.readline() == "beat: 0 payloads compared\n"

        async def keep() -> None:
            database = Database(settings, name="test")
            with psycopg.connect(database_url, autocommit=True) as admin:
                (now,) = admin.execute("SELECT clock_timestamp() - interval '1 second'").fetchone() or ()
                await Stored(database, admin, now).keep(*OPERATION, POSTS.body(), POSTS.params)
            await database.close()

        asyncio.run(keep())
        while running.stderr.readline() == "beat: 0 payloads compared\n":
            pass
        running.send_signal(signal.SIGINT)
        out, _ = running.communicate(timeout=60)
    found = msgspec.json.decode(out)
    assert (running.returncode, found["payloads"]) == (1, 1)
    assert found["beyond"] == found["records"] > 0
    assert {one["field"] for one in found["fields"]} == {"posts.likes", "posts.caption"}


def test_bad_input_exits_with_2_and_nothing_to_compare_with_4(beat: Beat, monkeypatch: pytest.MonkeyPatch) -> None:
    assert beat("parsers", "diff", "nobody", "x").code == 4  # as wherever a name is unknown
    said = beat("parsers", "diff", "api23", "x")
    assert (said.code, "it has: comments_by_post" in said.err) == (4, True)
    for wrong in (("--last", "0"), ("--last", "many"), ("--threshold", "2"), ("--threshold", "-1")):
        assert beat("parsers", "diff", *OPERATION, *wrong).code == 2
    assert beat("parsers", "diff", *OPERATION).code == 4
    assert beat("parsers", "shadow", "nobody", "x").code == 4
    for wrong in (("--minutes", "0"), ("--every", "0"), ("--most", "0"), ("--threshold", "2")):
        assert beat("parsers", "shadow", *OPERATION, *wrong).code == 2
    monkeypatch.setenv("BEAT_API_URL", "http://127.0.0.1:1")
    said = beat("parsers", "diff", *OPERATION)
    assert (said.code, "works on this machine alone, not over an API" in said.err) == (2, True)


def test_the_list_has_every_parser_and_what_has_read_the_last_day(beat: Beat, payloads: int) -> None:
    found = {(one["source"], one["operation"]): one for one in beat("parsers", "list", "--json").json}
    assert len(found) > 50
    assert [(seen["version"], seen["answers"]) for seen in found[OPERATION]["stored"]] == [(1, payloads)]
    assert ["tiktok", *OPERATION, "1", "", f"1 ({payloads})"] in beat("parsers").rows


def test_the_list_says_since_when_and_why_a_next_parser_is_stopped(
    beat: Beat, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    endpoints = source_named("api23")[1].endpoints
    old = endpoints["posts_by_id"]
    monkeypatch.setitem(endpoints, "posts_by_id", replace(old, next_parser=NextParser(old.parse, 2)))  # type: ignore[arg-type]
    assert ["tiktok", *OPERATION, "1", "2", ""] in beat("parsers").rows
    with psycopg.connect(database_url, autocommit=True) as admin:
        admin.execute(
            "INSERT INTO trust_cohort (platform, source, operation, parser_version, cohort, breaker, open_since, why)"
            " VALUES ('tiktok', 'api23', 'posts_by_id', 2, '', '', '2026-01-02T03:04:05Z', 'half of it is odd')"
        )
    stopped = "2, stopped 2026-01-02T03:04:05Z: half of it is odd"
    assert ["tiktok", *OPERATION, "1", stopped, ""] in beat("parsers").rows
    (found,) = [one for one in beat("parsers", "--json").json if (one["source"], one["operation"]) == OPERATION]
    assert (found["following"], found["stopped_why"]) == (2, "half of it is odd")


def test_a_login_that_may_only_read_is_enough(
    beat: Beat, payloads: int, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with psycopg.connect(database_url, autocommit=True) as admin:
        name = f"reader_{admin.info.dbname}"
        admin.execute(READER.format(name=name, database=admin.info.dbname))
        try:
            _, _, server = database_url.rpartition("@")
            url = f"postgresql://{name}:reader@{server}?target_session_attrs=any"
            monkeypatch.setenv("BEAT_DATABASE_URL", f"{url}&options=-cdefault_transaction_read_only%3Don")
            for key in ("BEAT_VAULT_KEYS", "BEAT_MESSAGE_KEYS", "BEAT_DATABASE_OWNER_URL"):
                monkeypatch.delenv(key)
            monkeypatch.setenv("BEAT_REDIS_URL", "redis://localhost:1")
            said = beat("parsers", "diff", *OPERATION)
            assert (said.code, said.err, said.rows[-1:]) == (0, "", [["passed: no record differs"]])
            assert beat("parsers", "list").code == 0
            said = beat("parsers", "shadow", *OPERATION, "--minutes", "0.02", "--every", "1")
            assert (said.code, "0 payloads compared\n" in said.err) == (4, True)
        finally:
            admin.execute(f"DROP OWNED BY {name}")
            admin.execute(f"DROP ROLE {name}")


def test_no_line_is_longer_than_a_terminal_of_80_columns(beat: Beat, payloads: int) -> None:
    del beat  # it has set the variables
    parent, child = pty.openpty()
    ioctl(child, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    environment = {**os.environ, "TERM": "dumb"}
    ran = subprocess.Popen([sys.executable, "-c", PROGRAM], stdout=child, stderr=child, stdin=child, env=environment)
    os.close(child)
    said = b""
    while chunk := _read(parent):
        said += chunk
    os.close(parent)
    lines = said.decode().splitlines()
    assert ran.wait(60) == 1, said
    assert any(line.startswith("posts.likes") for line in lines), lines
    assert any(line.startswith("NOT PASSED") for line in lines)
    assert max(map(len, lines)) <= 80, lines


def _read(parent: int) -> bytes:
    try:
        return os.read(parent, 65536)
    except OSError:  # the program has ended
        return b""
