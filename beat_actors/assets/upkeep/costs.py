"""What assets cost: what uploads took, by account and class, times the prices in `BEAT_ASSET_PRICES`. An estimate, and no bill."""

from typing import Annotated, NamedTuple

import msgspec

from beat_actors.asset_budget_settings import AssetPrices
from beat_actors.assets.classes import AssetClass
from beat_actors.assets.upkeep.backlog import CLASSES
from beat_actors.database import Database, Statements
from beat_actors.errors import BadInput
from beat_actors.shapes import one_of

LONGEST = 92
"""Days that can be asked for."""
MOST = 500
"""Accounts and classes that are listed."""
GB = 1e9


class Spent(NamedTuple):
    """What uploads of an account and a class took: requests to origins, bytes from there, PUTs, bytes that were stored, failed uploads."""

    account_id: str
    asset_class: int
    requests: int
    fetched: int
    puts: int
    stored: int
    failed: int


class AssetCost(msgspec.Struct, frozen=True, kw_only=True):
    """`account_id`: null for what no account had observed. `once`: the price of the requests, the bytes fetched and the PUTs. `per_month`: the price of keeping
    what was stored, a month."""

    account_id: str | None
    asset_class: Annotated[str, one_of(CLASSES)] = msgspec.field(name="class")
    requests: int
    failed: int
    fetched: int
    puts: int
    stored: int
    once: float
    per_month: float


class AssetCosts(msgspec.Struct, frozen=True, kw_only=True):
    """Costs of the last days, today included, those that store most first. `cut`: there are more than are listed. `once`, `per_month`: of those that are
    listed."""

    days: int
    costs: list[AssetCost]
    cut: bool
    once: float
    per_month: float


SPENT = Statements(__file__)("spent", Spent)


async def costs(database: Database, days: int) -> AssetCosts:
    """The costs of the last `days` days. Raises `BadInput`."""
    if not 1 <= days <= LONGEST:
        raise BadInput(f"days must be a whole number from 1 to {LONGEST}", field="days")
    async with database.statements() as alone:
        rows = await alone.rows(SPENT, {"days": days - 1, "most": MOST + 1})
    prices = database.settings.asset_prices or AssetPrices()
    found = [cost(row, prices) for row in rows[:MOST]]
    return AssetCosts(
        days=days,
        costs=found,
        cut=len(rows) > MOST,
        once=round(sum(one.once for one in found), 6),
        per_month=round(sum(one.per_month for one in found), 6),
    )


def cost(row: Spent, prices: AssetPrices) -> AssetCost:
    """Pure."""
    once = (
        row.requests / 1000 * prices.request_1000
        + row.fetched / GB * prices.fetched_gb
        + row.puts / 1000 * prices.put_1000
    )
    return AssetCost(
        account_id=row.account_id or None,
        asset_class=AssetClass(row.asset_class).name.lower(),
        requests=row.requests,
        failed=row.failed,
        fetched=row.fetched,
        puts=row.puts,
        stored=row.stored,
        once=round(once, 6),
        per_month=round(row.stored / GB * prices.stored_gb_month, 6),
    )
