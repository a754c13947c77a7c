"""The simulator's own books: every call that it received, by source, operation, credential and answer; and exact quotas."""

import hashlib
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Any

from beat_actors.simulator.double import Quota


def fingerprint(credential: str) -> str:
    return hashlib.sha256(credential.encode()).hexdigest()[:12]


@dataclass(slots=True)
class Account:
    """One credential at one provider: its calls within each quota's window."""

    recent: dict[Quota, deque[float]] = field(default_factory=dict)
    calls: int = 0

    def take(self, quotas: tuple[Quota, ...], now: float) -> float | None:
        """Count a call; `None` when it is within every quota, else the seconds until it would have been."""
        wait = 0.0
        for quota in quotas:
            times = self.recent.setdefault(quota, deque())
            while times and times[0] <= now - quota.seconds:
                times.popleft()
            if len(times) >= quota.calls:
                wait = max(wait, times[0] + quota.seconds - now)
        self.calls += 1
        if wait:
            return wait
        for quota in quotas:
            self.recent[quota].append(now)
        return None


class Ledger:
    def __init__(self) -> None:
        self.accounts: dict[tuple[str, str], Account] = {}
        self.reset()

    def reset(self) -> None:
        """Forget the counts; quotas go on."""
        self._calls: Counter[tuple[str, str, str, int]] = Counter()
        self._over_limit: Counter[str] = Counter()

    def account(self, source: str, credential: str) -> Account:
        return self.accounts.setdefault((source, credential), Account())

    def note(self, source: str, operation: str, credential: str | None, status: int, *, over_limit: bool) -> None:
        """`status` 0 stands for a call that got no answer (hung, reset)."""
        self._calls[source, operation, fingerprint(credential) if credential else "none", status] += 1
        if over_limit:
            self._over_limit[source] += 1

    def to_json(self) -> dict[str, Any]:
        sources: dict[str, dict[str, Any]] = {}
        for (source, operation, credential, status), calls in self._calls.items():
            row = sources.setdefault(
                source, {"calls": 0, "ok": 0, "over_limit": 0, "statuses": {}, "by_credential": {}, "by_operation": {}}
            )
            row["calls"] += calls
            row["ok"] += calls if 200 <= status < 300 else 0
            row["over_limit"] = self._over_limit[source]
            for part, name in (("statuses", str(status)), ("by_credential", credential), ("by_operation", operation)):
                row[part][name] = row[part].get(name, 0) + calls
        return {
            "calls": sum(self._calls.values()),
            "over_limit": sum(self._over_limit.values()),
            "by_source": sources,
        }
