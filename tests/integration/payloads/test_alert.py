"""Days that do not leave PostgreSQL are told, with what the bucket said and what will become of them."""

import pytest

from beat_actors.payloads.archive import Archiver
from beat_actors.watch.payloads import unarchived
from tests.integration.payloads.conftest import Archive

LATE = "INSERT INTO sweep (name, every, deadline, ended_at, ms, error) VALUES ('archive', 60, 180, now(), 1, 'the bucket answers AccessDenied')"


async def test_days_that_stay_are_reported_until_they_have_left(
    archive: Archive, archiver: Archiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    for ago in (1, 3, 4):
        day = archive.fill(ago, range(ago * 10, ago * 10 + 3))
    archive.admin.execute(LATE)
    (told,) = await unarchived(archive.database)
    assert (told.key, told.severity) == ("payloads:unarchived", "warning")
    assert told.cause.startswith(f"raw payloads of 2 days, from {day} on,")
    assert "AccessDenied" in told.cause
    settings = archive.database.settings
    monkeypatch.setattr(archive.database, "settings", settings.model_copy(update={"raw_payload_days": 5}))
    assert [alert.severity for alert in await unarchived(archive.database)] == ["critical"]
    monkeypatch.setattr(archive.database, "settings", settings.model_copy(update={"raw_payload_archive": False}))
    assert await unarchived(archive.database) == []
    monkeypatch.setattr(archive.database, "settings", settings)
    await archiver.run(archive.database)
    assert await unarchived(archive.database) == []
