"""What is submitted together is accepted together."""

from typing import Any

import pytest

from beat_actors.errors import StorageUnavailable
from beat_actors.requests import intake
from beat_actors.requests.intake import NewRequest
from beat_actors.requests.states import Priority


async def test_p1_a_batch_is_accepted_as_a_whole_or_not_at_all(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """One of its lanes is there, the other is to be made; what fails in between must leave nothing of the first."""
    await world.ask()

    async def away(*_: object) -> None:
        raise StorageUnavailable("PostgreSQL went away between two statements")

    monkeypatch.setattr(intake, "lane_ids", away)
    batch = [NewRequest("toy", "look", {"name": f"n{n}"}, priority=p) for n, p in enumerate(Priority)]
    with pytest.raises(StorageUnavailable):
        await intake.accept(world.engine.database, batch)
    assert len(await world.statuses()) == 1
