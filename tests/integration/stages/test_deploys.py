"""The drill of a bad deploy: it is named when it runs, finds what it has written by that name, and is undone."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from beat_actors.engine import Engine
from beat_actors.errors import BadInput, NotFound
from beat_actors.restoring.blast import blast
from beat_actors.restoring.selection import Selection
from beat_actors.transport.http import ProviderClient
from tests.integration.restoring.test_restore import restored, undone
from tests.integration.stages.test_gate import misread, only, refresh
from tests.observing import rows
from tests.worlds import engine_with

GOOD, BAD = "4f2a9c1d0e8b7a65", "9b01dd47c3fe2210"
HANDLES = [f"creator_{number:06}" for number in range(1, 9)]
STATE = "SELECT handle, followers, biography FROM instagram_account ORDER BY handle"
SOFTWARE = "SELECT DISTINCT b.software FROM profile_log l JOIN parser_build b ON b.id = l.build_id ORDER BY 1"


@pytest.fixture
async def deployed(engine: Engine) -> AsyncIterator[dict[str, Engine]]:
    """Processes of two deploys of the same version."""
    found = {}
    for name in (GOOD, BAD):
        settings = engine.settings.model_copy(update={"deploy": name})
        found[name] = engine_with(settings, ProviderClient(settings))
    yield found
    for one in found.values():
        await one.close()


async def test_s8_5_and_s8_6_a_deploy_is_undone_by_its_name(
    engine: Engine, deployed: dict[str, Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    await only(engine, "lama")
    since = datetime.now(UTC) - timedelta(minutes=10)
    for handle in HANDLES:
        await refresh(deployed[GOOD], handle)
    truth = await rows(engine.database, STATE)
    with monkeypatch.context() as patch:
        misread(patch, biography="a bug")
        for handle in HANDLES[:3]:
            await refresh(deployed[BAD], handle)
    for handle in HANDLES[5:]:
        await refresh(deployed[GOOD], handle)
    assert [(handle, words) for handle, _, words in await rows(engine.database, STATE) if words == "a bug"] == [
        (handle, "a bug") for handle in HANDLES[:3]
    ]
    names = [software.partition("+")[2] for (software,) in await rows(engine.database, SOFTWARE)]
    assert names == [GOOD, BAD]
    selection = Selection(since=since, kind="profiles", deploy=BAD[:8])
    reached = await blast(engine.database, selection)
    assert (reached.entities, reached.kinds[0].wrong) == (3, 3)
    assert {one.key for one in reached.kinds[0].examples} <= {
        key
        for (key,) in await rows(engine.database, "SELECT profile_id FROM instagram_account WHERE biography = 'a bug'")
    }
    calls = await rows(engine.database, "SELECT count(*) AS n FROM scrape_fetch")
    wrong = await rows(engine.database, STATE)
    done = await restored(engine.database, selection, apply=True)
    assert (done.state, done.entities, done.selection.deploy) == ("DONE", 3, BAD[:8])
    assert await rows(engine.database, STATE) == truth
    assert (await undone(engine.database, done.token)).undone == 3
    assert await rows(engine.database, STATE) == wrong
    assert await rows(engine.database, "SELECT count(*) AS n FROM scrape_fetch") == calls


async def test_s8_5_the_name_of_a_deploy_is_whole_or_begins_only_one(
    engine: Engine, deployed: dict[str, Engine]
) -> None:
    await only(engine, "lama")
    await refresh(deployed[GOOD], HANDLES[0])
    since = datetime.now(UTC) - timedelta(minutes=10)

    async def entities(deploy: str) -> int:
        return (await blast(engine.database, Selection(since=since, kind="profiles", deploy=deploy))).entities

    assert await entities(GOOD) == await entities(GOOD[:7]) == 1
    for unknown in (GOOD[:6], BAD):
        with pytest.raises(NotFound, match="no answer was read by the deploy"):
            await entities(unknown)
    settings = engine.settings.model_copy(update={"deploy": f"{GOOD[:7]}000000"})
    alike = engine_with(settings, ProviderClient(settings))
    await refresh(alike, HANDLES[0])
    await alike.close()
    with pytest.raises(BadInput, match="is how several deploys begin"):
        await entities(GOOD[:7])
    assert await entities(GOOD) == 1
