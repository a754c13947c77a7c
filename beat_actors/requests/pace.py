"""How long a request that waits is likely to take: from what is ahead of it, and the leases that its tenant has got of late."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple, Protocol

from beat_actors.database import Statements, Transaction
from beat_actors.fetches.states import Stage
from beat_actors.requests.views import RequestView

UNKNOWN_TAKES = 2.0
"""Seconds that a flow is taken to need where none of it has been complete of late."""
UNKNOWN_LEASES = 10.0
"""Leases a second that a platform, or a tenant, is taken to get where it has had none of late."""
SQL = Statements(__file__)


class Tenants(NamedTuple):
    """How many tenants take turns in a lane."""

    lane_id: int
    tenants: int


class Pace(NamedTuple):
    """`leases`: a second, of the platform; `own`: of them, of the tenant; `seconds` that the flow took."""

    now: datetime
    leases: float | None
    own: float | None
    seconds: float | None


class Waiting(Protocol):
    """A fetch with what is ahead of it."""

    @property
    def stage(self) -> str: ...
    @property
    def not_before(self) -> datetime | None: ...
    @property
    def lane_id(self) -> int: ...
    @property
    def tenant(self) -> str: ...
    @property
    def own(self) -> int: ...
    @property
    def urgent(self) -> int: ...


TENANTS = SQL("tenants", Tenants)
PACE = SQL("pace", Pace)
PACE_OF_ACCOUNT = SQL("pace_of_account", Pace)


async def tenants(transaction: Transaction, rows: Sequence[Waiting]) -> dict[int, int]:
    """How many tenants take turns, by the lane of each of these fetches that is ready. `rows`: as `explain` reads them."""
    lanes = {row.lane_id for row in rows if row.stage == Stage.WAITING and row.not_before is None}
    if not lanes:
        return {}
    return {row.lane_id: row.tenants for row in await transaction.rows(TENANTS, {"lanes": sorted(lanes)})}


async def eta(
    transaction: Transaction,
    request: RequestView,
    rows: Sequence[Waiting],
    earliest: datetime | None,
    tenants: Mapping[int, int],
    *,
    own: bool,
) -> datetime:
    """When the request is complete, as things go now.

    `rows`: its fetches. `earliest`: when the first that waits can run. `own`: what is ahead was counted of its account alone; nothing
    but the account's own leases has a part in the estimate then.
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
    takes = timedelta(seconds=pace.seconds if pace.seconds is not None else UNKNOWN_TAKES)
    now = pace.now
    if not waiting:
        return max((request.picked_at or now) + takes, now)
    last = max(waiting, key=lambda row: row.own + row.urgent)
    if own:
        seconds = (last.own + last.urgent) / (pace.own or UNKNOWN_LEASES)
    else:
        leases = pace.leases or UNKNOWN_LEASES
        # A tenant that has got nothing of late is taken to get its share.
        seconds = last.urgent / leases + last.own / (pace.own or leases / tenants.get(last.lane_id, 1))
    return max(earliest or now, now) + timedelta(seconds=seconds) + takes
