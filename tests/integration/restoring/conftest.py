import pytest

from beat_actors.database import Database
from tests.integration.restoring.worlds import World


@pytest.fixture
def world(database: Database) -> World:
    return World(database)
