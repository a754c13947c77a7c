"""What a run printed: one line of `key=value`. A card says itself which promise broke."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field

from beat_actors.chaos.check import Findings

NOTHING_MAY = ("lost", "dup", "nonterminal", "over_issued", "unbooked")
"""Counts that are 0 while every promise holds."""


@dataclass(frozen=True, slots=True)
class Budget:
    """What a run may come to. `ttr`: seconds to the first success. `failed`: requests that are to fail, with a reason.

    `extra_calls`: answers beyond one for each fetch and one for each call of unknown outcome or given up, because some could not be used.
    `api`: seconds in which the API answers, the slowest hundredth aside.
    """

    ttr: float | None = None
    failed: int = 0
    extra_calls: int = 0
    api: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """One (fault, seed). `ttr_s`, `api_p99_s`: `None` where it does not apply. `extra`: what only this fault measures."""

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
    """What the fault itself found wrong."""
    late: Sequence[str] = ()
    """What it found slow."""
    skipped: str = ""

    @property
    def broken(self) -> list[str]:
        """The promises that did not hold, in words; empty for a good run."""
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
            broken.append(f"api_bad={self.api_bad}")
        return [*broken, *self.complaints]

    @property
    def slow(self) -> list[str]:
        """The budgets of time that were not kept, in words. A crowded machine exceeds them too, so they are no promise broken."""
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
    """As it is shown: to a tenth, and `-` where it does not apply."""
    return "-" if value is None else f"{value:.1f}"
