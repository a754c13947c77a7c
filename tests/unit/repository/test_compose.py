"""docker-compose.yml: each service has what it needs, and neither another's secret nor a way out. A new service is held to the same."""

import re
from typing import Any

import pytest
import yaml

from beat_actors.asset_settings import AssetSettings
from beat_actors.media.conversion import MEMORY, OF_VARIANTS, PROCESSES
from beat_actors.redis_users import COMMANDS, rules
from beat_actors.transport.names import AT_ONCE
from tests.images import ROOT, unpinned, variables

TEXT = (ROOT / "docker-compose.yml").read_text()
COMPOSE: dict[str, Any] = yaml.safe_load(TEXT)
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
VAULT, MESSAGES, S3 = "BEAT_VAULT_KEYS", "BEAT_MESSAGE_KEYS", "BEAT_S3_SECRET"
OWNER, ADMIN, PROCESS = "BEAT_DB_OWNER_PASSWORD", "BEAT_DB_PASSWORD", "BEAT_DB_PROCESS_PASSWORD"
REDIS = {role: f"BEAT_REDIS_{role.upper()}_PASSWORD" for role in COMMANDS}
# What a service may know. The deliverer opens the secrets of webhooks; what parses providers' answers opens nothing.
SECRETS = {
    "roles": {ADMIN, OWNER, PROCESS},
    "migrate": {OWNER},
    "api": {PROCESS, VAULT, MESSAGES, REDIS["api"], "BEAT_ASSET_READER_KEY", "BEAT_ASSET_READER_SECRET"},
    "worker-credential-broker": {PROCESS, MESSAGES, REDIS["worker"]},
    "worker-retrieve": {PROCESS, VAULT, MESSAGES, REDIS["worker"]},
    "worker-ingest": {PROCESS, MESSAGES, REDIS["worker"]},
    "worker-process": {PROCESS, MESSAGES, REDIS["worker"]},
    "worker-assets": {PROCESS, MESSAGES, REDIS["worker"], S3, "BEAT_S3_KEY"},
    "scheduler": {PROCESS, MESSAGES, REDIS["scheduler"], S3, "BEAT_S3_KEY"},
    "deliverer": {PROCESS, VAULT},
    "publisher": {PROCESS, REDIS["publisher"]},
    "beat": {PROCESS, VAULT, MESSAGES, REDIS["operator"], S3, "BEAT_S3_KEY"},
    "postgres": {ADMIN},
    "pgbouncer": {PROCESS},
    "valkey": set(REDIS.values()),
    "s3": {S3, "BEAT_S3_KEY"},
    "bucket": {S3, "BEAT_S3_KEY"},
}
CALLS_OUT = {"worker-retrieve", "worker-assets", "deliverer", "publisher", "beat"}
PUBLISHED = {"api"}


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_knows_its_own_secrets_alone(name: str) -> None:
    assert name in SECRETS, "a new service: say here which secrets it needs"
    told = set(re.findall(r"\$\{(\w+):\?", str(SERVICES[name])))
    assert told == SECRETS[name]
    assert "env_file" not in SERVICES[name]


@pytest.mark.parametrize("name", SERVICES)
def test_only_what_calls_providers_and_webhooks_has_a_way_out(name: str) -> None:
    networks = set(SERVICES[name]["networks"])
    assert networks == {"inside"} | ({"outside"} if name in CALLS_OUT else set()) | (
        {"front"} if name in PUBLISHED else set()
    )
    assert ("ports" in SERVICES[name]) == (name in PUBLISHED)
    assert "network_mode" not in SERVICES[name]


def test_the_networks_lead_where_their_names_say() -> None:
    assert COMPOSE["networks"]["inside"] == {"internal": True}
    assert COMPOSE["networks"]["front"]["driver_opts"] == {"com.docker.network.bridge.enable_ip_masquerade": "false"}
    assert set(COMPOSE["networks"]) == {"inside", "outside", "front"}


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_is_bounded(name: str) -> None:
    service = SERVICES[name]
    assert service["cap_drop"] == ["ALL"]
    assert "cap_add" not in service
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["read_only"] is True
    assert not service.get("privileged")
    assert {"mem_limit", "pids_limit", "cpus"} <= set(service)
    assert not any(str(volume).startswith(("/", ".", "~")) for volume in service.get("volumes", []))


def test_the_worker_of_assets_has_the_memory_and_the_disk_that_it_may_use() -> None:
    worker = SERVICES["worker-assets"]
    fields = AssetSettings.model_fields
    memory = int(worker["mem_limit"].removesuffix("g")) << 30
    assert memory >= (PROCESSES + OF_VARIANTS) * MEMORY + fields["asset_memory_mb"].default * 1_000_000 + (512 << 20)
    assert worker["pids_limit"] >= AT_ONCE + 32 + PROCESSES + OF_VARIANTS + 32
    (volume,) = worker["volumes"]
    name, _, place = volume.partition(":")
    assert name in COMPOSE["volumes"]
    assert worker["environment"]["TMPDIR"] == place
    assert not any(place.startswith(held) for held in worker["tmpfs"])
    assert f"install -d -o beat -g beat -m 0700 {place}" in (ROOT / "Dockerfile").read_text()


@pytest.mark.parametrize("name", SERVICES)
def test_an_image_can_be_pinned(name: str) -> None:
    assert re.match(r"\$\{BEAT_(\w+_)?IMAGE:-[^}]+\}$", SERVICES[name]["image"])


def test_a_release_whose_images_are_not_pinned_is_refused() -> None:
    names = variables(TEXT)
    assert set(names) == {
        "BEAT_IMAGE", "BEAT_BASE_IMAGE", "BEAT_POSTGRES_IMAGE", "BEAT_PGBOUNCER_IMAGE", "BEAT_VALKEY_IMAGE", "BEAT_S3_IMAGE",
    }  # fmt: skip
    pinned = dict.fromkeys(names, f"registry.invalid/image@sha256:{'0' * 64}")
    assert unpinned(TEXT, pinned) == []
    assert len(unpinned(TEXT, {})) == len(names)
    (line,) = unpinned(TEXT, {**pinned, "BEAT_VALKEY_IMAGE": "valkey/valkey:9-alpine"})
    assert line.startswith("BEAT_VALKEY_IMAGE is valkey/valkey:9-alpine")


def test_the_users_of_valkey_are_those_of_the_table_and_nobody_is_the_default() -> None:
    written = [line.split() for line in SERVICES["valkey"]["command"][2].splitlines() if line.startswith("user ")]
    assert written[0] == ["user", "default", "off"]
    wanted = [["user", role, "on", f">$${REDIS[role]}", *rules(role)] for role in COMMANDS]
    assert written[1:] == wanted


def test_the_documentation_has_the_same_users() -> None:
    page = (ROOT / "docs" / "security.md").read_text().splitlines()
    wanted = [f"user {role} on >PASSWORD {' '.join(rules(role))}" for role in COMMANDS]
    assert [line for line in page if line.startswith("user ")] == ["user default off", *wanted]


def test_processes_reach_redis_and_postgres_as_who_they_are() -> None:
    roles = {"api": "api", "scheduler": "scheduler", "publisher": "publisher", "beat": "operator"}
    for name, service in SERVICES.items():
        environment = service.get("environment", {})
        if "BEAT_REDIS_URL" in environment and name != "deliverer":
            role = roles.get(name, "worker")
            assert environment["BEAT_REDIS_URL"].startswith(f"redis://{role}:${{{REDIS[role]}:?")
        if "BEAT_DATABASE_URL" in environment:
            assert environment["BEAT_DATABASE_URL"].startswith("postgresql://beat_process")
    assert SERVICES["deliverer"]["environment"]["BEAT_REDIS_URL"] == "redis://valkey:6379/0"


def test_the_door_and_the_deliverer_are_processes_with_bounds_of_their_own() -> None:
    """The bounds on connections are those of `python -m api`; a server that is started in another way has none of them."""
    commands = {name: service.get("command", []) for name, service in SERVICES.items()}
    assert commands["api"][:3] == ["python", "-m", "api"]
    assert commands["scheduler"] == ["python", "-m", "scheduler"]
    assert commands["deliverer"] == ["python", "-m", "scheduler.deliverer"]


def test_what_is_secret_has_no_default() -> None:
    secret = r"\$\{(\w*(?:PASSWORD|SECRET|KEYS|S3_KEY))(?!\w)(?!:\?)"
    assert re.findall(secret, TEXT) == []
