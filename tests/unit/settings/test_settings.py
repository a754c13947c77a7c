"""Settings: wrong values stop the start with a sentence."""

from types import SimpleNamespace

import pytest
from redis.asyncio import SSLConnection as AsyncSSLConnection
from redis.connection import SSLConnection

from actors.broker import redis_client
from api.limits import Limiter
from beat_actors.credentials.vault import Vault
from beat_actors.database.urls import connect_args
from beat_actors.errors import BadSettings, SecretMissing
from beat_actors.quotas.limiter import StackedLimiter
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


@pytest.mark.parametrize("url", ["http://127.0.0.1:8090", "http://elsewhere.invalid"])
def test_production_sends_no_provider_key_to_a_simulator(environment, url: str) -> None:
    environment.setenv("BEAT_SIMULATOR_URL", url)
    for name in (None, "production"):
        if name is not None:
            environment.setenv("BEAT_ENVIRONMENT", name)
        with pytest.raises(BadSettings, match="BEAT_SIMULATOR_URL sends every provider key to a simulator"):
            load()
    environment.setenv("BEAT_ENVIRONMENT", "rehearsal")
    assert load().simulator_url == url


def test_the_environment_is_production_unless_set_and_one_of_two(environment) -> None:
    assert load().environment == "production"
    environment.setenv("BEAT_ENVIRONMENT", "staging")
    with pytest.raises(BadSettings, match=r"BEAT_ENVIRONMENT: .*'production' or 'rehearsal'"):
        load()


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in GOOD:
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(BadSettings) as refused:
        load()
    assert str(refused.value).splitlines() == ["BEAT_DATABASE_URL: it is not set", "BEAT_REDIS_URL: it is not set"]


def test_a_process_is_held_to_the_secrets_that_it_needs_and_to_no_other(environment) -> None:
    for name in ("BEAT_VAULT_KEYS", "BEAT_MESSAGE_KEYS"):
        environment.delenv(name)
    settings = load()
    assert (settings.vault_keys, settings.message_keys) == (None, None)
    with pytest.raises(SecretMissing, match="BEAT_VAULT_KEYS is not set in this process, and it opens and seals"):
        Vault(settings).open(1, "lama", "test", b"")
    with pytest.raises(SecretMissing, match="BEAT_VAULT_KEYS is not set"):
        Vault(settings).seal(1, "lama", {"key": "x"})
    with pytest.raises(SecretMissing, match="BEAT_MESSAGE_KEYS is not set in this process, and it signs"):
        settings.key_ring("message_keys")
    with pytest.raises(BadSettings) as refused:
        load("vault_keys", "message_keys")
    assert [line.split(":")[0] for line in str(refused.value).splitlines()] == ["BEAT_VAULT_KEYS", "BEAT_MESSAGE_KEYS"]


def test_media_and_raw_payloads_have_a_bucket_each(environment) -> None:
    environment.setenv("BEAT_S3_BUCKET", "one-bucket")
    environment.setenv("BEAT_ASSET_BUCKET", "one-bucket")
    with pytest.raises(BadSettings, match="Media are public and raw payloads are not"):
        load()
    environment.setenv("BEAT_ASSET_BUCKET", "another-bucket")
    assert load().asset_bucket == "another-bucket"


def test_connections_over_several_hosts_are_made_with_tls_that_is_verified(environment) -> None:
    """As docs/security.md words the URLs."""
    environment.setenv("BEAT_DATABASE_URL", "postgresql://u:p@db/beat?sslmode=verify-full&sslrootcert=/path/ca.pem")
    environment.setenv("BEAT_REDIS_URL", "rediss://u:p@redis:6379/0?ssl_ca_certs=/path/ca.pem")
    environment.setenv("BEAT_S3_ENDPOINT_URL", "https://s3.example/")
    settings = load()
    told = connect_args(str(settings.database_url))
    assert (told["sslmode"], told["sslrootcert"]) == ("verify-full", "/path/ca.pem")
    database = SimpleNamespace(settings=settings)
    pools = [
        Limiter(settings)._client.connection_pool,
        StackedLimiter(database)._redis.connection_pool,  # type: ignore[arg-type]
        redis_client(settings).connection_pool,
    ]
    for pool in pools:
        made = pool.make_connection()
        assert isinstance(made, SSLConnection | AsyncSSLConnection)
        assert pool.connection_kwargs["ssl_ca_certs"] == "/path/ca.pem"
        assert pool.connection_kwargs.get("ssl_cert_reqs", "required") == "required"
