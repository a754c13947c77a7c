"""Every row names the observation that it is of: source, time, request, fetch, the parser with its version, and the version of Beat."""

from typing import Any

import pytest

from beat_actors.broker.turn import turn
from beat_actors.engine import Engine
from beat_actors.pipeline import builds, ingest
from beat_actors.platforms.instagram import platform
from beat_actors.requests import intake
from beat_actors.requests.intake import NewRequest
from tests.observing import rows
from tests.stages import retrieve

HANDLE = "creator_000001"
FLOW = "refresh_profile_by_handle"
BUILDS = "SELECT software, platform, source, operation, parser_version FROM parser_build ORDER BY id"
LOGGED = """
SELECT l.source = f.source AS of_source, l.observed_at = f.payload_at AS of_time, l.request_id = f.request_id AS of_request,
    l.parser_version = b.parser_version AS of_parser, b.source = f.source AS by_source, b.operation = f.operation AS by_operation, b.software, count(*)
FROM {table} l JOIN scrape_fetch f ON f.id = l.{fetch} JOIN parser_build b ON b.id = l.build_id GROUP BY 1, 2, 3, 4, 5, 6, 7 ORDER BY 7
"""


async def scrape(engine: Engine, posts: int) -> None:
    """One request with the posts that come with a profile, to its end."""
    await intake.accept(
        engine.database, [NewRequest("instagram", FLOW, {"handle": HANDLE, "posts": posts}, force=True)]
    )
    for _ in range(20):
        stored = await retrieve(engine, (await turn(engine.database, platform)).leased)
        await ingest.ingest(engine, stored.next, go_on=True)
        if await rows(engine.database, "SELECT 1 FROM scrape_request_log HAVING bool_and(status = 'COMPLETE')"):
            return
    raise AssertionError("the request does not end")


def told(software: str, rows_of_it: int) -> tuple[Any, ...]:
    return (True, True, True, True, True, True, software, rows_of_it)


async def test_s8_1_and_s8_2_every_observation_is_logged_with_its_source_time_parser_and_request(
    engine: Engine,
) -> None:
    await scrape(engine, 12)
    for log in ("profile_log", "post_log"):
        ((*_, count),) = found = await rows(engine.database, LOGGED.format(table=log, fetch="fetch_id"))
        assert found == [told(builds.software(None), count)]
        assert await rows(engine.database, f"SELECT count(*), bool_and(dimensions <> '{{}}') FROM {log}") == [
            (count, True)
        ]


async def test_s6_11_every_row_names_its_parser_and_the_software_and_two_versions_run_at_once(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    await scrape(engine, 12)
    monkeypatch.setattr(ingest, "software", lambda _deploy: "9.9.9")
    await scrape(engine, 0)
    versions = {row[0] for row in await rows(engine.database, BUILDS)}
    assert versions == {builds.software(None), "9.9.9"}
    for table, fetch in (
        ("instagram_account", "observed_fetch"),
        ("instagram_post", "observed_fetch"),
        ("profile_log", "fetch_id"),
    ):
        without = await rows(engine.database, f"SELECT count(*) FROM {table} WHERE build_id IS NULL OR {fetch} IS NULL")
        assert without == [(0,)]
        found = await rows(engine.database, LOGGED.format(table=table, fetch=fetch))
        assert found == [told(row[6], row[7]) for row in found]
    logged = await rows(engine.database, LOGGED.format(table="profile_log", fetch="fetch_id"))
    assert sorted(row[6] for row in logged) == sorted(versions)
