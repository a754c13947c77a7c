"""The scorecard: how well each source served each operation, by week; and in which order a chain would cost the fewest calls."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import date
from itertools import permutations
from typing import NamedTuple

import msgspec

from beat_actors.database import Database, Statements
from beat_actors.errors import BadInput
from beat_actors.platforms.registry import platform as known_platform
from beat_actors.platforms.registry import platforms
from beat_actors.scores.tally import STEPS

LONGEST = 53
"""Weeks."""
ENOUGH = 100
"""Calls of each source of a chain without which no order is suggested."""
WORTH = 0.01
"""The share of calls that another order has to spare before it is suggested."""
MOST_SOURCES = 6
"""Sources of a chain of which all orders are compared."""


class Sums(NamedTuple):
    """A row of the table."""

    week: date
    platform: str
    source: str
    operation: str
    calls: int
    good: int
    down: int
    refused: int
    absent: int
    read: int
    malformed: int
    records: int
    filled: int
    fillable: int
    held: int
    impossible: int
    refuted: int
    ms: float
    times: list[int]


class SourceScore(msgspec.Struct, frozen=True, kw_only=True):
    """How a source served an operation in a week. Shares are 0 to 1, and None where nothing was counted.

    `success`: calls that were answered, or said in the provider's own words that there is nothing. `completeness`: optional fields of records that were
    filled. `malformed`: answers that no parser could read. Of the records, `held` had to be confirmed, `impossible` could not be true, and of `disagreement`
    another source said what was known before. `ms`: the mean time of good calls; `p95_ms`: at most so long 95 % of them took.
    `calls_per_1000_records`: what records cost.
    """

    week: date
    platform: str
    source: str
    operation: str
    calls: int
    success: float | None
    down: float | None
    refused: float | None
    malformed: float | None
    completeness: float | None
    records: int
    held: float | None
    impossible: float | None
    disagreement: float | None
    ms: float | None
    p95_ms: float | None
    calls_per_1000_records: float | None


class ChainAdvice(msgspec.Struct, frozen=True, kw_only=True):
    """The order of a chain that would have cost the fewest calls, by the sources' success in these weeks. `expected`, `suggested_expected`: calls for one
    good answer. `gain`: the share of calls that the suggested order spares. `why`: why nothing is suggested."""

    platform: str
    operation: str
    chain: list[str]
    suggested: list[str] | None
    expected: float | None
    suggested_expected: float | None
    gain: float | None
    why: str | None


class Scorecard(msgspec.Struct, frozen=True):
    """Scores by operation and week, the newest week first, and advice for each chain of several sources."""

    scores: list[SourceScore]
    advice: list[ChainAdvice]


SQL = Statements(__file__)
WEEKS = SQL("weeks", Sums)


async def scorecard(database: Database, *, weeks: int = 4, platform: str | None = None) -> Scorecard:
    """Of the last weeks, this one included. Raises `BadInput`, and `UnknownPlatform`."""
    if not 1 <= weeks <= LONGEST:
        raise BadInput(f"weeks is 1 to {LONGEST}", field="weeks")
    if platform is not None:
        known_platform(platform)
    async with database.statements() as alone:
        rows = await alone.rows(WEEKS, {"weeks": weeks, "platform": platform})
    chains = {
        (name, operation): list(chain)
        for name, one in platforms().items()
        if platform in (None, name)
        for operation, chain in one.chains.items()
        if len(chain) > 1
    }
    return Scorecard([score(row) for row in rows], advise(chains, rows))


def score(row: Sums) -> SourceScore:
    tried = row.good + row.down + row.refused + row.malformed + row.absent
    answers = row.read + row.malformed
    return SourceScore(
        week=row.week,
        platform=row.platform,
        source=row.source,
        operation=row.operation,
        calls=row.calls,
        success=success(row),
        down=share(row.down, row.calls),
        refused=share(row.refused, row.calls),
        malformed=share(row.malformed, answers or tried),
        completeness=share(row.filled, row.fillable),
        records=row.records,
        held=share(row.held, row.records),
        impossible=share(row.impossible, row.records),
        disagreement=share(row.refuted, row.records),
        ms=row.ms / row.good if row.good else None,
        p95_ms=quantile(row.times, 0.95),
        calls_per_1000_records=1000 * row.calls / row.records if row.records else None,
    )


def success(row: Sums) -> float | None:
    """A call succeeded if its answer was read, or if the provider said that there is nothing. What a parser found absent or unreadable was a good call."""
    failed = row.down + row.refused + row.malformed
    return None if not row.calls else max(0.0, 1 - failed / row.calls)


def share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def quantile(times: Sequence[int], at: float) -> float | None:
    """The upper end of the class in which the quantile lies; None where that class has none, or nothing was counted."""
    total, seen = sum(times), 0
    for count, upper in zip(times, STEPS, strict=False):
        seen += count
        if total and seen >= at * total:
            return float(upper)
    return None


def advise(chains: Mapping[tuple[str, str], Sequence[str]], rows: Sequence[Sums]) -> list[ChainAdvice]:
    """For each chain the order with the fewest expected calls for one good answer."""
    counted: defaultdict[tuple[str, str], dict[str, tuple[int, int]]] = defaultdict(dict)
    for row in rows:
        of = counted[row.platform, row.operation]
        calls, failed = of.get(row.source, (0, 0))
        of[row.source] = (calls + row.calls, failed + row.down + row.refused + row.malformed)
    return [_advice(*key, list(chain), counted[key]) for key, chain in sorted(chains.items()) if counted.get(key)]


def _advice(platform: str, operation: str, chain: list[str], counted: Mapping[str, tuple[int, int]]) -> ChainAdvice:
    few = [source for source in chain if counted.get(source, (0, 0))[0] < ENOUGH]
    nothing = {"suggested": None, "expected": None, "suggested_expected": None, "gain": None}
    if few:
        why = f"fewer than {ENOUGH} calls of {', '.join(few)}"
        return ChainAdvice(platform=platform, operation=operation, chain=chain, why=why, **nothing)
    rates = {source: max(0.0, 1 - failed / calls) for source, (calls, failed) in counted.items()}
    now = expected(chain, rates)
    orders = permutations(chain) if len(chain) <= MOST_SOURCES else [sorted(chain, key=lambda one: -rates[one])]
    best = min(orders, key=lambda order: (expected(order, rates), [chain.index(one) for one in order]))
    then = expected(best, rates)
    gain = 1 - then / now if now else 0.0
    if gain < WORTH:
        why = "the chain is as good as any other order"
        return ChainAdvice(platform=platform, operation=operation, chain=chain, suggested=None, expected=now, suggested_expected=None, gain=None, why=why)  # fmt: skip
    return ChainAdvice(platform=platform, operation=operation, chain=chain, suggested=list(best), expected=now, suggested_expected=then, gain=gain, why=None)  # fmt: skip


def expected(order: Sequence[str], rates: Mapping[str, float]) -> float:
    """The calls that one work item takes on average: each source is asked once, in this order, until one succeeds."""
    calls, left = 0.0, 1.0
    for source in order:
        calls += left
        left *= 1 - rates[source]
    return calls
