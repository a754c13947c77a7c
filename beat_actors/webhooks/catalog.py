"""The forms in which an endpoint may name the types of events that it wants."""

from collections.abc import Sequence

from beat_actors.errors import BadInput
from beat_actors.events.catalog import EVENTS, is_known

MOST = 20
"""Names of one endpoint."""


def check_events(events: Sequence[str]) -> list[str]:
    """The names without repetitions: a type, the beginning of types that ends in `.*` (such as `beat.alert.*` or `beat.*`), or `*`.

    Raises `BadInput` for a name that no event matches.
    """
    if not 1 <= len(events) <= MOST:
        raise BadInput(f"events must have 1 to {MOST} names (got {len(events)})", field="events")
    for place, name in enumerate(events):
        if not is_known(name):
            raise BadInput(
                f"no event is called {name[:100]!r}; name one of {', '.join(EVENTS)}, a beginning that ends in .* (beat.alert.*, "
                "beat.*), or *",
                field=f"events[{place}]",
            )
    return list(dict.fromkeys(events))
