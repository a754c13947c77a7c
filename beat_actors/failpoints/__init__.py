"""Failpoints: the named places of the engine where a rehearsal can kill, freeze or break the process.

`hit` is one comparison unless `BEAT_FAILPOINTS` was set when the process started. `beat_actors.failpoints.armed` has the actions and
the syntax of the variable. That module belongs to the `rehearsal` extra, so a production installation has nothing that can be armed;
and the variable is refused unless `BEAT_ENVIRONMENT` is `rehearsal`.
"""

import os
from collections.abc import Sequence
from importlib import import_module
from typing import Protocol

from beat_actors.errors import BadSettings

VARIABLE = "BEAT_FAILPOINTS"
ENVIRONMENT = "BEAT_ENVIRONMENT"
BOUNDARIES = {
    "turn": ("before_claim", "after_claim", "before_commit", "after_commit", "after_send"),
    "retrieve": ("before_claim", "after_claim", "after_http", "before_commit", "after_commit", "after_send"),
    "ingest": ("before_claim", "after_claim", "after_parse", "before_commit", "after_commit", "after_send"),
    "through": ("before_read", "before_write", "before_commit", "after_commit"),
    "process": ("before_claim", "after_claim", "before_commit", "after_commit", "after_send"),
    "hold": ("after_put", "before_decision", "after_decision"),
    "intake": ("before_commit", "after_commit"),
    "sweep": ("before_send",),
    "publish": ("before_sequence", "after_sequence", "after_read", "before_publish", "after_publish", "after_save"),
    "upload": ("after_claim", "after_fetch", "after_put", "after_commit"),
    "restore": ("before_commit", "after_commit"),
}
"""Where a stage may be cut: each is hit once a batch. `after_send` is the last before Dramatiq's acknowledgement. `through` is the
ordinary way, on which the process that retrieved goes on: raised at its `before_read`, it leaves that to `ingest`, and at its
`before_write` to `process`. `hold`: in the transaction that writes, records are held, and held ones of an earlier transaction are accepted or
rejected; each is hit only where there are any. `publish`: events have places, were read, were confirmed by the sink, and its place was saved; each is hit only
where there are any, `before_sequence` always. `upload`: `after_fetch` and `after_put` are hit for each asset. `restore`: each is hit at
each step of a restore."""
PAYLOADS = ("ingest.parse", "process.write")
"""Hit for each payload of a batch."""
POINTS = (*(f"{stage}.{boundary}" for stage, boundaries in BOUNDARIES.items() for boundary in boundaries), *PAYLOADS)


class Register(Protocol):
    """What is armed, and how often it was hit."""

    def hit(self, point: str, subject: object) -> None: ...


def hit(point: str, subject: object = None) -> None:
    """Pass `point`; `subject` is the current batch's ids or the payload's parameters."""
    if _register is not None:
        _register.hit(point, subject)


def pairs(stage: str) -> Sequence[str]:
    """The boundaries of a stage as points."""
    return [f"{stage}.{boundary}" for boundary in BOUNDARIES[stage]]


def from_environment() -> Register | None:
    """The register that `BEAT_FAILPOINTS` arms; `None` where the variable is not set.

    Raises `BadSettings` in a production environment, where the `rehearsal` extra is not installed, and for bad syntax.
    """
    text = os.environ.get(VARIABLE, "").strip()
    if not text:
        return None
    if os.environ.get(ENVIRONMENT) != "rehearsal":
        raise BadSettings(
            f"{VARIABLE}: it breaks this process on purpose, and the environment is production. Unset it, or set {ENVIRONMENT}=rehearsal"
        )
    try:
        armed = import_module("beat_actors.failpoints.armed")
    except ModuleNotFoundError:
        raise BadSettings(
            f"{VARIABLE}: this installation cannot arm failpoints. Unset it, or install the wheel beat-actors-rehearsal of this version beside it"
        ) from None
    register: Register = armed.register(text)
    return register


_register: Register | None = from_environment()
