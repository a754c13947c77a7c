"""P8: how Beat tells of a server that it cannot reach or enter: no user and no password anywhere, and no host to callers of the API."""

from collections.abc import AsyncIterator
from urllib.parse import urlsplit, urlunsplit

import falcon.testing
import pytest
import structlog
from pydantic import PostgresDsn, RedisDsn

from api.app import create_app
from api.services import Services
from beat_actors.access.scopes import Scope
from beat_actors.cli.app import invoke
from beat_actors.database import Database
from beat_actors.logs import configure
from beat_actors.masking import mask
from beat_actors.settings import Settings
from tests.integration.api.conftest import Keys, bearer, new_key

__all__ = ["new_key"]
SECRETS = ("ursula", "hunter2")
DEAD = "127.0.0.1:1"


def entered(url: str, host: str | None = None) -> str:
    """The URL with a user that does not exist."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=f"ursula:hunter2@{host or parts.netloc.rpartition('@')[2]}"))


@pytest.fixture(params=["a wrong login", "a dead host"])
def host(request: pytest.FixtureRequest) -> str | None:
    return DEAD if request.param == "a dead host" else None


@pytest.fixture
def broken(settings: Settings, host: str | None) -> Settings:
    changed = {
        "database_url": PostgresDsn(entered(str(settings.database_url), host)),
        "redis_url": RedisDsn(entered(str(settings.redis_url), host)),
        "database_direct_url": None,
    }
    return settings.model_copy(update=changed)


@pytest.fixture
async def conductor(broken: Settings) -> AsyncIterator[falcon.testing.ASGIConductor]:
    async def silent(_platform: str) -> bool:
        return False

    app = create_app(lambda: Services(Database(broken, name="api"), silent, lambda: silent("")))
    async with falcon.testing.ASGIConductor(app) as conductor:
        yield conductor


async def test_p8_the_api_names_neither_user_nor_password_nor_host(
    conductor: falcon.testing.ASGIConductor, new_key: Keys, broken: Settings
) -> None:
    headers = bearer(await new_key(Scope.ADMIN))
    with structlog.testing.capture_logs() as captured:
        answers = [
            await conductor.get(path, headers=headers) for path in ("/v1/scrape-requests", "/readyz", "/v1/queues")
        ]
    assert [answer.status_code for answer in answers] == [503, 503, 503]
    port = str(broken.database_url.hosts()[0]["port"])
    for answer in answers:
        assert not any(word in answer.text for word in (*SECRETS, "127.0.0.1", f":{port}", "FATAL", "psycopg"))
    assert captured
    assert not any(secret in repr(captured) for secret in SECRETS)


@pytest.mark.parametrize("line", [("requests",), ("limits",), ("doctor",), ("queues",)])
def test_p8_the_command_line_names_neither_user_nor_password(
    line: tuple[str, ...], broken: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("BEAT_DATABASE_URL", str(broken.database_url))
    monkeypatch.setenv("BEAT_REDIS_URL", str(broken.redis_url))
    for name in ("vault_keys", "message_keys"):
        monkeypatch.setenv(f"BEAT_{name.upper()}", getattr(broken, name).get_secret_value())
    assert invoke(line) != 0
    told = capsys.readouterr()
    assert "answer" in told.out + told.err
    assert not any(secret in told.out + told.err for secret in SECRETS)


def test_p8_every_process_logs_without_logins(settings: Settings) -> None:
    before = structlog.get_config()
    try:
        configure(settings, service="test")
        *_, last, _renderer = structlog.get_config()["processors"]
        assert last is mask
    finally:
        structlog.configure(**before)
        structlog.contextvars.clear_contextvars()
