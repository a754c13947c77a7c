"""Which classes start when so much of a day's limits is used, and what uploads are estimated to cost."""

import pytest

from beat_actors.asset_budget_settings import AssetPrices
from beat_actors.assets.upkeep.caps import ALL, Allowed, Used, allowed, share_used
from beat_actors.assets.upkeep.costs import Spent, cost


@pytest.mark.parametrize(
    ("share", "classes", "readers"),
    [
        (0.0, (0, 1, 2, 3), True),
        (0.79, (0, 1, 2, 3), True),
        (0.8, (0, 1, 2), True),
        (0.9, (0,), True),
        (0.97, (), True),
        (1.0, (), False),
        (3.0, (), False),
    ],
)
def test_less_urgent_classes_stop_first_and_readers_last(share: float, classes: tuple[int, ...], readers: bool) -> None:
    assert allowed(share) == Allowed(classes, readers)


def test_the_limit_that_is_used_most_counts() -> None:
    used = Used(requests=50, fetched=900)
    assert share_used(used, 100, 1000) == 0.9
    assert share_used(used, 100, None) == 0.5
    assert share_used(used, None, 450) == 2.0
    assert allowed(share_used(used, None, None)) == ALL


def test_a_cost_is_what_was_taken_times_its_price() -> None:
    row = Spent("acme", 1, requests=2_000, fetched=4_000_000_000, puts=1_000, stored=2_000_000_000, failed=3)
    found = cost(row, AssetPrices())
    assert (found.account_id, found.asset_class, found.failed) == ("acme", "thumbnail", 3)
    assert (found.once, found.per_month) == (0.005, 0.046)
    prices = AssetPrices(put_1000=1, stored_gb_month=10, request_1000=0.5, fetched_gb=2)
    dear = cost(row._replace(account_id=""), prices)
    assert (dear.account_id, dear.once, dear.per_month) == (None, 1 + 1 + 8, 20)
