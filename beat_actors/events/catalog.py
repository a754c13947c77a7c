"""The types of events that Beat sends, each with the major version of its payload."""

from collections.abc import Mapping

MAJORS: Mapping[str, int] = {
    "beat.scrape_request.accepted": 1,
    "beat.scrape_request.processing": 1,
    "beat.scrape_request.waiting": 1,
    "beat.scrape_request.complete": 1,
    "beat.scrape_request.failed": 1,
    "beat.scrape_request.cancelled": 1,
    "beat.batch.ended": 1,
    "beat.data.changed": 1,
    "beat.credential.cooling_down": 1,
    "beat.credential.dead": 1,
    "beat.credential.revived": 1,
    "beat.credential.exhausted": 1,
    "beat.breaker.opened": 1,
    "beat.breaker.closed": 1,
    "beat.limit.reached": 1,
    "beat.alert.opened": 1,
    "beat.alert.escalated": 1,
    "beat.alert.resolved": 1,
    "beat.webhook.test": 1,
}


def schema_path(event_type: str) -> str | None:
    """Where the API serves the schema of a type's payload, such as `/schemas/beat.batch.ended/1`; None for a type that this release does not know."""
    major = MAJORS.get(event_type)
    return None if major is None else f"/schemas/{event_type}/{major}"
