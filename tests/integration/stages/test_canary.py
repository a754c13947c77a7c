"""The next parser reads a share of the answers, the same ones at each repeat, and its rows say so."""

import dataclasses
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from beat_actors.broker.turn import turn
from beat_actors.engine import Engine, check_canaries
from beat_actors.errors import BadSettings
from beat_actors.pipeline.ingest import ingest
from beat_actors.platforms.instagram import InstagramAccount, platform
from beat_actors.platforms.interface import Endpoint, FetchSpec, NextParser, Parsed
from beat_actors.restoring.blast import blast
from beat_actors.restoring.selection import Selection
from beat_actors.settings import Settings
from tests.integration.stages.test_gate import ask, go_on, only
from tests.observing import rows
from tests.stages import retrieve

SOURCE, OPERATION, SHARE = "lama", "profile_by_handle", 0.4
HANDLES = [f"creator_{number:06}" for number in range(1, 13)]
READ_BY = """
SELECT f.id, f.parser_version, a.parser_version AS of_row, a.following FROM scrape_fetch f
JOIN instagram_account a ON a.handle = f.params->>'handle' WHERE f.operation = 'profile_by_handle' ORDER BY 1
"""


def falsified(endpoint: Endpoint) -> Any:
    """A parser with a bug that no rule sees."""

    def parse(body: bytes, spec: FetchSpec) -> Parsed:
        parsed = endpoint.parse(body, spec)
        records = [
            msgspec.structs.replace(one, following=4711) if isinstance(one, InstagramAccount) else one
            for one in parsed.records
        ]
        return dataclasses.replace(parsed, records=records)

    return parse


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"parser_canary": {f"{SOURCE}/{OPERATION}": SHARE}})


@pytest.fixture
def deployed(monkeypatch: pytest.MonkeyPatch) -> tuple[Endpoint, Endpoint]:
    """The endpoint without and with its next parser."""
    endpoints = platform.sources[SOURCE].endpoints
    old = endpoints[OPERATION]
    new = dataclasses.replace(old, next_parser=NextParser(falsified(old), old.version + 1))
    monkeypatch.setitem(endpoints, OPERATION, new)  # type: ignore[arg-type]
    return old, new


async def test_it_writes_for_its_share_and_the_blast_radius_is_that_share(
    engine: Engine, deployed: tuple[Endpoint, Endpoint]
) -> None:
    old, new = deployed
    await only(engine, SOURCE)
    for handle in HANDLES:
        await ask(engine, handle)
    await go_on(engine)
    found = await rows(engine.database, READ_BY)
    assert len(found) == len(HANDLES)
    for fetch, version, of_row, following in found:
        assert version == of_row == new.reading(fetch, SHARE).version
        assert (following == 4711) == (version == old.version + 1)
    canaries = sum(version == old.version + 1 for _, version, _, _ in found)
    assert 0 < canaries < len(found)
    since = datetime.now(UTC) - timedelta(hours=1)
    selection = Selection(since=since, platform="instagram", kind="profiles", source=SOURCE)
    reached = await blast(engine.database, selection)
    assert reached.entities == len(HANDLES)
    selection = Selection(since=since, kind="profiles", source=SOURCE, parser_version=old.version + 1)
    assert (await blast(engine.database, selection)).entities == canaries


async def test_what_it_cannot_read_is_quarantined_with_its_version(
    engine: Engine, deployed: tuple[Endpoint, Endpoint], monkeypatch: pytest.MonkeyPatch
) -> None:
    old, _ = deployed

    def broken(_body: bytes, _spec: FetchSpec) -> Parsed:
        raise KeyError("edges")

    new = dataclasses.replace(old, next_parser=NextParser(broken, old.version + 1))
    monkeypatch.setitem(platform.sources[SOURCE].endpoints, OPERATION, new)  # type: ignore[arg-type]
    await only(engine, SOURCE)
    for handle in HANDLES[:10]:
        await ask(engine, handle)
    came = (await retrieve(engine, (await turn(engine.database, platform)).leased)).next
    await ingest(engine, came)
    versions = {fetch: new.reading(fetch, SHARE).version for fetch in came}
    unread = await rows(engine.database, "SELECT fetch_id, parser_version FROM quarantine ORDER BY 1")
    assert unread == sorted((fetch, version) for fetch, version in versions.items() if version != old.version)
    assert 0 < len(unread) < len(came)


def test_the_share_is_that_of_all_fetches_and_the_versions_differ(deployed: tuple[Endpoint, Endpoint]) -> None:
    old, new = deployed
    for share in (0.0, 0.05, 0.4, 1.0):
        read = sum(new.reading(fetch, share).version != old.version for fetch in range(1, 20_001))
        assert abs(read / 20_000 - share) < 0.01
    assert new.reading(1, 1.0).tells is old.tells
    with pytest.raises(ValueError, match="could not be told apart"):
        dataclasses.replace(old, next_parser=NextParser(old.parse, old.version))


def test_a_canary_without_a_next_parser_is_refused(settings: Settings, deployed: tuple[Endpoint, Endpoint]) -> None:
    del deployed
    check_canaries(settings)
    wrong = settings.model_copy(update={"parser_canary": {f"{SOURCE}/posts_by_id": 0.1}})
    with pytest.raises(
        BadSettings, match=f"no next parser is declared for {SOURCE}/posts_by_id; one is for: {SOURCE}/"
    ):
        check_canaries(wrong)
