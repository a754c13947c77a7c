"""The settings: one typed object, read once at the edge from `BEAT_*` variables and passed down.

The embedded servers of `beat up` differ from production only in the values of these variables.
"""

import base64
import binascii
import re
from typing import Annotated, Any, Literal, Self

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

from beat_actors.errors import BadSettings

# It stands in the header of every message, and in the rows that it sealed.
KEY_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


class LimitChange(BaseModel, frozen=True, extra="forbid"):
    """What an installation changes of a declared limit on on-demand requests; what is not named stays as declared."""

    calls: int | None = Field(default=None, ge=1, le=10**12)
    window: Literal["sliding", "calendar"] | None = None
    reserve: float | None = Field(default=None, ge=0, lt=1)


class Settings(BaseSettings):
    """Every variable that Beat reads. `beat settings` prints the same as a table."""

    model_config = SettingsConfigDict(env_prefix="BEAT_", extra="ignore", frozen=True, hide_input_in_errors=True)

    database_url: Annotated[
        PostgresDsn, Field(description="PostgreSQL, straight or through PgBouncer in transaction mode")
    ]
    database_direct_url: Annotated[
        PostgresDsn | None, Field(description="PostgreSQL without a pooler, for leadership; default: BEAT_DATABASE_URL")
    ] = None
    database_pool_size: Annotated[
        int,
        Field(
            ge=1,
            le=500,
            description="connections kept open by each process, and of a worker with those above it at least one for each thread",
        ),
    ] = 12
    database_max_overflow: Annotated[
        int, Field(ge=0, le=500, description="connections above the pool, closed after use")
    ] = 0
    database_pool_timeout: Annotated[float, Field(gt=0, le=30, description="seconds to wait for a connection")] = 2.0
    database_pool_recycle: Annotated[int, Field(ge=1, description="seconds after which a connection is replaced")] = 500
    database_statement_timeout: Annotated[
        float, Field(gt=0, le=600, description="seconds that one statement may take")
    ] = 5.0
    database_prepared_statements: Annotated[bool, Field(description="false behind a PgBouncer older than 1.22")] = True

    redis_url: Annotated[
        RedisDsn, Field(description="Redis or Valkey that carries the messages; an instance of its own")
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
            description="changes to limits on on-demand requests, as JSON: `{NAME: {calls, window: sliding or calendar, reserve}}`; `beat limits` has the names"
        ),
    ] = {}
    off_peak: Annotated[
        str,
        Field(
            pattern=r"^([01]?\d|2[0-3])-([01]?\d|2[0-3])$",
            description="hours (UTC, from-to) into which batch requests over an on-demand budget are deferred",
        ),
    ] = "22-6"

    s3_endpoint_url: Annotated[str | None, Field(description="S3 endpoint; default: AWS")] = None
    s3_bucket: Annotated[str, Field(description="bucket of the media assets")] = "beat-assets"

    vault_keys: Annotated[
        SecretStr,
        Field(
            description="key ring of the credential vault: `id:key,id:key`, each key 32 bytes in base64; the first seals, all open"
        ),
    ]
    message_keys: Annotated[
        SecretStr,
        Field(
            description="key ring that signs messages, as BEAT_VAULT_KEYS is written; the first signs, the signature of each is taken"
        ),
    ]
    simulator_url: Annotated[
        str | None,
        Field(
            pattern=r"^https?://",
            description="send every provider call to the simulator at this URL, not to the provider",
        ),
    ] = None

    api_host: Annotated[str, Field(description="address that the API listens on")] = "127.0.0.1"
    api_port: Annotated[int, Field(ge=1, le=65535, description="port that the API listens on")] = 8000

    graph_version: Annotated[
        str,
        Field(
            pattern=r"^v[1-9]\d{0,2}\.\d$",
            description="version of Meta's Graph API; one that is over is answered by the next oldest",
        ),
    ] = "v24.0"
    shopify_version: Annotated[
        str,
        Field(
            pattern=r"^(20\d\d-(01|04|07|10)|unstable)$",
            description="version of Shopify's Admin API: a quarter's first month, as 2025-10",
        ),
    ] = "2025-10"

    http_total_timeout: Annotated[float, Field(gt=0, le=300, description="seconds that one upstream call may take")] = (
        20.0
    )
    http_connect_timeout: Annotated[float, Field(gt=0, le=60, description="seconds to connect to a provider")] = 5.0
    http_byte_budget: Annotated[int, Field(ge=1024, description="bytes of one decompressed answer")] = 5_000_000
    http_max_per_host: Annotated[
        int, Field(ge=1, le=1000, description="simultaneous calls to one host, in each process")
    ] = 64

    broker_batch: Annotated[int, Field(ge=1, le=2000, description="leases that one turn of the broker gives out")] = 200
    broker_in_flight: Annotated[
        int, Field(ge=1, le=10_000, description="upstream calls in flight for one platform, over all workers")
    ] = 400
    broker_in_flight_per_source: Annotated[
        int,
        Field(
            ge=1,
            le=10_000,
            description="calls in flight for one operation of one source: what an outage may cost at most",
        ),
    ] = 100
    stage_batch: Annotated[int, Field(ge=1, le=500, description="fetches in one stage message")] = 50
    stage_lease: Annotated[
        float, Field(ge=1, le=900, description="seconds of a stage's lease; renewed while it works")
    ] = 30.0
    stage_attempts: Annotated[int, Field(ge=1, le=100, description="times that a stage is tried before quarantine")] = 5
    rotation_budget: Annotated[int, Field(ge=0, le=100, description="changes of credential or source in one fetch")] = (
        10
    )
    retry_budget: Annotated[int, Field(ge=0, le=100, description="rounds over a whole chain in one fetch")] = 3
    credential_check_every: Annotated[
        float, Field(ge=60, le=2_592_000, description="seconds between two checks of a credential that can be checked")
    ] = 21_600.0
    raw_payload_days: Annotated[int, Field(ge=1, le=3650, description="days that raw payloads are kept")] = 7
    request_days: Annotated[
        int,
        Field(ge=1, le=3650, description="days that ended requests, events, resolved alerts and quarantine are kept"),
    ] = 90
    log_days: Annotated[
        int, Field(ge=1, le=3650, description="days that the logs of calls, profiles, posts and changes are kept")
    ] = 90

    webhook_allow_private: Annotated[
        bool,
        Field(
            description="let webhooks go to private addresses and over plain http too; only where whoever adds one may reach them"
        ),
    ] = False

    log_level: Annotated[
        str, Field(pattern="^(DEBUG|INFO|WARNING|ERROR)$", description="DEBUG, INFO, WARNING or ERROR")
    ] = "INFO"

    @field_validator("vault_keys", "message_keys")
    @classmethod
    def _key_ring(cls, value: SecretStr) -> SecretStr:
        parse_keys(value.get_secret_value())
        return value

    @model_validator(mode="after")
    def _relations(self) -> Self:
        if self.stage_lease <= self.http_total_timeout / 2:
            raise ValueError(
                "BEAT_STAGE_LEASE must be more than half of BEAT_HTTP_TOTAL_TIMEOUT, or live calls lose their lease"
            )
        return self

    @property
    def direct_url(self) -> str:
        return str(self.database_direct_url or self.database_url)


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


def load(**overrides: Any) -> Settings:
    """Read the environment. Raises `BadSettings`, one line a variable, with the variable's name and never its value."""
    try:
        return Settings(**overrides)
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
