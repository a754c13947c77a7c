"""Faults that are switched on while the simulator runs: for a source, an operation or one credential, for a while or until cleared."""

import random
import time
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from itertools import count
from typing import Any

from beat_actors.errors import BadInput


class Kind(StrEnum):
    OUTAGE = "outage"  # 5xx with HTML
    HANG = "hang"  # no answer, ever
    RESET = "reset"  # the connection is torn down
    RATE_LIMIT = "rate_limit"  # 429, with `retry_after` if given
    QUOTA = "quota"  # the day's or month's quota is gone
    REVOKED = "revoked"  # the credential is dead
    MISSING_KEY = "missing_key"
    WRONG_TYPE = "wrong_type"
    HTML = "html"
    TRUNCATED = "truncated"
    WRONG_USER = "wrong_user"
    CORRUPT = "corrupt"  # plausible JSON, impossible numbers
    SLOW = "slow"  # answers after `delay` seconds
    GIGABYTE = "gigabyte"
    GZIP_BOMB = "gzip_bomb"
    SLOW_LORIS = "slow_loris"
    REDIRECT = "redirect"


@dataclass(frozen=True, slots=True)
class Fault:
    """`rate` is the share of matching calls that suffer; `until` is a monotonic time; `credential` is a ledger's fingerprint."""

    id: int
    kind: Kind
    source: str
    operation: str | None = None
    credential: str | None = None
    rate: float = 1.0
    status: int = 503
    delay: float = 1.0
    retry_after: float | None = None
    until: float | None = None

    def matches(self, source: str, operation: str, credential: str | None, now: float) -> bool:
        return (
            self.source == source
            and (self.until is None or now < self.until)
            and self.operation in (None, operation)
            and self.credential in (None, credential)
        )

    def to_json(self) -> dict[str, Any]:
        left = None if self.until is None else max(0.0, round(self.until - time.monotonic(), 1))
        return {name: value for name, value in asdict(self).items() if name != "until"} | {"seconds_left": left}


@dataclass(slots=True)
class Faults:
    rng: random.Random = field(default_factory=lambda: random.Random(1))
    _faults: dict[int, Fault] = field(default_factory=dict)
    _ids: Any = field(default_factory=lambda: count(1))

    def add(self, body: Any, sources: set[str]) -> Fault:
        """Switch on what `body` describes. Raises `BadInput` with the field that is wrong."""
        if not isinstance(body, dict):
            raise BadInput(
                "a fault is an object: kind, source, and operation, credential, rate, seconds, status, delay, retry_after"
            )
        unknown = set(body) - {
            "kind",
            "source",
            "operation",
            "credential",
            "rate",
            "seconds",
            "status",
            "delay",
            "retry_after",
        }
        if unknown:
            raise BadInput(f"a fault has no field {sorted(unknown)[0]!r}")
        if body.get("kind") not in [kind.value for kind in Kind]:
            raise BadInput(f"kind is one of {', '.join(Kind)}", field="kind")
        if body.get("source") not in sources:
            raise BadInput(f"source is one of {', '.join(sorted(sources))}", field="source")
        numbers: dict[str, Any] = {}
        for name in ("rate", "seconds", "status", "delay", "retry_after"):
            value = body.get(name)
            if value is not None and (not isinstance(value, int | float) or value < 0):
                raise BadInput(f"{name} is a number that is not negative", field=name)
            if value is not None:
                numbers[name] = value
        seconds = numbers.pop("seconds", None)
        fault = Fault(
            id=next(self._ids),
            kind=Kind(body["kind"]),
            source=body["source"],
            operation=body.get("operation"),
            credential=body.get("credential"),
            until=None if seconds is None else time.monotonic() + seconds,
            **numbers,
        )
        self._faults[fault.id] = fault
        return fault

    def clear(self, fault_id: int | None = None) -> int:
        """Switch one off, or all; how many there were."""
        if fault_id is not None:
            return 1 if self._faults.pop(fault_id, None) else 0
        cleared = len(self._faults)
        self._faults.clear()
        return cleared

    def hit(self, source: str, operation: str, credential: str | None) -> Fault | None:
        """The fault that this call suffers, if any."""
        if not self._faults:
            return None
        now = time.monotonic()
        for fault in list(self._faults.values()):
            if fault.until is not None and now >= fault.until:
                del self._faults[fault.id]
            elif fault.matches(source, operation, credential, now) and self.rng.random() < fault.rate:
                return fault
        return None

    def to_json(self) -> list[dict[str, Any]]:
        now = time.monotonic()
        return [fault.to_json() for fault in self._faults.values() if fault.until is None or now < fault.until]
