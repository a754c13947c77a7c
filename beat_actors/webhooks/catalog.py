"""The types of events that Beat sends, and the forms in which an endpoint may name them."""

from collections.abc import Sequence

from beat_actors.errors import BadInput

TEST = "beat.webhook.test"
EVENTS = (
    "beat.scrape_request.complete",
    "beat.scrape_request.failed",
    "beat.scrape_request.cancelled",
    "beat.batch.ended",
    "beat.alert.opened",
    "beat.alert.escalated",
    "beat.alert.resolved",
    TEST,
)
"""A test holds this list to the statements that write events."""
MOST = 20
"""Names of one endpoint."""


def check_events(events: Sequence[str]) -> list[str]:
    """The names without repetitions: a type, the beginning of types that ends in `.*` (such as `beat.alert.*` or `beat.*`), or `*`.

    Raises `BadInput` for a name that no event matches.
    """
    if not 1 <= len(events) <= MOST:
        raise BadInput(f"events must have 1 to {MOST} names (got {len(events)})", field="events")
    for place, name in enumerate(events):
        if not _matches(name):
            raise BadInput(
                f"no event is called {name[:100]!r}; name one of {', '.join(EVENTS)}, a beginning that ends in .* (beat.alert.*, "
                "beat.*), or *",
                field=f"events[{place}]",
            )
    return list(dict.fromkeys(events))


def _matches(name: str) -> bool:
    if name == "*" or name in EVENTS:
        return True
    return name.endswith(".*") and any(event.startswith(name[:-1]) for event in EVENTS)
