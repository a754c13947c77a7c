"""`beat provenance`: the observation of each field, as a table and as JSON."""

import asyncio
from datetime import UTC, datetime

from beat_actors.database import Database
from beat_actors.platforms.instagram import InstagramAccount
from beat_actors.settings import Settings
from tests.integration.cli.conftest import Beat
from tests.observing import observe


def test_s6_11_the_provenance_of_each_field_is_printed(beat: Beat, settings: Settings) -> None:
    async def keep() -> None:
        database = Database(settings, name="test")
        record = InstagramAccount(profile_id="42", handle="creator", followers=5)
        await observe(database, "instagram", record, at=datetime(2026, 1, 31, 12, tzinfo=UTC), fetch=7, source="lama")
        await database.close()

    asyncio.run(keep())
    rows = {row[0]: row[1:] for row in beat("provenance", "instagram", "creator").rows}
    assert rows["followers"][:3] == ["5", "2026-01-31T12:00:00Z", "lama"]
    assert rows["biography"][:3] == ["unknown", "", ""]
    found = beat("provenance", "instagram", "creator", "--field", "followers", "--json").json
    assert list(found["fields"]) == ["followers"]
    assert (found["fields"]["followers"]["fetch"], found["fields"]["followers"]["state"]) == (7, "known")
    assert beat("provenance", "instagram", "nobody").code == 4
    assert beat("provenance", "instagram", "creator", "--field", "age").code == 4
