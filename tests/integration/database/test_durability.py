"""Processes refuse a PostgreSQL that may lose what it has committed."""

import pytest

from actors import parent
from beat_actors.database.durability import refuse_unsafe
from beat_actors.errors import BadSettings
from beat_actors.settings import Settings
from scheduler import daemon, deliverer
from tests.conftest import VAULT_KEYS

AWAY = "postgresql://beat:x@127.0.0.1:1/beat"


@pytest.fixture
def unsafe(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """The tests' own server, with fsync and full_page_writes off, in the environment too."""
    monkeypatch.setenv("BEAT_DATABASE_URL", str(settings.database_url))
    monkeypatch.setenv("BEAT_REDIS_URL", str(settings.redis_url))
    monkeypatch.setenv("BEAT_MESSAGE_KEYS", VAULT_KEYS)
    monkeypatch.setenv("BEAT_VAULT_KEYS", VAULT_KEYS)
    return settings


async def test_scheduler_and_deliverer_do_not_start(unsafe: Settings) -> None:
    for process in (daemon, deliverer):
        with pytest.raises(BadSettings, match=r"fsync = off, full_page_writes = off.*: .*may be lost"):
            await process.serve()


def test_workers_and_api_do_not_start(unsafe: Settings, capfd: pytest.CaptureFixture[str]) -> None:
    from api import __main__ as api

    for main in (parent.main, api.main):
        assert main([]) == 2
        assert "BEAT_DATABASE_MAY_LOSE_COMMITS=true" in capfd.readouterr().err


@pytest.mark.parametrize(
    "given", [{"environment": "rehearsal"}, {"database_may_lose_commits": True}, {"database_url": AWAY}]
)
def test_a_rehearsal_a_switch_and_a_server_that_is_away_start(unsafe: Settings, given: dict[str, object]) -> None:
    refuse_unsafe(unsafe.model_copy(update=given))
