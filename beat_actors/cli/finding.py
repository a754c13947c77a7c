"""A finding of `beat doctor`."""

from collections.abc import Sequence
from dataclasses import dataclass

from beat_actors.alerts import AlertView


@dataclass(frozen=True, slots=True)
class Finding:
    """`found`: the state of what was checked. `fix`: what to do; empty if nothing is wrong."""

    check: str
    found: str
    fix: str = ""


def of_alerts(standing: Sequence[AlertView]) -> list[Finding]:
    """The open alerts, except those for information and those that are muted or explained by another."""
    told = [one for one in standing if one.severity != "info" and not one.silenced]
    return [Finding(f"alert {one.id}", one.cause, one.action) for one in told] or [Finding("alerts", "none is open")]
