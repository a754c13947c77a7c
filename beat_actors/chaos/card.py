"""What a run printed: one line of `key=value`, read back for the table. A card says itself which promise broke."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field

from beat_actors.chaos.check import Findings

NOTHING_MAY = ("lost", "dup", "nonterminal", "over_issued", "unbooked")
"""Counts that are 0 while every promise holds."""
RULE_OF_THREE = 3.0


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
        allowed = self.budget.extra_calls + self.findings.unknown + self.findings.late
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
            "api_p99_s": _seconds(self.api_p99_s),
            "ttr_s": _seconds(self.ttr_s),
            "drain_s": _seconds(self.drain_s),
            "run_s": _seconds(self.run_s),
            **self.extra,
            "verdict": "BROKEN" if self.broken else "SLOW" if self.slow else "ok",
        }
        return f"{head} " + " ".join(f"{name}={value}" for name, value in values.items())


def matrix_table(cards: Sequence[Card]) -> str:
    """The worst of each fault over its seeds, as Markdown, with the upper bound that so many clean requests allow."""
    lines = [
        "| fault | seeds | requests | lost | dup | over-issued | not ended | extra calls | zombies rejected | "
        "worst ttr (s) | worst drain (s) |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for fault in dict.fromkeys(card.fault for card in cards):
        own = [card for card in cards if card.fault == fault]
        ran = [card for card in own if not card.skipped]
        if not ran:
            lines.append(f"| `{fault}` | skipped: {own[0].skipped} |" + " |" * 9)
            continue
        found = [card.findings for card in ran]
        worst = {name: max(getattr(one, name) for one in found) for name in (*NOTHING_MAY, "extra_calls")}
        ttr = max((card.ttr_s for card in ran if card.ttr_s is not None), default=None)
        cells = (
            f"`{fault}`", len(ran), sum(one.accepted for one in found), worst["lost"], worst["dup"], worst["over_issued"],
            worst["nonterminal"], worst["extra_calls"], sum(card.zombie_rejected for card in ran), _seconds(ttr),
            _seconds(max(card.drain_s for card in ran)),
        )  # fmt: skip
        lines.append("| " + " | ".join(str(cell) for cell in cells) + " |")
    ran = [card for card in cards if not card.skipped]
    accepted = sum(card.findings.accepted for card in ran)
    bad = sum(card.findings.lost + card.findings.dup + card.findings.nonterminal for card in ran)
    lines += ["", f"{len(ran)} runs, {accepted:,} requests accepted, {bad} lost, doubled or unfinished."]
    if accepted and not bad:
        bound = RULE_OF_THREE / accepted
        lines[-1] += f" By the rule of three, fewer than {bound:.4%} are, with 95 % confidence."
    return "\n".join(lines)


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"
