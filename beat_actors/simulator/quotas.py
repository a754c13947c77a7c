"""The providers' own limits, kept exactly: a call is let through when fewer than `calls` were, in the window that ends with it."""

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from beat_actors.simulator.provider import SimulatedProvider, Usage, Window


@dataclass(slots=True)
class _Rolling:
    window: Window
    times: deque[float] = field(default_factory=deque)

    def wait(self, now: float, slack: float) -> float:
        """Seconds until there is room; 0 = now."""
        horizon = now - self.window.seconds + slack
        while self.times and self.times[0] <= horizon:
            self.times.popleft()
        return 0.0 if len(self.times) < self.window.calls else max(self.times[0] - horizon, 0.001)


@dataclass(slots=True)
class _Budget:
    """`today` is the clock on the wall, in epoch seconds, by which a calendar goes."""

    window: Window
    today: Callable[[], float]
    resets_at: float = 0.0
    used: int = 0

    def wait(self, now: float) -> float:
        if now >= self.resets_at:
            self.used = 0
            calendar = self.window.calendar
            self.resets_at = now + (_until_midnight(calendar, self.today()) if calendar else self.window.seconds)
        return 0.0 if self.used < self.window.calls else self.resets_at - now


def _until_midnight(zone: str, at: float) -> float:
    there = datetime.fromtimestamp(at, ZoneInfo(zone))
    midnight = datetime.combine(there.date() + timedelta(days=1), datetime.min.time(), ZoneInfo(zone))
    return (midnight.astimezone(UTC) - there.astimezone(UTC)).total_seconds()


@dataclass(slots=True)
class _Account:
    rolling: list[_Rolling]
    budgets: list[_Budget]


class Quotas:
    """Windows are taken all or nothing; a refused call takes none. `clock` is in seconds, `today` in those of the epoch."""

    def __init__(
        self,
        *,
        enabled: bool = True,
        slack: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
        today: Callable[[], float] = time.time,
    ) -> None:
        self.enabled = enabled
        self._slack = slack
        self._clock = clock
        self._today = today
        self._of_source: dict[str, tuple[Window, ...]] = {}
        self._of_credential: dict[tuple[str, str], tuple[Window, ...]] = {}
        self._accounts: dict[tuple[str, str], _Account] = {}

    def windows(self, provider: SimulatedProvider, fingerprint: str | None = None) -> Sequence[Window]:
        """What holds for a credential, or for a provider's credentials in general."""
        own = self._of_credential.get((provider.name, fingerprint)) if fingerprint else None
        return own if own is not None else self._of_source.get(provider.name, provider.limits)

    def set_source(self, source: str, windows: Sequence[Window]) -> None:
        """From now on; what was used of the old windows is forgotten."""
        self._of_source[source] = tuple(windows)
        self._accounts = {key: account for key, account in self._accounts.items() if key[0] != source}

    def set_credential(self, source: str, fingerprint: str, windows: Sequence[Window]) -> None:
        self._of_credential[source, fingerprint] = tuple(windows)
        self._accounts.pop((source, fingerprint), None)

    def forget_usage(self) -> None:
        self._accounts.clear()

    def charge(
        self, provider: SimulatedProvider, fingerprint: str, *, operation: str = "", free: bool = False
    ) -> Usage:
        """Take one call of the operation, or say by which window it is refused. `free`: only look."""
        if not self.enabled:
            return _unlimited(self.windows(provider, fingerprint))
        now = self._clock()
        account = self._account(provider, fingerprint)
        refused, wait = self._refusal(account, operation, now)
        if refused is None and not free:
            for rolling in account.rolling:
                if rolling.window.counts(operation):
                    rolling.times.append(now)
            for budget in account.budgets:
                if budget.window.counts(operation):
                    budget.used += 1
        return _usage(account, now, None if free else refused, 0.0 if free else wait)

    def used(self) -> Mapping[tuple[str, str], int]:
        """(source, fingerprint) -> calls in its longest window."""
        return {
            key: max((len(rolling.times) for rolling in account.rolling), default=0)
            for key, account in self._accounts.items()
        }

    def _account(self, provider: SimulatedProvider, fingerprint: str) -> _Account:
        key = (provider.name, fingerprint)
        account = self._accounts.get(key)
        if account is None:
            windows = self.windows(provider, fingerprint)
            account = _Account(
                [_Rolling(window) for window in windows if not window.quota],
                [_Budget(window, self._today) for window in windows if window.quota],
            )
            self._accounts[key] = account
        return account

    def _refusal(self, account: _Account, operation: str, now: float) -> tuple[Window | None, float]:
        refused: Window | None = None
        longest = 0.0
        waits = [(rolling.window, rolling.wait(now, self._slack)) for rolling in account.rolling]
        waits += [(budget.window, budget.wait(now)) for budget in account.budgets]
        for window, wait in waits:
            if wait > longest and window.counts(operation):
                refused, longest = window, wait
        return refused, longest


def _usage(account: _Account, now: float, refused: Window | None, wait: float) -> Usage:
    rolling = max(account.rolling, key=lambda each: len(each.times) / each.window.calls, default=None)
    budget = min(account.budgets, key=lambda each: each.window.calls - each.used, default=None)
    return Usage(
        calls=rolling.window.calls if rolling else 0,
        used=len(rolling.times) if rolling else 0,
        seconds=rolling.window.seconds if rolling else 0.0,
        quota_calls=budget.window.calls if budget else 0,
        quota_left=budget.window.calls - budget.used if budget else 0,
        quota_reset=budget.resets_at - now if budget else 0.0,
        refused_by=refused,
        wait=wait,
    )


def _unlimited(windows: Sequence[Window]) -> Usage:
    """With limits off, the headers say that nothing is used, or a caller that heeds them would still hold back."""
    rolling = next((window for window in windows if not window.quota), None)
    quota = next((window for window in windows if window.quota), None)
    return Usage(
        calls=rolling.calls if rolling else 0,
        seconds=rolling.seconds if rolling else 0.0,
        quota_calls=quota.calls if quota else 0,
        quota_left=quota.calls if quota else 0,
        quota_reset=quota.seconds if quota else 0.0,
    )
