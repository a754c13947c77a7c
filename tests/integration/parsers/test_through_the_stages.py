"""What the stages have written of a provider's answers is what the same parser reads of the payloads that they have kept."""

from beat_actors.broker.turn import turn
from beat_actors.engine import Engine
from beat_actors.parsers.diff import diff
from beat_actors.parsers.versions import versions
from beat_actors.pipeline.ingest import ingest
from beat_actors.pipeline.process import process
from beat_actors.platforms.instagram import platform
from beat_actors.requests import intake
from beat_actors.requests.intake import NewRequest
from tests.integration.stages.conftest import admin, engine, url
from tests.stages import retrieve

__all__ = ["admin", "engine", "url"]


async def test_answers_that_went_through_the_stages_do_not_differ(engine: Engine) -> None:
    wanted = [
        NewRequest("instagram", "refresh_profile_by_handle", {"handle": f"creator_{n:06}", "posts": 12})
        for n in range(1, 6)
    ]
    await intake.accept(engine.database, wanted)
    while leased := (await turn(engine.database, platform)).leased:
        await process(engine, (await ingest(engine, (await retrieve(engine, leased)).next)).next)
    stored = [one for one in await versions(engine.database) if one.stored]
    assert {one.operation for one in stored} >= {"profile_by_handle"}
    for one in stored:
        found = await diff(engine.database, one.source, one.operation, last=100, threshold=0)
        assert found.payloads == sum(seen.answers for seen in one.stored)
        assert (found.changed, found.lost, found.gained, found.unreadable) == (0, 0, 0, 0), found
        assert found.equal > 0
        assert not found.exceeded
