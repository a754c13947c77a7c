"""`beat payloads` and what `beat doctor` says of the bucket."""

import asyncio
from typing import Any

import psycopg
import pytest

from beat_actors.database import Database
from beat_actors.local.s3 import S3Server
from beat_actors.payloads.archive import Archiver
from beat_actors.pipeline.records import pack
from beat_actors.settings import Settings
from tests.integration.cli.conftest import Beat

ANSWERED = """
WITH mine AS (
    INSERT INTO scrape_fetch (request_id, platform, operation, params, lane_id, priority, stage)
    VALUES (7, 'instagram', 'look', '{}', 1, 1, 'DONE') RETURNING id)
INSERT INTO raw_payload (fetch_id, created_at, attempt, source, body)
SELECT id, (now() AT TIME ZONE 'UTC')::date - 3 + interval '12 hours', 1, 'lama', %s FROM mine RETURNING fetch_id
"""


@pytest.fixture
def bucket(beat: Beat, with_bucket: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """The command line is told of it."""
    for name in ("s3_endpoint_url", "s3_bucket", "s3_prefix"):
        monkeypatch.setenv(f"BEAT_{name.upper()}", getattr(with_bucket, name))
    return with_bucket


@pytest.fixture
def fetch(bucket: Settings, database_url: str) -> int:
    """A fetch of request 7, whose answer lies in the bucket alone."""
    with psycopg.connect(database_url, autocommit=True) as admin:
        with admin.transaction():
            admin.execute("SET LOCAL session_replication_role = replica")
            (fetch,) = admin.execute(ANSWERED, (pack(b'{"of": "\\u001b[31m"}'),)).fetchone() or (0,)
        admin.execute("SELECT beat_make_partition('raw_payload', (now() AT TIME ZONE 'UTC')::date - 3)")

    async def archive() -> None:
        database = Database(bucket, name="test")
        assert (await Archiver().run(database)).count == 1
        await database.close()

    asyncio.run(archive())
    return int(fetch)


def test_where_payloads_are_what_they_hold_and_their_end(beat: Beat, fetch: int, database_url: str) -> None:
    days = beat("payloads", "--json").json
    assert [(day["objects"], day["payloads"]) for day in days if day["payloads"]] == [(1, 1)]
    assert len(beat("payloads").rows) == len(days)
    assert beat("payloads", "show", str(fetch)).json == {"of": "\x1b[31m"}
    assert beat("payloads", "erase", "7").code == 2  # without a reason
    assert beat("payloads", "erase", "--reason", "r").code == 2
    done = beat("payloads", "erase", "7", "--reason", "asked for")
    assert done.out.startswith("1 payloads erased; 1 objects rewritten or deleted")
    assert beat("payloads", "show", str(fetch)).code == 4
    with psycopg.connect(database_url) as admin:
        found = admin.execute("SELECT target, detail->>'reason' FROM audit_log WHERE action = 'payloads.erase'")
        assert found.fetchall() == [("request/7", "asked for")]


def test_a_payload_in_a_bucket_that_is_away_is_said_to_be_away(
    beat: Beat, fetch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BEAT_S3_ENDPOINT_URL", "http://127.0.0.1:1")
    said = beat("payloads", "show", str(fetch))
    assert said.code == 3
    assert "does not answer" in said.err
    monkeypatch.delenv("BEAT_S3_BUCKET")
    assert "BEAT_S3_BUCKET is not set" in beat("payloads", "show", str(fetch)).err


def s3_of(beat: Beat) -> Any:
    return {found["check"]: found for found in beat("doctor", "--json").json}["S3"]


def test_doctor_writes_reads_and_deletes_and_says_what_is_refused(
    beat: Beat, bucket: Settings, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = s3_of(beat)
    assert (found["ok"], found["found"]) == (
        True,
        f"the bucket beat-assets at {s3_server.url} may be written, read and deleted from",
    )
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "guessed")
    monkeypatch.setenv("BEAT_S3_REGION", "eu-west-1")  # another region is another client
    found = s3_of(beat)
    assert not found["ok"]
    assert "SignatureDoesNotMatch" in found["found"]
    assert "AWS_SECRET_ACCESS_KEY" in found["fix"]
    monkeypatch.setenv("BEAT_S3_ENDPOINT_URL", "http://127.0.0.1:1")
    assert "BEAT_S3_ENDPOINT_URL" in s3_of(beat)["fix"]
    monkeypatch.delenv("BEAT_S3_BUCKET")
    found = s3_of(beat)
    assert (found["ok"], found["found"]) == (True, "no bucket is named, so raw payloads stay in PostgreSQL")


def test_doctor_looks_at_the_bucket_of_assets_as_well(
    beat: Beat, bucket: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def found() -> Any:
        return {found["check"]: found for found in beat("doctor", "--json").json}["asset bucket"]

    assert found()["found"] == "no bucket is named, so media are not copied"
    monkeypatch.setenv("BEAT_ASSET_BUCKET", "media-of-a-test")
    assert (found()["ok"], found()["found"].partition(" at ")[0]) == (True, "the bucket media-of-a-test")
    monkeypatch.setenv("BEAT_S3_ENDPOINT_URL", "http://127.0.0.1:1")
    assert "BEAT_S3_ENDPOINT_URL" in found()["fix"]
