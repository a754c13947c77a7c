"""The backlog of assets: how many wait in each class, since when, how fast they are fetched, when the last has had its turn, and how many expire before.

What is exact, and what is not:

- The number that waits is counted, up to `COUNTED` in each class and `STATES_COUNTED` in each other state. Above that it is a lower limit, and `at_least` says so.
- When they were observed, and when their URLs expire, is read of the `READ` of each class that expire first. The others expire later.
- The pace is counted: the sums of `asset_usage`, which each commit of an upload keeps, against a sample of up to `WINDOW` seconds ago. A sweep takes samples.
- The end, the bytes and the number that expires before its turn are forecasts of these, at the pace of now (`forecast`).
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Annotated, NamedTuple

import msgspec

from beat_actors.assets.classes import AssetClass
from beat_actors.assets.upkeep.forecast import Due, Turn, turns
from beat_actors.database import Database, Statements
from beat_actors.requests.swept import Swept
from beat_actors.shapes import one_of

COUNTED = 1_000_000
"""Assets of a class up to which they are counted. It reads an index."""
STATES_COUNTED = 100_000
"""Assets of another state up to which they are counted. It reads an index."""
READ = 50_000
"""Assets of a class whose deadlines are read. It reads their rows."""
WINDOW = 300.0
"""Seconds over which the pace is taken."""
LEAST_WINDOW = 5.0
"""Seconds since a sample below which it says nothing of the pace."""
CLASSES = tuple(one.name.lower() for one in AssetClass)
STATES = ("WAITING", "PROCESSING", "REFETCH", "COMPLETE", "FAILED", "EXPIRED", "GONE")
"""All but PENDING, which is counted by class."""


class Step(NamedTuple):
    """Assets of a class whose URLs have about `left` seconds. `oldest`: seconds since the first of them was observed."""

    asset_class: int
    left: float | None
    assets: int
    oldest: float


class Waiting(NamedTuple):
    """Assets of a class that wait for their turn, at most `COUNTED`."""

    asset_class: int
    assets: int


class Counted(NamedTuple):
    """Assets in a state, at most `STATES_COUNTED`."""

    status: str
    assets: int


class Taken(NamedTuple):
    """Fetches from origins of a class in the last `seconds`, and how many of them failed."""

    asset_class: int
    seconds: float
    requests: int
    failed: int


class Size(NamedTuple):
    """The mean bytes of a fetched asset of a class."""

    asset_class: int
    bytes: int | None


class ClassBacklog(msgspec.Struct, frozen=True, kw_only=True):
    """The assets of a class that wait for their turn. `at_least`: there are more than were counted. `oldest_seconds`: since the first of those that expire first
    was observed.

    `per_second`: fetches of this class over the last minutes; null: not known. `bytes`: what they are expected to have together; null: nothing of this
    class was fetched yesterday or today. `ends_in_seconds`: until the last has had its turn; null: nothing is being fetched, or the pace is not known.
    `late`: how many of their URLs expire before their turn; null as `ends_in_seconds`.
    """

    asset_class: Annotated[str, one_of(CLASSES)] = msgspec.field(name="class")
    pending: int
    at_least: bool
    oldest_seconds: float | None
    per_second: float | None
    bytes: int | None
    ends_in_seconds: float | None
    late: int | None


class StateCount(msgspec.Struct, frozen=True, kw_only=True):
    """Assets in a state. `at_least`: there are more than were counted."""

    status: Annotated[str, one_of(STATES)]
    assets: int
    at_least: bool


class AssetBacklog(msgspec.Struct, frozen=True, kw_only=True):
    """What waits to be stored. `pending`: in all classes. `wanted`: assets that readers wait for; they go first. `per_second`: fetches from origins over the last
    minutes, and `failed_share` of them; null: not known. `ends_at`: when the last asset that waits now has had its turn; null: nobody knows."""

    at: datetime
    pending: int
    at_least: bool
    wanted: int
    per_second: float | None
    failed_share: float | None
    bytes: int | None
    late: int | None
    ends_at: datetime | None
    ends_in_seconds: float | None
    classes: list[ClassBacklog]
    states: list[StateCount]


SQL = Statements(__file__)
WAITING, COUNTS, STATE_COUNTS, WANTED = (
    SQL("waiting", Step),
    SQL("counts", Waiting),
    SQL("states", Counted),
    SQL("wanted", int),
)
PACE, SIZES, SAMPLE = SQL("pace", Taken), SQL("sizes", Size), SQL("sample", int)
FORGET_USAGE = SQL("forget_usage")
USAGE_DAYS, USAGE_MOST = 92, 1000
"""Days before today whose usage is kept, as many as `costs` can be asked for, and rows that one run deletes."""
NOW = SQL("now", datetime)


async def backlog(database: Database) -> AssetBacklog:
    """The backlog now. It reads at most `READ` rows of each class, and entries of indexes as the limits of the counts say."""
    classes = [int(one) for one in AssetClass]
    async with database.transaction() as transaction, transaction.pipeline() as pipeline:
        now = await pipeline.run(NOW)
        steps = await pipeline.run(WAITING, {"classes": classes, "most": READ})
        counts = await pipeline.run(COUNTS, {"classes": classes, "most": COUNTED})
        states = await pipeline.run(STATE_COUNTS, {"states": list(STATES), "most": STATES_COUNTED})
        wanted = await pipeline.run(WANTED, {"most": STATES_COUNTED})
        taken = await pipeline.run(PACE, {"seconds": WINDOW})
        sizes = await pipeline.run(SIZES)
    return composed(
        now.only,
        steps.rows,
        {one.asset_class: one.assets for one in counts.rows},
        states.rows,
        taken.rows,
        {size.asset_class: size.bytes for size in sizes.rows},
        wanted=wanted.only,
    )


async def sample(database: Database, epoch: int | None = None) -> Swept:
    """Note what the uploads of today have taken so far, for the pace, and delete what is too old to be asked for. Bounded by the accounts that had uploads
    today, and by `USAGE_MOST`."""
    async with database.statements() as alone:
        await alone.run(SAMPLE, {"classes": [int(one) for one in AssetClass], "epoch": epoch})
        await alone.run(FORGET_USAGE, {"days": USAGE_DAYS, "most": USAGE_MOST, "epoch": epoch})
    return Swept()


def composed(
    at: datetime,
    steps: Sequence[Step],
    counts: Mapping[int, int],
    states: Sequence[Counted],
    taken: Sequence[Taken],
    sizes: Mapping[int, int | None],
    *,
    wanted: int = 0,
) -> AssetBacklog:
    """What was counted, with the forecast. Pure."""
    rate, failed = pace(taken)
    due = [Due(step.asset_class, step.left, step.assets) for step in steps]
    for one, count in counts.items():
        if rest := max(0, count - sum(step.assets for step in due if step.asset_class == one)):
            due.append(Due(one, None, rest))
    ends = turns(due, rate) if rate else None
    paces = {one.asset_class: one.requests / one.seconds for one in taken if one.seconds >= LEAST_WINDOW}
    classes = [
        _of_class(
            one, counts.get(one, 0), [step for step in steps if step.asset_class == one], paces, sizes.get(one), ends
        )
        for one in AssetClass
    ]
    last = None if ends is None else max((turn.ends_in for turn in ends.values()), default=0.0)
    expected = [one.bytes for one in classes if one.pending]
    return AssetBacklog(
        at=at,
        pending=sum(one.pending for one in classes),
        at_least=any(one.at_least for one in classes),
        wanted=wanted,
        per_second=rate,
        failed_share=failed,
        bytes=None if None in expected else sum(size for size in expected if size is not None),
        late=None if ends is None else sum(turn.late for turn in ends.values()),
        ends_in_seconds=last,
        ends_at=None if last is None else _after(at, last),
        classes=classes,
        states=[
            StateCount(status=one.status, assets=one.assets, at_least=one.assets >= STATES_COUNTED) for one in states
        ],
    )


def pace(taken: Sequence[Taken]) -> tuple[float | None, float | None]:
    """Fetches a second, and the share of them that failed. None where it is not known; the share also where nothing was fetched."""
    known = [one for one in taken if one.seconds >= LEAST_WINDOW]
    if not known:
        return None, None
    requests = sum(one.requests for one in known)
    return requests / known[0].seconds, sum(one.failed for one in known) / requests if requests else None


def _of_class(
    one: AssetClass,
    pending: int,
    steps: Sequence[Step],
    paces: Mapping[int, float],
    size: int | None,
    ends: Mapping[int, Turn] | None,
) -> ClassBacklog:
    turn = None if ends is None else ends.get(one, Turn(0.0, 0))
    return ClassBacklog(
        asset_class=one.name.lower(),
        pending=pending,
        at_least=pending >= COUNTED,
        oldest_seconds=max((step.oldest for step in steps), default=None),
        per_second=paces.get(one),
        bytes=None if size is None else size * pending,
        ends_in_seconds=None if turn is None else turn.ends_in,
        late=None if turn is None else turn.late,
    )


LONGEST = 100 * 365 * 86_400.0
"""Seconds: an end that is further away is none."""


def _after(at: datetime, seconds: float) -> datetime | None:
    return at + timedelta(seconds=seconds) if seconds < LONGEST else None
