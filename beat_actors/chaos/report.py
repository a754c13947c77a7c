"""The result of a run, which is printed as one line of `key=value`, and the promises that it broke."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field

from beat_actors.chaos.check import Findings

NOTHING_MAY = ("lost", "dup", "nonterminal", "over_issued", "unaccounted", "served_corrupt")
"""Counts that must be 0."""


@dataclass(frozen=True, slots=True)
class Budget:
    """What a run may take. `ttr`: seconds to the first success. `failed`: requests that must fail, with a reason.

    `extra_calls`: answers that the fault makes useless, beside those of unknown or late calls. `api`: seconds in which the API must answer,
    except for the slowest one in a hundred.
    """

    ttr: float | None = None
    failed: int = 0
    extra_calls: int = 0
    api: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The result of one fault with one seed. `ttr_s`, `api_p99_s`: `None` where they do not apply. `extra`: what only this fault measures."""

    fault: str
    seed: int
    findings: Findings
    fired: int
    zombie_rejected: int
    api_bad: int
    ttr_s: float | None
    drain_s: float
    run_s: float
    api_p99_s: float | None
    budget: Budget
    extra: dict[str, object] = field(default_factory=dict)
    complaints: Sequence[str] = ()
    """Promises that the fault itself saw broken."""
    late: Sequence[str] = ()
    """What the fault itself found too slow."""
    skipped: str = ""
    errors: Sequence[str] = ()
    """What processes logged as errors, where a promise was broken."""
    api_bad_statuses: dict[int, int] = field(default_factory=dict)

    @property
    def broken(self) -> list[str]:
        """The promises that did not hold, in words. Empty for a good run."""
        if self.skipped:
            return []
        counts = asdict(self.findings)
        broken = [f"{name}={counts[name]}" for name in NOTHING_MAY if counts[name]]
        if self.findings.failed != self.budget.failed:
            broken.append(f"failed={self.findings.failed}, not {self.budget.failed}")
        allowed = self.budget.extra_calls + self.findings.unknown + self.findings.late + self.findings.severed
        if self.findings.extra_calls > allowed:
            broken.append(f"extra_calls={self.findings.extra_calls}, more than {allowed}")
        if self.api_bad:
            # 0: the connection broke before an answer came.
            statuses = ", ".join(f"{count} x {status}" for status, count in sorted(self.api_bad_statuses.items()))
            broken.append(f"api_bad={self.api_bad} ({statuses})")
        return [*broken, *self.complaints]

    @property
    def slow(self) -> list[str]:
        """The budgets of time that were not kept, in words. A busy machine exceeds them too, so they break no promise."""
        budgets = (("ttr_s", self.ttr_s, self.budget.ttr), ("api_p99_s", self.api_p99_s, self.budget.api))
        if self.skipped:
            return []
        return [
            *(
                f"{name}={seconds:.1f}, more than {most:g}"
                for name, seconds, most in budgets
                if most is not None and seconds is not None and seconds > most
            ),
            *self.late,
        ]

    def line(self) -> str:
        head = f"fault={self.fault} seed={self.seed}"
        if self.skipped:
            return f"{head} skipped={self.skipped}"
        counts = asdict(self.findings)
        counts.pop("reasons")
        counts = {name: count for name, count in counts.items() if count is not None}
        values: dict[str, object] = {
            **counts,
            "zombie_rejected": self.zombie_rejected,
            "fired": self.fired,
            "api_bad": self.api_bad,
            "api_p99_s": seconds(self.api_p99_s),
            "ttr_s": seconds(self.ttr_s),
            "drain_s": seconds(self.drain_s),
            "run_s": seconds(self.run_s),
            **self.extra,
            "verdict": "BROKEN" if self.broken else "SLOW" if self.slow else "ok",
        }
        return f"{head} " + " ".join(f"{name}={value}" for name, value in values.items())


def seconds(value: float | None) -> str:
    """The text for a time: to a tenth of a second, and `-` for `None`."""
    return "-" if value is None else f"{value:.1f}"
