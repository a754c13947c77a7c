"""Redis and the workers, as the scheduler sees them."""

from collections.abc import Mapping
from typing import Any

from beat_actors.alerts import Alert

MEMORY_LEVELS = ((0.9, "critical"), (0.7, "warning"))


def redis(info: Mapping[str, Any] | None) -> list[Alert]:
    """Redis, by its own INFO: unavailable (`None`), or near its memory limit."""
    if info is None:
        return [
            Alert(
                key="redis:away",
                severity="critical",
                cause="Redis does not answer the scheduler",
                impact="no message is delivered, so no work is done; on-demand requests are refused with 503; no request is lost",
                automatic="when Redis is back, Beat sends every lost or unsent message again from the rows",
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
            cause=f"Redis uses {used >> 20} of {most >> 20} MB (maxmemory)",
            impact="at the limit Redis accepts no message, and no work is done",
            automatic="when Redis has room, Beat sends every unsent message from the rows",
            action="raise maxmemory; `beat queues --once` shows what each queue holds, dead letters included",
        )
    ]


def workers(listening: int) -> list[Alert]:
    """The alert that there is no worker process."""
    if listening:
        return []
    return [
        Alert(
            key="workers:none",
            severity="critical",
            cause="no worker process is connected to Redis",
            impact="requests are accepted and wait; none is lost",
            automatic="waiting requests continue when a worker runs",
            action="start workers: python -m actors; check that they reach Redis: `beat doctor`",
        )
    ]
