"""The shapes of `beat top` and of GET /v1/overview. No I/O."""

from datetime import datetime
from typing import Annotated

import msgspec

from beat_actors.severities import SEVERITIES
from beat_actors.shapes import one_of


class SourceLine(msgspec.Struct, frozen=True, kw_only=True):
    """A source: its calls of the last minute that were read by their outcomes, `rate` a minute, the calls in flight, its credentials by state
    (`full`: their limits are used up), its open breakers and when one lets a probe through, its open data breakers, and when the next credential can be used again."""

    source: str
    calls: int
    ok: int
    limited: int
    down: int
    in_flight: int
    ready: int
    full: int
    cooling: int
    disabled: int
    dead: int
    breakers: int
    by_hand: bool
    rate: float = 0.0
    ms: float | None = None
    probe_at: datetime | None = None
    next_at: datetime | None = None
    data_breakers: int = 0


class ReasonLine(msgspec.Struct, frozen=True, kw_only=True):
    """Why fetches wait, and until when the first of them."""

    why: str
    fetches: int
    lanes: int
    until: datetime | None = None


class LaneLine(msgspec.Struct, frozen=True, kw_only=True):
    """A dispatch group with waiting fetches. `fetches`: 0 where the count had stopped before it."""

    platform: str
    flow: str
    operation: str
    priority: int
    owner: str
    fetches: int
    oldest: datetime
    request_id: int
    why: str
    until: datetime | None = None


class SinkLine(msgspec.Struct, frozen=True, kw_only=True):
    """How far a sink of events is behind the log."""

    name: str
    events: int
    seconds: float
    parked: int
    trouble: str | None = None


class KindLine(msgspec.Struct, frozen=True, kw_only=True):
    """The living processes of a kind, and the slowest of them. Times in seconds."""

    name: str
    processes: int
    statement_p99: float
    claim_p50: float
    pool_used: int
    pool_most: int
    in_trouble: int


class ProcessLine(msgspec.Struct, frozen=True, kw_only=True):
    """A living process and its last minute. `troubles`: what it cannot do."""

    name: str
    host: str
    pid: int
    started_at: datetime
    statements: int
    statement_p99: float
    pool_used: int
    pool_most: int
    claims: int
    claim_p50: float
    claim_p99: float
    restarts: int
    troubles: list[str]
    version: str | None = None


class AlertLine(msgspec.Struct, frozen=True, kw_only=True):
    """An open alert that no other one explains. `parts`: how many it explains."""

    key: str
    severity: Annotated[str, one_of(SEVERITIES)]
    opened_at: datetime
    cause: str
    silenced: bool
    parts: int


class Picture(msgspec.Struct, frozen=True, kw_only=True):
    """The whole at a moment. Rates are of the last minute, a minute. Counts stop at `counted`."""

    at: datetime
    requests: int
    waiting: int
    counted: int
    oldest: datetime | None
    complete_rate: float
    failed_rate: float
    leased_rate: float
    settled_rate: float
    call_rate: float
    sources: list[SourceLine]
    reasons: list[ReasonLine]
    lanes: list[LaneLine]
    sinks: list[SinkLine]
    webhooks: int
    assets: int
    oldest_asset: datetime | None
    quarantined: int
    kinds: list[KindLine]
    processes: list[ProcessLine]
    led_at: datetime | None
    open_alerts: int
    alerts: list[AlertLine]
