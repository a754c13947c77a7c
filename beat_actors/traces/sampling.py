"""Which traces are exported, decided once a request has ended. Pure."""

from collections.abc import Mapping

FAILED, SLOW, ASKED, SAMPLED = "failed", "slow", "asked", "sampled"
REASONS = (FAILED, SLOW, ASKED, SAMPLED)
"""Why a trace is exported, the first that applies: the request failed, it was slow, its caller sampled it, or it is one of the share."""

RANDOM_BITS = 56
"""The last bits of a trace id, which W3C Trace Context wants to be random, decide. Other samplers of the same trace with the same share agree."""


def reason(
    status: str, seconds: float, priority: str, trace_id: str, *, asked: bool, share: float, slow: Mapping[str, float]
) -> str | None:
    """Why the trace of an ended request is exported; `None`: it is not. `seconds`: from its acceptance to its end."""
    if status == "FAILED":
        return FAILED
    if priority in slow and seconds > slow[priority]:
        return SLOW
    if asked:
        return ASKED
    return SAMPLED if in_share(trace_id, share) else None


def in_share(trace_id: str, share: float) -> bool:
    """Whether a trace is one of this share of all: the same answer each time, and of a larger share too."""
    most: int = 1 << RANDOM_BITS
    return int(trace_id, 16) % most >= round((1 - share) * most)
