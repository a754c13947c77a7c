"""How long a request that waits is likely to take: from what is ahead of it, and the leases that its tenant has got of late.

It reads rows by indexes and up to a limit. `expected` makes the estimate of them.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple, Protocol

from beat_actors.database import Statements, Transaction
from beat_actors.fetches.states import Stage
from beat_actors.forecast.arrival import ahead
from beat_actors.quotas import pools
from beat_actors.requests.expected import Expected, Pace, Place, in_progress, in_turn
from beat_actors.requests.views import RequestView

UNKNOWN_TAKES = 2.0
"""Seconds that a flow is taken to need where none of it has been complete of late."""
COUNTED = 10_001
"""Up to which what is ahead is counted."""
PLACES, LOOKED_AT = 48, 60
"""Places of a lane that are looked at beyond that, and rows at each."""
DECISIONS = 3_000
"""Dispatch cycles that are read at most."""
SQL = Statements(__file__)


class Tenants(NamedTuple):
    """How many tenants take turns in a lane."""

    lane_id: int
    tenants: int


class Probe(NamedTuple):
    """A look into a lane: from the id `place` on so many `rows` were found, of which `last` is the last."""

    place: int
    rows: int
    last: int


class Minute(NamedTuple):
    """`ago`: how many minutes."""

    ago: int
    leased: int


class Waiting(Protocol):
    """A fetch with what is ahead of it."""

    @property
    def id(self) -> int: ...
    @property
    def stage(self) -> str: ...
    @property
    def not_before(self) -> datetime | None: ...
    @property
    def lane_id(self) -> int: ...
    @property
    def owner(self) -> str: ...
    @property
    def tenant(self) -> str: ...
    @property
    def operation(self) -> str: ...
    @property
    def sources(self) -> list[str]: ...
    @property
    def own(self) -> int: ...
    @property
    def urgent(self) -> int: ...


TENANTS = SQL("tenants", Tenants)
PROBES, MINUTES = SQL("probes", Probe), SQL("minutes", Minute)
PACE = SQL("pace", Pace)
PACE_OF_ACCOUNT = SQL("pace_of_account", Pace)


async def tenants(transaction: Transaction, rows: Sequence[Waiting]) -> dict[int, int]:
    """How many tenants take turns, by the lane of each of these fetches that is ready. `rows`: as `explain` reads them."""
    lanes = {row.lane_id for row in rows if row.stage == Stage.WAITING and row.not_before is None}
    if not lanes:
        return {}
    return {row.lane_id: row.tenants for row in await transaction.rows(TENANTS, {"lanes": sorted(lanes)})}


async def expect(
    transaction: Transaction,
    request: RequestView,
    rows: Sequence[Waiting],
    earliest: datetime | None,
    tenants: Mapping[int, int],
    *,
    own: bool,
) -> Expected:
    """When the request is complete, as things go now.

    `rows`: its fetches. `earliest`: when the first that waits can run. `own`: what is ahead was counted of its account alone; no leases but the account's
    own have a part in the estimate then.
    """
    waiting = [row for row in rows if row.stage == Stage.WAITING]
    first = waiting[0] if waiting else None
    asked = {
        "platform": request.platform,
        "flow": request.flow,
        "request": request.joined_to or request.id,
        "account": request.account_id,
        "lane": None if first is None else first.lane_id,
        "tenant": None if first is None else first.tenant,
    }
    pace = await transaction.only(PACE if request.account_id is None else PACE_OF_ACCOUNT, asked)
    takes = pace.seconds if pace.seconds is not None else UNKNOWN_TAKES
    now = pace.now
    if not waiting:
        return in_progress(max((request.picked_at or now) + timedelta(seconds=takes), now), now, takes)
    last = max(waiting, key=lambda row: row.own + row.urgent)
    place = await _place(transaction, last)
    lately = await minutes(transaction, request.platform)
    budgets = await pools.rooms(transaction, last.sources, last.operation, owned=last.owner != "")
    turns = tenants.get(last.lane_id, 1)
    return in_turn(
        place, pace, lately, earliest, takes, turns, own=own, sources=budgets.sources, unbounded=budgets.unknown
    )


async def _place(transaction: Transaction, row: Waiting) -> Place:
    """What is ahead of the fetch. Beyond the bound of the count it is estimated from looks at some places of the lane."""
    if row.own < COUNTED:
        return Place(row.own, row.urgent, exact=row.urgent < COUNTED)
    asked = {"lane": row.lane_id, "tenant": row.tenant, "id": row.id, "places": PLACES, "most": LOOKED_AT}
    probes = await transaction.rows(PROBES, asked)
    return Place(max(row.own, round(ahead(probes, row.id))), row.urgent, exact=False)


async def minutes(transaction: Transaction, platform: str) -> list[int]:
    """The leases of the platform in each of the last minutes that had some, the oldest first."""
    return [row.leased for row in await transaction.rows(MINUTES, {"platform": platform, "most": DECISIONS})]
