"""Which alert is a cause, and which a consequence."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from beat_actors.observe.roots import Standing, groups

AT = datetime(2026, 1, 1, tzinfo=UTC)
PLATFORM_OF = {"lama": "instagram", "graphapi": "instagram", "shop": "shopify"}


def alert(key: str, *, minutes: float = 0, **fields: Any) -> Standing:
    known = {"severity": "warning", "cause": key, "impact": "", "automatic": "", "action": "", "source": None, "covers": None, "silenced": False, "explained": False}  # fmt: skip
    return Standing(key=key, opened_at=AT + timedelta(minutes=minutes), **{**known, **fields})


def told(*alerts: Standing) -> dict[str, set[str]]:
    return {group.root.key: {one.key for one in group.parts} for group in groups(alerts, PLATFORM_OF)}


@pytest.mark.parametrize(
    ("root", "part"),
    [
        (alert("database:slow"), alert("claims:instagram")),
        (alert("database:slow"), alert("database:pool")),
        (alert("database:outage"), alert("sweep:rescue")),
        (alert("connections:postgresql"), alert("database:pool")),
        (alert("redis:away"), alert("workers:none")),
        (alert("workers:none"), alert("waiting:instagram:f")),
        (alert("workers:none"), alert("backlog:assets")),
        (alert("process:crashes"), alert("workers:none")),
        (alert("code:platform shopify"), alert("claims:shopify")),
        (alert("platform:instagram", covers=["lama"]), alert("source:lama", source="lama", explained=True)),
        (alert("platform:instagram", covers=["lama"]), alert("quota:credential:1:day", source="lama")),
        (alert("platform:instagram", covers=["lama"]), alert("waiting:instagram:f")),
        (alert("source:lama", source="lama"), alert("credentials:lama", source="lama")),
        (alert("source:lama", source="lama", severity="critical"), alert("waiting:instagram:f")),
        (alert("parser:lama", source="lama"), alert("quarantine:malformed:lama:profile", source="lama")),
        (alert("credentials:lama", source="lama"), alert("credential:1:dead", source="lama")),
        (alert("hand:flow:instagram:f"), alert("waiting:instagram:f")),
        (alert("hand:data:lama:profile", source="lama", minutes=55), alert("held:lama:profile", source="lama")),
        (alert("hand:data:lama:profile", source="lama", minutes=55), alert("waiting:instagram:f")),
        (alert("events:publisher"), alert("events:bus:lag")),
        (alert("events:bus:blocked"), alert("events:bus:lag")),
        (alert("assets:bucket"), alert("process:bucket")),
        (alert("assets:late"), alert("backlog:assets")),
        (alert("scheduler:none"), alert("sweep:rescue")),
        (alert("data:lama:profile", source="lama", severity="critical"), alert("held:lama:profile", source="lama")),
        (alert("data:lama:profile", source="lama", severity="critical"), alert("waiting:instagram:f")),
        (alert("parser:lama", source="lama"), alert("data:lama:profile", source="lama")),
        (
            alert("source:graphapi", source="graphapi"),
            alert("held:lama:profile", source="lama"),
        ),  # it would confirm them
        (alert("credentials:graphapi", source="graphapi"), alert("held:lama:profile", source="lama")),
        (alert("notify:deliverer"), alert("webhook:deliverer")),
        (alert("notify:deliverer"), alert("notify:pager")),
        (alert("database:outage"), alert("notify:deliverer")),
        (alert("database:restored"), alert("consistency:profile")),
        (alert("sweep:partitions"), alert("partition:event")),
        (alert("sweep:archive"), alert("payloads:unarchived")),
        (alert("limit:daily:2026-01-01"), alert("forecast:daily:2026-01-01")),
        (alert("forecast:tikwm day", source="lama"), alert("quota:credential:1:day", source="lama")),
        (alert("hand:source:lama", source="lama"), alert("credentials:lama", source="lama")),
        (
            alert("hand:flow:instagram:f", minutes=60),
            alert("waiting:instagram:f", minutes=10),
        ),  # it is told an hour later
    ],
    ids=lambda one: one.key,
)
def test_a_consequence_is_a_part_of_its_cause_in_any_order(root: Standing, part: Standing) -> None:
    assert told(root, part) == told(part, root) == {root.key: {part.key}}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (alert("database:restored"), alert("claims:instagram")),
        (alert("source:lama", source="lama"), alert("credentials:graphapi", source="graphapi")),
        (alert("source:lama", source="lama"), alert("waiting:instagram:f")),  # it has other sources
        (alert("source:lama", source="lama", severity="critical"), alert("waiting:shopify:f")),
        (alert("platform:instagram", covers=["lama"]), alert("source:shop", source="shop")),
        (alert("events:bus:blocked"), alert("events:file:lag")),
        (alert("database:outage"), alert("claims:instagram", minutes=20)),  # the outage is over
        (alert("database:slow", minutes=20), alert("waiting:instagram:f")),  # it waited before
        (alert("process:clock"), alert("claims:instagram")),
        (alert("quota:x", source="lama"), alert("source:graphapi", source="graphapi")),
        (alert("data:lama:profile", source="lama"), alert("held:lama:posts", source="lama")),
        (alert("data:lama:profile", source="lama"), alert("waiting:shopify:f")),
        (alert("source:lama", source="lama"), alert("held:lama:profile", source="lama")),  # others would confirm them
        (alert("source:shop", source="shop"), alert("held:lama:profile", source="lama")),
        (alert("notify:pager"), alert("notify:mail")),
        (alert("limit:daily"), alert("forecast:other:2026-01-01")),
        (alert("forecast:daily:2026-01-01"), alert("quota:credential:1:day", source="lama")),
        (alert("sweep:archive"), alert("partition:event")),
        (alert("hand:flow:instagram:f", minutes=90), alert("waiting:instagram:f")),  # it waited before
    ],
    ids=lambda one: one.key,
)
def test_what_has_nothing_to_do_with_each_other_is_two_problems(one: Standing, other: Standing) -> None:
    assert told(one, other) == {one.key: set(), other.key: set()}


def test_a_chain_of_consequences_has_one_root() -> None:
    chain = [
        alert("waiting:instagram:f", minutes=3),
        alert("workers:none", minutes=1),
        alert("database:claims", minutes=2),
        alert("redis:away"),
    ]
    assert told(*chain) == {"redis:away": {"waiting:instagram:f", "workers:none", "database:claims"}}


def test_the_gravest_group_comes_first_and_of_equal_ones_the_one_nearest_to_the_foundation() -> None:
    found = groups(
        [
            alert("quarantine:poison:-:-", severity="critical"),
            alert("source:lama", source="lama", severity="critical"),
            alert("database:slow"),
            alert("claims:instagram", severity="critical"),
            alert("redis:away", severity="critical", silenced=True),
        ],
        PLATFORM_OF,
    )
    assert [group.root.key for group in found] == [
        "database:slow",
        "source:lama",
        "quarantine:poison:-:-",
        "redis:away",
    ]
    assert found[0].severity == "critical"


def test_alerts_that_could_explain_each_other_are_one_problem() -> None:
    slow, outage = alert("database:slow", minutes=1), alert("database:outage")
    assert told(slow, outage) == told(outage, slow) == {"database:outage": {"database:slow"}}
