"""The types of events that Beat sends: what each means, what it is about, and what its data are."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec

from beat_actors.events import payloads


@dataclass(frozen=True, slots=True)
class EventType:
    """`sent`: when an event of the type is written, in a sentence. `subject`: the form of its subject. `payloads`: the data of its major versions from
    1; the last one is sent. `logged`: it stands in the log; others go to one webhook alone."""

    name: str
    sent: str
    subject: str
    payloads: Sequence[type[msgspec.Struct]]
    logged: bool = True

    @property
    def major(self) -> int:
        """The major version of the data that are sent."""
        return len(self.payloads)

    @property
    def payload(self) -> type[msgspec.Struct]:
        """The type of the data that are sent."""
        return self.payloads[-1]


REQUEST = "scrape_request/{id}"
ASSET = "asset/{id}"
CREDENTIAL = "credential/{id}"
DATA_BREAKER = "breaker/{source}/{operation}/data/{parser_version}"
BREAKER = "breaker/{source}/{operation}/{kind}, followed by /{owner} for the breaker of one owner"
ALERT = "alert/{key}"
TEST = "beat.webhook.test"

EVENTS: Mapping[str, EventType] = {
    event.name: event
    for event in (
        EventType(
            "beat.scrape_request.accepted",
            "A request is accepted that is not answered from stored data, or is run again.",
            REQUEST,
            [payloads.RequestAccepted],
        ),
        EventType(
            "beat.scrape_request.processing",
            "The first call for a request begins.",
            REQUEST,
            [payloads.RequestProcessing],
        ),
        EventType(
            "beat.scrape_request.waiting",
            "A call of a request came to nothing and is made again after a time.",
            REQUEST,
            [payloads.RequestWaiting],
        ),
        EventType("beat.scrape_request.complete", "A request ends well.", REQUEST, [payloads.RequestComplete]),
        EventType("beat.scrape_request.failed", "A request fails.", REQUEST, [payloads.RequestFailed]),
        EventType("beat.scrape_request.cancelled", "A request is cancelled.", REQUEST, [payloads.RequestCancelled]),
        EventType(
            "beat.batch.ended", "All requests of a closed batch have ended.", "batch/{id}", [payloads.BatchEnded]
        ),
        EventType(
            "beat.data.changed",
            "An answer shows that stored entities are new or have changed: one event for each answer and kind, and one for what is accepted of the answer "
            "after it was held.",
            "scrape_request/{request_id}",
            [payloads.DataChanged],
        ),
        EventType(
            "beat.data.restored",
            "An operator has entities set right whose observations were wrong, or undoes that: one event for at most 500 entities.",
            "restore/{restore_id}",
            [payloads.DataRestored],
        ),
        EventType(
            "beat.asset.stored", "The picture or video of a media field is stored.", ASSET, [payloads.AssetStored]
        ),
        EventType(
            "beat.asset.lost",
            "The picture of a media field is given up: its URL is dead, it is gone, or it is not stored for what it is.",
            ASSET,
            [payloads.AssetLost],
        ),
        EventType(
            "beat.credential.cooling_down",
            "A provider rate-limits a credential, which is not used for a time.",
            CREDENTIAL,
            [payloads.CredentialEvent],
        ),
        EventType(
            "beat.credential.exhausted",
            "The quota of a credential is used up.",
            CREDENTIAL,
            [payloads.CredentialEvent],
        ),
        EventType(
            "beat.credential.dead", "A provider refuses a credential for good.", CREDENTIAL, [payloads.CredentialEvent]
        ),
        EventType(
            "beat.credential.revived",
            "A credential that was dead or cooling down works again.",
            CREDENTIAL,
            [payloads.CredentialEvent],
        ),
        EventType(
            "beat.breaker.opened",
            "Calls of an operation of a source are stopped, because too many failed or an operator asked for it.",
            BREAKER,
            [payloads.BreakerEvent],
        ),
        EventType("beat.breaker.closed", "Calls that were stopped are made again.", BREAKER, [payloads.BreakerEvent]),
        EventType(
            "beat.breaker.data_opened",
            "Answers of an operation of a source are not used, because too many are wrong or an operator said so.",
            DATA_BREAKER,
            [payloads.DataBreakerEvent],
        ),
        EventType(
            "beat.breaker.data_closed",
            "Answers that were not used are used again.",
            DATA_BREAKER,
            [payloads.DataBreakerEvent],
        ),
        EventType(
            "beat.limit.reached",
            "A limit on on-demand requests is used up to a given share.",
            "limit/{limit}",
            [payloads.LimitReached],
        ),
        EventType("beat.alert.opened", "An alert opens.", ALERT, [payloads.AlertEvent]),
        EventType("beat.alert.escalated", "The severity of an open alert rises.", ALERT, [payloads.AlertEvent]),
        EventType("beat.alert.resolved", "The cause of an alert is gone.", ALERT, [payloads.AlertResolved]),
        EventType(
            TEST,
            "A test of a webhook is asked for. It goes to this webhook alone.",
            "webhook/{webhook_id}",
            [payloads.WebhookTest],
            logged=False,
        ),
    )
}
"""By name. A test compares the names with the statements that write events."""


def schema_path(event_type: str) -> str | None:
    """Where the API serves the schema of a type's payload, such as `/schemas/beat.batch.ended/1`; None for a type that this release does not know."""
    known = EVENTS.get(event_type)
    return None if known is None else f"/schemas/{event_type}/{known.major}"


def matches(pattern: str, event_type: str) -> bool:
    """Whether a pattern names a type: the type itself, the beginning of types that ends in `.*` (such as `beat.alert.*` or `beat.*`), or `*`."""
    if pattern == "*" or pattern.endswith(".*"):
        return event_type.startswith(pattern[:-1])
    return pattern == event_type


def is_known(pattern: str) -> bool:
    """Whether a pattern names any type of this release."""
    return any(matches(pattern, event_type) for event_type in EVENTS)
