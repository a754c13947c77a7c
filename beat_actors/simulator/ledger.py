"""Every call that was received: the provider's count, to be compared with what the engine charged and traced."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from functools import lru_cache
from hashlib import sha256
from typing import TypedDict


@lru_cache(maxsize=65_536)
def fingerprint(secret: str) -> str:
    """A credential's name in the ledger: the first 12 hex digits of its SHA-256; `none` for a call without one."""
    return sha256(secret.encode()).hexdigest()[:12] if secret else "none"


class SourceEntry(TypedDict):
    """`ok` has status 200 and was not damaged by a fault. A call that got no answer has the status `none`. `corrupted`: the answers that were false, by the
    way in which they were."""

    calls: int
    ok: int
    over_limit: int
    faulted: int
    statuses: dict[str, int]
    by_operation: dict[str, int]
    by_credential: dict[str, int]
    over_limit_by_credential: dict[str, int]
    corrupted: dict[str, int]


class LedgerReport(TypedDict):
    calls: int
    ok: int
    over_limit: int
    faulted: int
    by_source: dict[str, SourceEntry]


class Ledger:
    def __init__(self) -> None:
        self._rows: Counter[tuple[str, str, str, int, bool, bool]] = Counter()
        self._corrupted: Counter[tuple[str, str]] = Counter()

    def record(
        self,
        source: str,
        operation: str,
        credential: str,
        status: int,
        *,
        over_limit: bool,
        faulted: bool,
        corruption: str | None = None,
    ) -> None:
        """`credential` is a fingerprint; `status` 0 is no answer at all. `corruption`: in which way the answer is false."""
        self._rows[source, operation, credential, status, over_limit, faulted] += 1
        if corruption is not None:
            self._corrupted[source, corruption] += 1

    def reset(self) -> None:
        self._rows.clear()
        self._corrupted.clear()

    def report(self, sources: Iterable[str] = ()) -> LedgerReport:
        """`sources` are listed also when nobody called them."""
        by_source: dict[str, SourceEntry] = defaultdict(_empty)
        for source in sources:
            by_source[source] = _empty()
        for (source, operation, credential, status, over_limit, faulted), calls in self._rows.items():
            entry = by_source[source]
            entry["calls"] += calls
            entry["ok"] += calls if status == 200 and not faulted else 0
            entry["over_limit"] += calls if over_limit else 0
            entry["faulted"] += calls if faulted else 0
            _add(entry["statuses"], str(status) if status else "none", calls)
            _add(entry["by_operation"], operation, calls)
            _add(entry["by_credential"], credential, calls)
            if over_limit:
                _add(entry["over_limit_by_credential"], credential, calls)
        for (source, corruption), calls in self._corrupted.items():
            by_source[source]["corrupted"][corruption] = calls
        return LedgerReport(
            calls=sum(entry["calls"] for entry in by_source.values()),
            ok=sum(entry["ok"] for entry in by_source.values()),
            over_limit=sum(entry["over_limit"] for entry in by_source.values()),
            faulted=sum(entry["faulted"] for entry in by_source.values()),
            by_source=dict(by_source),
        )


def _add(counts: dict[str, int], key: str, calls: int) -> None:
    counts[key] = counts.get(key, 0) + calls


def _empty() -> SourceEntry:
    return SourceEntry(
        calls=0, ok=0, over_limit=0, faulted=0,
        statuses={}, by_operation={}, by_credential={}, over_limit_by_credential={}, corrupted={},
    )  # fmt: skip
