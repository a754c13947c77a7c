"""What the rehearsal of `beat up` waits for before it begins."""

from beat_actors.broker.turn import turn
from beat_actors.cli import report
from beat_actors.database import Database
from beat_actors.platforms.instagram import platform
from beat_actors.requests import intake
from beat_actors.requests.intake import NewRequest


async def unfinished(database: Database) -> object:
    async with database.transaction() as transaction:
        return await transaction.only(report.UNFINISHED)


async def test_it_waits_for_no_fetch_that_needs_a_credential_first(database: Database) -> None:
    await intake.accept(
        database,
        [NewRequest("instagram", "refresh_profile_by_handle", {"handle": "creator_000001", "posts": 0})],
    )
    assert await unfinished(database) == 1
    assert not (await turn(database, platform)).leased
    assert await unfinished(database) == 0
