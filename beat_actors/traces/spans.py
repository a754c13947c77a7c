"""A span as it is exported. The names of attributes are those of OpenTelemetry's semantic conventions, and those that Beat declares here. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import IntEnum

SCHEMA_URL = "https://opentelemetry.io/schemas/1.44.0"
"""The version of the semantic conventions that the names below are of."""

Value = str | int | bool | float

# Names of the semantic conventions. `messaging` is in development there, the others are stable.
ERROR_TYPE = "error.type"
HTTP_METHOD, HTTP_STATUS = "http.request.method", "http.response.status_code"
HTTP_BODY_SIZE = "http.response.body.size"
SERVER_ADDRESS, SERVER_PORT, URL_SCHEME = "server.address", "server.port", "url.scheme"
MESSAGING_SYSTEM, MESSAGING_DESTINATION = "messaging.system", "messaging.destination.name"
MESSAGING_TYPE, MESSAGING_OPERATION = "messaging.operation.type", "messaging.operation.name"
STANDARD = (
    ERROR_TYPE,
    HTTP_METHOD,
    HTTP_STATUS,
    HTTP_BODY_SIZE,
    SERVER_ADDRESS,
    SERVER_PORT,
    URL_SCHEME,
    MESSAGING_SYSTEM,
    MESSAGING_DESTINATION,
    MESSAGING_TYPE,
    MESSAGING_OPERATION,
)

OWN: Mapping[str, str] = {
    "beat.platform": "the platform",
    "beat.flow": "the flow",
    "beat.operation": "the operation of a call",
    "beat.source": "the source that was asked",
    "beat.request.id": "the id of the request, as commands and the API take it",
    "beat.request.run": "0, or which retry this is",
    "beat.request.priority": "customer, standard or batch",
    "beat.request.status": "COMPLETE, FAILED or CANCELLED",
    "beat.request.accepted_as": "new, joined, stored or remembered",
    "beat.request.batch_id": "the batch that the request belongs to",
    "beat.request.items": "how many items the result has",
    "beat.fetch.id": "the id of the fetch",
    "beat.fetch.page": "the page of a listing, from 1",
    "beat.fetch.stage": "the last stage of the fetch",
    "beat.fetch.attempts": "how often a worker claimed it for a call",
    "beat.fetch.rotations": "changes of credential or source",
    "beat.fetch.retries": "rounds over the whole chain of sources",
    "beat.call.attempt": "the number of the call in its fetch",
    "beat.call.outcome": "what came of the call, such as `ok` or `rate_limited`",
    "beat.parser.version": "the version of the parser that read the answer",
    "beat.wait.after": "what the wait follows: `accepted`, `page`, `joined`, or the outcome of the call before",
    "beat.event.type": "the type of an event",
    "beat.webhook.endpoint": "the id of an endpoint of webhooks",
    "beat.webhook.attempts": "attempts of a delivery",
    "beat.webhook.state": "delivered, or how the delivery ended otherwise",
    "beat.trace.reason": "why the trace was exported: failed, slow, asked or sampled",
    "beat.trace.left_out": "true if the request has more fetches or calls than a trace shows",
}
"""Attributes of Beat's own, each with what it says. Values of texts are names that the code or the installation declares."""


class Kind(IntEnum):
    """As in OTLP."""

    INTERNAL = 1
    SERVER = 2
    CLIENT = 3
    PRODUCER = 4
    CONSUMER = 5


@dataclass(frozen=True, slots=True)
class Link:
    """Another span that has to do with this one: hex ids."""

    trace_id: str
    span_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """Ids in hex. `remote`: the parent is the caller's span. `failed`: the status is ERROR; it has no text."""

    trace_id: str
    span_id: str
    parent_id: str | None
    name: str
    kind: Kind
    start: datetime
    end: datetime
    attributes: Mapping[str, Value]
    failed: bool = False
    remote: bool = False
    links: tuple[Link, ...] = field(default=())
