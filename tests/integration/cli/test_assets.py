"""`beat assets` over the test's own database."""

import asyncio
import io
import sys

import psycopg
import pytest
from rich.console import Console

from beat_actors.assets.serving.places import key_of
from beat_actors.cli import output
from beat_actors.local.s3 import S3Server
from beat_actors.transport.objects import ObjectStore
from tests.integration.assets.backlog_rows import PENDING, SAMPLED, USED
from tests.integration.assets.stored import ACCOUNT, ASSET, BUCKET, OBJECT, content_of, emptied
from tests.integration.cli.conftest import Beat


@pytest.fixture
def rows(database_url: str) -> psycopg.Connection:
    return psycopg.connect(database_url, autocommit=True)


def test_s7_1_the_backlog_is_told_by_class_with_its_end(beat: Beat, rows: psycopg.Connection) -> None:
    assert beat("assets", "backlog").out.splitlines()[-1] == "no asset waits"
    rows.execute(PENDING, (4_000,))
    assert "the pace is not known yet" in beat("assets", "backlog").out
    rows.execute(SAMPLED, (100,))
    assert "none was fetched in the last minutes" in beat("assets", "backlog").out
    rows.execute(USED, (1_000, 100, 90_000_000))
    head, *classes, ends = beat("assets", "backlog").rows
    assert head == ["class", "pending", "oldest", "fetched/s", "MB", "done in", "late"]
    assert [(row[0], row[1], row[4]) for row in classes] == [
        (name, "1,000", "100") for name in ("avatar", "thumbnail", "story", "other")
    ]
    assert ends[0].startswith("4,000 wait; ")
    assert "10% of the fetches fail; the last has had its turn about 20" in ends[0]
    assert beat("assets", "backlog", "--json").json["pending"] == 4_000


def test_s7_2_assets_are_listed_shown_and_tried_again(beat: Beat, rows: psycopg.Connection) -> None:
    rows.execute(PENDING, (100,))
    rows.execute("UPDATE asset_log SET status = 'FAILED', failure = 'type' WHERE entity_key::int % 10 = 0")
    listed = beat("assets", "list", "--status", "failed", "--class", "story", "--limit", "3").rows
    assert [row[1:] for row in listed] == [
        ["FAILED", "story", f"instagram instagram_post {n}", "thumbnail_url", "", "type"] for n in (90, 70, 50)
    ]
    asset = listed[0][0]
    assert dict(beat("assets", "show", asset).rows)["status"] == "FAILED"
    assert beat("assets", "show", asset, "--json").json["class"] == "story"
    assert beat("assets", "retry", asset, "--reason", "fixed").out == "Queued 1 asset for retry\n"
    assert beat("assets", "retry", "--status", "failed", "--reason", "fixed").out == "Queued 9 assets for retry\n"
    assert beat("assets", "list", "--status", "failed").out == ""
    assert beat("assets", "list", "--json").json[0]["entity_key"] == "100"


def test_costs_are_told_by_account_and_class(beat: Beat, rows: psycopg.Connection) -> None:
    assert beat("assets", "costs").out.splitlines()[1:] == []
    rows.execute(USED, (1_000, 100, 90_000_000))
    rows.execute("UPDATE asset_usage SET puts = 800, stored = 80000000 WHERE class = 1")
    _, first, *_, said = beat("assets", "costs", "--days", "7").rows
    assert first == ["account0", "thumbnail", "1000", "100", "90.0", "800", "80.0", "0.0040", "0.0018"]
    assert said == ["in 7 days 0.0040 once, and 0.0018 a month for what was stored"]
    assert beat("assets", "costs", "--days", "93").code == 2


def test_the_media_of_a_subject_are_forgotten_and_allowed_again(beat: Beat, rows: psycopg.Connection) -> None:
    rows.execute(ACCOUNT, ("17", "creator"))
    rows.execute(ASSET, ("instagram_account", "17", "profile_pic_url", b"x" * 32))
    rows.execute(OBJECT, (b"x" * 32, 7))
    wanted = ("assets", "forget", "instagram", "creator", "--reason", "asked for")
    dry = beat(*wanted, "--dry-run").out
    counted = "1 assets, 1 objects and 0 smaller pictures {} deleted; 0 objects stay, because others have them"
    assert dry == f"instagram profiles 17: {counted.format('would be')}\n"
    assert beat(*wanted).out.splitlines()[0] == f"instagram profiles 17: {counted.format('are')}"
    assert beat(*wanted, "--json").json["assets"] == 0
    assert beat("assets", "list").out == ""
    allowed = beat("assets", "allow", "instagram", "17", "--reason", "taken back").out
    assert allowed == "the media of instagram profiles 17 are stored again\n"
    assert "were not forgotten" in beat("assets", "allow", "instagram", "17", "--reason", "taken back").out
    assert beat("assets", "forget", "instagram", "nobody", "--reason", "asked for").code == 4


@pytest.mark.slow
def test_rows_and_bucket_are_compared_and_the_exit_code_tells(
    beat: Beat, rows: psycopg.Connection, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "BEAT_ASSET_BUCKET is not set" in beat("assets", "check").err
    for name, value in s3_server.env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("BEAT_ASSET_BUCKET", BUCKET)
    monkeypatch.setenv("BEAT_S3_ENDPOINT_URL", s3_server.url)

    async def put(picture: bytes) -> None:
        store = ObjectStore(BUCKET, endpoint_url=s3_server.url)
        await emptied(store)
        await store.put(key_of(content_of(picture)), picture)
        await store.close()

    asyncio.run(put(b"orphan"))
    rows.execute(OBJECT, (b"x" * 32, 7))
    dry = beat("assets", "check", "--dry-run", "--older", "0", "--json")
    assert (dry.code, dry.json["missing"], dry.json["orphans"], dry.json["rows"]) == (1, 1, 1, 1)
    found = beat("assets", "check", "--older", "0")
    assert found.code == 1
    assert dict(found.rows)["orphans"] == "1 objects without a row, 0.0 MB; they are deleted within a minute"
    assert beat("assets", "check", "--older", "0").code == 0


@pytest.mark.slow
def test_a_screen_of_80_by_24_has_room_for_the_backlog_and_a_list(
    beat: Beat, rows: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows.execute(PENDING, (200_000,))
    rows.execute(SAMPLED, (100,))
    rows.execute(USED, (1_000, 100, 90_000_000))
    for command in (("backlog",), ("costs",), ("list", "--limit", "8")):
        written = io.StringIO()
        with monkeypatch.context() as screen:
            screen.setattr(sys.stdout, "isatty", lambda: True, raising=False)
            screen.setattr("beat_actors.cli.assets.out", Console(file=written, width=80, height=24, highlight=False))
            screen.setattr(output, "out", Console(file=written, width=80, height=24, highlight=False))
            assert beat("assets", *command).code == 0
        told = written.getvalue().splitlines()
        assert (max(map(len, told)) <= 80, len(told) <= 24) == (True, True), "\n".join(told)
