"""Settings: wrong values stop the start with a sentence."""

import pytest

from beat_actors.errors import BadSettings
from beat_actors.settings import load
from tests.conftest import MESSAGE_KEYS, VAULT_KEYS

GOOD = {
    "BEAT_DATABASE_URL": "postgresql://beat@localhost/beat",
    "BEAT_REDIS_URL": "redis://localhost",
    "BEAT_VAULT_KEYS": VAULT_KEYS,
    "BEAT_MESSAGE_KEYS": MESSAGE_KEYS,
}


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name, value in GOOD.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


def test_good_variables_are_read_and_secrets_do_not_show(environment) -> None:
    settings = load()
    assert settings.stage_batch == 50
    assert VAULT_KEYS not in repr(settings)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("BEAT_DATABASE_URL", "mysql://x", "BEAT_DATABASE_URL: "),
        ("BEAT_STAGE_BATCH", "none", "BEAT_STAGE_BATCH: "),
        ("BEAT_STAGE_BATCH", "0", "BEAT_STAGE_BATCH: "),
        ("BEAT_GRAPH_VERSION", "24", "BEAT_GRAPH_VERSION: "),
        ("BEAT_GRAPH_VERSION", "v24.0/../..", "BEAT_GRAPH_VERSION: "),
        ("BEAT_SHOPIFY_VERSION", "2025-11", "BEAT_SHOPIFY_VERSION: "),
        ("BEAT_SHOPIFY_VERSION", "2025-10\n", "BEAT_SHOPIFY_VERSION: "),
        (
            "BEAT_VAULT_KEYS",
            "short:c2hvcnQ=",
            "BEAT_VAULT_KEYS: entry 1 is not `id:key` with a key of 32 bytes in base64",
        ),
        ("BEAT_VAULT_KEYS", f"{VAULT_KEYS},{VAULT_KEYS}", "BEAT_VAULT_KEYS: key id 'test' appears twice"),
        ("BEAT_MESSAGE_KEYS", "short:c2hvcnQ=", "BEAT_MESSAGE_KEYS: entry 1 is not `id:key`"),
        ("BEAT_MESSAGE_KEYS", f"a key:{MESSAGE_KEYS[5:]}", "BEAT_MESSAGE_KEYS: the id of entry 1 is up to 64 letters"),
        ("BEAT_LOG_LEVEL", "LOUD", "BEAT_LOG_LEVEL: "),
        ("BEAT_STAGE_LEASE", "5", "BEAT_STAGE_LEASE must be more than half of BEAT_HTTP_TOTAL_TIMEOUT"),
    ],
)
def test_a_wrong_value_stops_the_start_and_names_the_variable(environment, name: str, value: str, said: str) -> None:
    environment.setenv(name, value)
    with pytest.raises(BadSettings) as refused:
        load()
    assert said in str(refused.value)
    assert "c2hvcnQ=" not in str(refused.value)


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in GOOD:
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(BadSettings) as refused:
        load()
    assert str(refused.value).count("it is not set") == 4
