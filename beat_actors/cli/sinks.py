"""What `beat doctor` says of events: the publisher, the sinks, and BEAT_EVENT_SINKS as it is set here."""

from typing import TYPE_CHECKING

from beat_actors.cli.finding import Finding
from beat_actors.errors import BadSettings, UnknownName
from beat_actors.events import status, troubles
from beat_actors.events.reading import check_types
from beat_actors.events.status import EventStatus, SinkView

if TYPE_CHECKING:  # what loads drivers is not for a Beat elsewhere
    from beat_actors.cli.session import Session
    from beat_actors.settings import Settings

START = "start one: python -m actors.publish"
SET = "correct BEAT_EVENT_SINKS, and restart the publishers"


async def examine(opened: "Session") -> list[Finding]:
    """Raises `StorageUnavailable`."""
    found = await status.status(opened.database)
    return [*configured(opened.settings), *states(found, wanted=bool(opened.settings.event_sinks))]


def states(found: EventStatus, *, wanted: bool) -> list[Finding]:
    """The publisher and the sinks that were ever configured. `wanted`: sinks are configured where `beat doctor` runs."""
    return [_publisher(found, wanted=wanted or bool(found.sinks)), *map(_sink, found.sinks)]


def _publisher(found: EventStatus, *, wanted: bool) -> Finding:
    if found.log.publishers:
        many = f"{found.log.publishers} run" if found.log.publishers > 1 else "one runs"
        return Finding("publisher", many)
    waits = "events wait" if wanted else "no sink is configured that waits for one"
    return Finding("publisher", f"none runs; {waits}", START if wanted else "")


def configured(settings: "Settings") -> list[Finding]:
    """The sinks of BEAT_EVENT_SINKS. Does no I/O."""
    from beat_actors.events.publisher import place_of
    from beat_actors.events.sinks.registry import make_sink

    findings = []
    for name, sink in settings.event_sinks.items():
        try:
            make_sink(place_of(settings, name, sink))
            check_types(sink.types)
        except (BadSettings, UnknownName) as error:
            findings.append(Finding(f"setting of {name}", str(error), SET))
        else:
            findings.append(Finding(f"setting of {name}", "usable"))
    return findings


def _sink(sink: SinkView) -> Finding:
    if sink.state == "standing" and sink.trouble is not None:
        said = troubles.why(sink.state, sink.trouble, sink.reason)
        return Finding(f"sink {sink.name}", said, troubles.remedy(sink.trouble).action)
    if sink.state == "not_configured":
        fix = f"put it into BEAT_EVENT_SINKS and restart the publishers, or `beat events forget {sink.name} --reason …`"
        return Finding(f"sink {sink.name}", "publishers run, and none has it in BEAT_EVENT_SINKS", fix)
    parked = f"; {sink.parked:,} events are parked" if sink.parked else ""
    fix = f"`beat events parked {sink.name}` shows why; then `beat events retry {sink.name}`" if sink.parked else ""
    return Finding(
        f"sink {sink.name}", f"{sink.state.replace('_', ' ')}, {sink.lag_events:,} events behind{parked}", fix
    )
