"""A command line over the test's own database and Redis prefix, run in this process."""

import asyncio
import io
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from beat_actors.cli.app import invoke
from beat_actors.database import Database
from beat_actors.requests import intake
from beat_actors.requests.intake import Accepted, NewRequest
from beat_actors.settings import Settings


@dataclass(frozen=True)
class Said:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def rows(self) -> list[list[str]]:
        return [line.split("\t") for line in self.out.splitlines()]


Beat = Callable[..., Said]


@pytest.fixture
def beat(settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Beat:
    """Run a command line: `beat("requests", "--json")`; `stdin` is what is piped into it."""
    for name in [name for name in os.environ if name.startswith("BEAT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("BEAT_DATABASE_URL", str(settings.database_url))
    monkeypatch.setenv("BEAT_DATABASE_OWNER_URL", settings.owner_url)
    monkeypatch.setenv("BEAT_REDIS_URL", str(settings.redis_url))
    monkeypatch.setenv("BEAT_REDIS_NAMESPACE", settings.redis_namespace)
    monkeypatch.setenv("BEAT_LIMIT_PREFIX", settings.limit_prefix)
    monkeypatch.setenv("BEAT_VAULT_KEYS", settings.vault_keys.get_secret_value())
    monkeypatch.setenv("BEAT_MESSAGE_KEYS", settings.message_keys.get_secret_value())
    if not settings.database_prepared_statements:  # a command that repeats a statement often would prepare it
        monkeypatch.setenv("BEAT_DATABASE_PREPARED_STATEMENTS", "false")

    def run(*arguments: str, stdin: str = "") -> Said:
        monkeypatch.setattr("sys.stdin", io.StringIO(stdin))
        capsys.readouterr()
        code = invoke(arguments)
        told = capsys.readouterr()
        return Said(code, told.out, told.err)

    return run


@pytest.fixture
def submit(settings: Settings) -> Callable[..., list[Accepted]]:
    """Accept requests for these handles, as the API would."""

    def accept(*handles: str) -> list[Accepted]:
        async def work() -> list[Accepted]:
            database = Database(settings, name="test")
            try:
                wanted = [
                    NewRequest("instagram", "refresh_profile_by_handle", {"handle": handle}) for handle in handles
                ]
                return await intake.accept(database, wanted)
            finally:
                await database.close()

        return asyncio.run(work())

    return accept
