"""`--json`: valid JSON in which nothing moves the cursor or turns the writing round."""

import json

import pytest

from beat_actors.cli.output import show_json
from beat_actors.settings import Settings
from tests.conftest import MESSAGE_KEYS, VAULT_KEYS


@pytest.mark.parametrize(
    "sign", ["\x1b", "\x7f", "\x9b", "\u202e", "\u2066", "\u200b", "\u2028", "\ufeff", "\U000e0001"]
)
def test_what_is_not_seen_is_escaped(sign: str, capsys: pytest.CaptureFixture[str]) -> None:
    show_json({"said": f"Überfluß {sign} \U0001f469"})
    told = capsys.readouterr().out
    assert sign not in told
    assert "Überfluß" in told
    assert json.loads(told) == {"said": f"Überfluß {sign} \U0001f469"}


def test_settings_print_no_values() -> None:
    settings = Settings(
        database_url="postgresql://beat:a-password@db.invalid/beat",
        redis_url="redis://:a-password@redis.invalid/0",
        vault_keys=VAULT_KEYS,
        message_keys=MESSAGE_KEYS,
    )
    assert "a-password" not in f"{settings!r} {settings}"
