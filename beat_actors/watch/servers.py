"""Redis and the workers, as the scheduler sees them."""

from collections.abc import Mapping
from typing import Any

from beat_actors.alerts import Alert

MEMORY_LEVELS = ((0.9, "critical"), (0.7, "warning"))


def redis(info: Mapping[str, Any] | None) -> list[Alert]:
    """Redis, by what it says of itself: away (`None`), or near the memory that it may take."""
    if info is None:
        return [
            Alert(
                key="redis:away",
                severity="critical",
                cause="Redis does not answer the scheduler",
                impact="no message is sent, so work stands still; on-demand requests are refused with 503; none is lost",
                automatic="what was not sent is sent when it is back, and what was lost with it is sent again from the rows",
                action="start Redis, or check that BEAT_REDIS_URL reaches it: `beat doctor`",
            )
        ]
    used, most = int(info.get("used_memory", 0)), int(info.get("maxmemory", 0))
    severity = next((severity for share, severity in MEMORY_LEVELS if most and used >= most * share), None)
    if severity is None:
        return []
    return [
        Alert(
            key="redis:memory",
            severity=severity,
            cause=f"Redis uses {used >> 20} of the {most >> 20} MB that it may",
            impact="at the limit it takes no message, and work stands still",
            automatic="messages are hints of a few bytes each: what was not sent is sent later, from the rows",
            action="raise maxmemory; `beat queues --once` shows what each queue holds, dead letters included",
        )
    ]


def workers(listening: int) -> list[Alert]:
    """Worker processes, when there is none."""
    if listening:
        return []
    return [
        Alert(
            key="workers:none",
            severity="critical",
            cause="no worker listens",
            impact="requests are accepted and wait; none is lost",
            automatic="they go on as soon as a worker runs",
            action="start workers: python -m actors; check that they reach Redis: `beat doctor`",
        )
    ]
