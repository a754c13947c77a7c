"""The settings: one typed object, read once at the edge from `BEAT_*` variables and passed down.

The embedded servers of `beat up` differ from production only in the values of these variables.
"""

import base64
import binascii
import hmac
import re
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import (
    BaseModel,
    Field,
    PostgresDsn,
    RedisDsn,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, SettingsConfigDict

from beat_actors.asset_link_settings import AssetLinkSettings
from beat_actors.asset_settings import AssetSettings
from beat_actors.errors import BadSettings, SecretMissing
from beat_actors.event_sinks import EventSinks
from beat_actors.kept_settings import KeptSettings
from beat_actors.notify_settings import NotifySettings
from beat_actors.routes import Route, Sources, route

Kind = TypeVar("Kind", bound="DatabaseSettings")
Secret = Literal["vault_keys", "message_keys"]
USED_FOR: Mapping[Secret, str] = {
    "vault_keys": "it opens and seals the secrets of credentials and webhooks",
    "message_keys": "it signs messages that are sent and verifies messages that are received",
}
# It stands in the header of every message, and in the rows that it sealed.
FINGERPRINT = b"beat key fingerprint"
KEY_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


class LimitChange(BaseModel, frozen=True, extra="forbid"):
    """What an installation changes of a declared limit on on-demand requests; what is not named stays as declared."""

    calls: int | None = Field(default=None, ge=1, le=10**12)
    window: Literal["sliding", "calendar"] | None = None
    reserve: float | None = Field(default=None, ge=0, lt=1)


class DatabaseSettings(BaseSettings):
    """What the commands that make and migrate a database read, and nothing else: they need neither Redis nor a key."""

    model_config = SettingsConfigDict(env_prefix="BEAT_", extra="ignore", frozen=True, hide_input_in_errors=True)

    environment: Annotated[
        Literal["production", "rehearsal"],
        Field(
            description="`rehearsal` allows BEAT_SIMULATOR_URL, BEAT_ASSET_ORIGIN and BEAT_FAILPOINTS; use it only with simulated data and provider keys. In production a process with any of them refuses to start"
        ),
    ] = "production"

    database_url: Annotated[
        PostgresDsn, Field(description="URL of PostgreSQL, direct or through PgBouncer in transaction mode")
    ]
    database_direct_url: Annotated[
        PostgresDsn | None,
        Field(
            description="URL of PostgreSQL without a pooler, for the leader lock of schedulers; default: BEAT_DATABASE_URL"
        ),
    ] = None
    database_owner_url: Annotated[
        PostgresDsn | None,
        Field(
            description="URL of PostgreSQL as the owner of the schema, without a pooler, only for `beat migrate` and `beat db vacuum`; default: the URL of the processes"
        ),
    ] = None
    database_admin_url: Annotated[
        PostgresDsn | None,
        Field(description="URL of PostgreSQL as a superuser, only for `beat db roles`; give it to no running process"),
    ] = None
    database_statement_timeout: Annotated[float, Field(gt=0, le=600, description="maximum seconds per statement")] = 5.0

    def __repr_args__(self) -> Iterable[tuple[str | None, Any]]:
        """No values: URLs hold passwords, and what is printed of an object ends in logs and tracebacks."""
        return ()

    @property
    def direct_url(self) -> str:
        return str(self.database_direct_url or self.database_url)

    @property
    def owner_url(self) -> str:
        return str(self.database_owner_url or self.direct_url)


class Settings(AssetLinkSettings, AssetSettings, KeptSettings, NotifySettings, DatabaseSettings):
    """Every variable that Beat reads. `beat settings` prints the same as a table."""

    database_pool_size: Annotated[
        int,
        Field(
            ge=1,
            le=500,
            description="connections that each process keeps open; a worker needs at least one per thread, including the overflow",
        ),
    ] = 12
    database_max_overflow: Annotated[
        int, Field(ge=0, le=500, description="connections in addition to the pool; they are closed after use")
    ] = 0
    database_pool_timeout: Annotated[float, Field(gt=0, le=30, description="seconds to wait for a connection")] = 2.0
    database_pool_recycle: Annotated[int, Field(ge=1, description="seconds after which a connection is replaced")] = 500
    database_prepared_statements: Annotated[bool, Field(description="set to false behind PgBouncer before 1.22")] = True
    database_may_lose_commits: Annotated[
        bool,
        Field(
            description="if true, processes start even if PostgreSQL runs with fsync or full_page_writes off, which may lose accepted requests in a crash; a rehearsal always starts"
        ),
    ] = False

    redis_url: Annotated[
        RedisDsn, Field(description="URL of the Redis or Valkey for messages; use a separate instance")
    ]
    redis_namespace: Annotated[str, Field(pattern=r"^[A-Za-z0-9:_{}-]{1,64}$", description="prefix of every key")] = (
        "dramatiq"
    )

    limit_prefix: Annotated[
        str,
        Field(pattern=r"^[A-Za-z0-9:_-]{1,64}$", description="prefix of the counters of on-demand requests in Redis"),
    ] = "beat_server_"
    limits: Annotated[
        dict[str, LimitChange],
        Field(
            description="changes to the limits on on-demand requests, as JSON: `{NAME: {calls, window: sliding or calendar, reserve}}`; `beat limits` shows the names"
        ),
    ] = {}
    on_demand_share: Annotated[
        float,
        Field(
            gt=0,
            le=1,
            description="the maximum share of each on-demand limit that one account can use; 1: the whole limit. Keys without an account are not restricted to a share",
        ),
    ] = 0.5
    open_requests: Annotated[
        int,
        Field(
            ge=1,
            le=10_000_000,
            description="maximum open requests (not ended) of an account, or of a key without an account; the command line has no limit",
        ),
    ] = 100_000
    off_peak: Annotated[
        str,
        Field(
            pattern=r"^([01]?\d|2[0-3])-([01]?\d|2[0-3])$",
            description="hours (UTC, from-to) to which batch requests above an on-demand budget are deferred",
        ),
    ] = "22-6"

    vault_keys: Annotated[
        SecretStr | None,
        Field(
            description="keys of the credential vault: `id:key,id:key`, each key 32 bytes in base64; the first encrypts, all decrypt. Set it only for workers of the queues `retrieve` and `credentials`, for the deliverer, and for the API and `beat` if they add credentials or webhooks"
        ),
    ] = None
    message_keys: Annotated[
        SecretStr | None,
        Field(
            description="keys that sign messages, in the form of BEAT_VAULT_KEYS; the first signs, signatures of all keys are accepted. Set it for workers, scheduler, API and `beat`"
        ),
    ] = None
    simulator_url: Annotated[
        str | None,
        Field(
            pattern=r"^https?://",
            description="sends every provider call, with its key, to the simulator at this URL instead of the provider; needs BEAT_ENVIRONMENT=rehearsal",
        ),
    ] = None

    sources: Annotated[
        Sources,
        Field(
            description="connection settings per source, as JSON: `{SOURCE: {base_url, simulated, proxy, ca_file, user_agent}}`; the entry `*` applies to "
            "all sources ([going-live.md](going-live.md)). `proxy`: `http://`, `https://`, `socks4://` or `socks5://`, with a user and a password "
            "if the proxy needs them. `ca_file`: the only certificate authorities (PEM) that are trusted for this source. `simulated`: false calls the real provider "
            "although BEAT_SIMULATOR_URL is set"
        ),
    ] = {}

    api_host: Annotated[str, Field(description="address that the API listens on")] = "127.0.0.1"
    api_port: Annotated[int, Field(ge=1, le=65535, description="port that the API listens on")] = 8000

    health_host: Annotated[str, Field(description="address of the API's listener for health probes")] = "127.0.0.1"
    health_port: Annotated[
        int,
        Field(
            ge=1,
            le=65535,
            description="port of the listener for health probes: `/healthz` and `/readyz`, also while the API accepts no connections",
        ),
    ] = 8001

    graph_version: Annotated[
        str,
        Field(
            pattern=r"^v[1-9]\d{0,2}\.\d$",
            description="version of Meta's Graph API; the oldest supported version answers in place of a retired one",
        ),
    ] = "v24.0"
    shopify_version: Annotated[
        str,
        Field(
            pattern=r"^(20\d\d-(01|04|07|10)|unstable)$",
            description="version of Shopify's Admin API: the first month of a quarter, for example 2025-10",
        ),
    ] = "2025-10"

    http_total_timeout: Annotated[float, Field(gt=0, le=300, description="maximum seconds of one upstream call")] = 20.0
    http_connect_timeout: Annotated[
        float, Field(gt=0, le=60, description="maximum seconds to connect to a provider")
    ] = 5.0
    http_byte_budget: Annotated[int, Field(ge=1024, description="maximum bytes of one decompressed answer")] = 5_000_000
    http_max_per_host: Annotated[
        int, Field(ge=1, le=1000, description="maximum concurrent calls to one host, per process")
    ] = 64

    process_calls: Annotated[
        int,
        Field(
            ge=1,
            le=100_000,
            description="maximum leases that one worker process holds; with this number it takes no more call messages. Use a value above "
            "the calls in flight of all platforms, so that no platform uses up the capacity of the others",
        ),
    ] = 2000

    broker_batch: Annotated[int, Field(ge=1, le=2000, description="maximum leases of one dispatch cycle")] = 200
    broker_in_flight: Annotated[
        int, Field(ge=1, le=10_000, description="maximum upstream calls in flight for one platform, over all workers")
    ] = 400
    broker_in_flight_per_source: Annotated[
        int,
        Field(
            ge=1,
            le=10_000,
            description="maximum calls in flight for one operation of one source: an outage costs at most this many calls",
        ),
    ] = 100
    stage_batch: Annotated[int, Field(ge=1, le=500, description="fetches in one stage message")] = 50
    stage_lease: Annotated[
        float, Field(ge=1, le=900, description="seconds of a stage's lease, which is renewed during the work")
    ] = 30.0
    stage_attempts: Annotated[
        int, Field(ge=1, le=100, description="attempts of a stage before the fetch is quarantined")
    ] = 5
    rotation_budget: Annotated[
        int, Field(ge=0, le=100, description="maximum changes of credential or source in one fetch")
    ] = 10
    retry_budget: Annotated[int, Field(ge=0, le=100, description="maximum rounds over a whole chain in one fetch")] = 3
    credential_check_every: Annotated[
        float, Field(ge=60, le=2_592_000, description="seconds between two checks of a credential that can be checked")
    ] = 21_600.0
    webhook_allow_private: Annotated[
        bool,
        Field(
            description="also allows webhooks to private addresses and over plain http; use it only if everybody who can add a webhook may reach these addresses"
        ),
    ] = False

    event_sinks: Annotated[
        EventSinks,
        Field(
            description="places that events are published to, as JSON: `{NAME: {url, types, accounts, structured, order, begin}}`; the URL's scheme says "
            "which kind of sink it is ([events.md](events.md)). The URL `redis:` is BEAT_REDIS_URL. Set it only for publishers, and for `beat`"
        ),
    ] = {}
    event_source: Annotated[
        str,
        Field(
            pattern=r"^[a-z][a-z0-9+.-]*:[!-~]{1,200}$",
            description="URI that names this installation in the `source` of its events",
        ),
    ] = "urn:beat"

    log_level: Annotated[
        str, Field(pattern="^(DEBUG|INFO|WARNING|ERROR)$", description="DEBUG, INFO, WARNING or ERROR")
    ] = "INFO"

    @field_validator("vault_keys", "message_keys")
    @classmethod
    def _key_ring(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            parse_keys(value.get_secret_value())
        return value

    def key_ring(self, name: Secret) -> dict[str, bytes]:
        """A key ring, in order: key id -> 32 bytes. Raises `SecretMissing` where this process was not given it."""
        given = getattr(self, name)
        if given is None:
            raise SecretMissing(f"BEAT_{name.upper()} is not set in this process, and {USED_FOR[name]}")
        return parse_keys(given.get_secret_value())

    def fingerprints(self, name: Secret) -> list[str] | None:
        """`id:fingerprint` of each key of a ring, which tells nothing of the key; `None` where this process was not given it."""
        if getattr(self, name) is None:
            return None
        return [
            f"{key_id}:{hmac.digest(key, FINGERPRINT, 'sha256').hex()[:16]}"
            for key_id, key in self.key_ring(name).items()
        ]

    def route(self, source: str) -> Route:
        """How the calls of a source leave."""
        return route(self.sources, self.simulator_url, source)

    @model_validator(mode="after")
    def _relations(self) -> Self:
        if self.stage_lease <= self.http_total_timeout / 2:
            raise ValueError(
                "BEAT_STAGE_LEASE must be more than half of BEAT_HTTP_TOTAL_TIMEOUT, or live calls lose their lease"
            )
        return self

    @model_validator(mode="after")
    def _real_providers(self) -> Self:
        if self.simulator_url is not None and self.environment != "rehearsal":
            raise ValueError(
                "BEAT_SIMULATOR_URL sends every provider key to a simulator, and the environment is production. "
                "Unset it, or set BEAT_ENVIRONMENT=rehearsal"
            )
        if self.asset_origin is not None and self.environment != "rehearsal":
            raise ValueError(
                "BEAT_ASSET_ORIGIN stores simulated pictures, and the environment is production. Unset it, or set "
                "BEAT_ENVIRONMENT=rehearsal"
            )
        return self


def parse_keys(text: str) -> dict[str, bytes]:
    """A key ring, in order: key id -> 32 bytes. Raises `ValueError` without quoting any key."""
    ring: dict[str, bytes] = {}
    for position, item in enumerate(part.strip() for part in text.split(",") if part.strip()):
        key_id, colon, encoded = item.partition(":")
        try:
            key = base64.b64decode(encoded, validate=True)
        except binascii.Error:
            key = b""
        if not colon or not key_id or len(key) != 32:
            raise ValueError(f"entry {position + 1} is not `id:key` with a key of 32 bytes in base64")
        if not KEY_ID.fullmatch(key_id):
            raise ValueError(f"the id of entry {position + 1} is up to 64 letters, digits and . _ -")
        if key_id in ring:
            raise ValueError(f"key id {key_id!r} appears twice")
        ring[key_id] = key
    if not ring:
        raise ValueError("at least one key is needed")
    return ring


def load(*needs: Secret, **overrides: Any) -> Settings:
    """Read the environment. `needs`: the secrets without which this process cannot do its work.

    Raises `BadSettings`, one line a variable, with the variable's name and never its value.
    """
    settings = _read(Settings, overrides)
    missing = [name for name in needs if getattr(settings, name) is None]
    if missing:
        lines = (f"BEAT_{name.upper()}: it is not set, and {USED_FOR[name]}" for name in missing)
        raise BadSettings("\n".join(lines))
    return settings


def load_database() -> DatabaseSettings:
    """Read what concerns the database alone. Raises as `load` does."""
    return _read(DatabaseSettings, {})


def _read(kind: type[Kind], overrides: dict[str, Any]) -> Kind:
    try:
        return kind(**overrides)
    except ValidationError as error:
        lines = []
        for problem in error.errors(include_input=False, include_url=False):
            name = f"BEAT_{problem['loc'][0]}".upper() if problem["loc"] else "settings"
            said = problem["msg"].removeprefix("Value error, ")
            lines.append(f"{name}: {'it is not set' if problem['type'] == 'missing' else said}")
        raise BadSettings("\n".join(lines)) from None


def table() -> str:
    """The documentation of all variables, as a Markdown table."""
    rows = ["| variable | default | meaning |", "|---|---|---|"]
    for name, info in Settings.model_fields.items():
        default = "required" if info.is_required() else ("" if info.default is None else f"`{info.default}`")
        rows.append(f"| `BEAT_{name.upper()}` | {default} | {info.description} |")
    return "\n".join(rows)
