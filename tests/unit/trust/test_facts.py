"""What the gate reads of records: as much as the rules name, and the same as the records say."""

from datetime import UTC, datetime
from decimal import Decimal

import msgspec
import pytest

from beat_actors.platforms.instagram.entities import InstagramAccount, InstagramPost
from beat_actors.platforms.interface import Record
from beat_actors.platforms.registry import platforms
from beat_actors.platforms.shopify.entities import ShopifyOrder
from beat_actors.platforms.youtube.entities import YouTubeAccount
from beat_actors.trust.facts import facts
from beat_actors.trust.gate import Gate
from beat_actors.trust.memory import NOTHING

NOW = 1_790_000_000.0
TAKEN = datetime(2026, 1, 2, tzinfo=UTC)
GATES = {
    rules.record: Gate(rules, platform.trust.since)
    for platform in platforms().values()
    for rules in platform.trust.entities
}


@pytest.mark.parametrize(
    "record",
    [
        InstagramAccount(profile_id="1", handle="ada", followers=-1, biography="Engines", is_verified=True),
        InstagramPost(shortcode="a", likes=3, comments=9000, caption="x" * 1000, taken_at=TAKEN),
        YouTubeAccount(profile_id="1", followers=2**63 - 1, views=5, published_at=datetime(1999, 1, 1, tzinfo=UTC)),
        ShopifyOrder(platform_order_id="1", store="s", total_tax=Decimal("9.99"), total_price=Decimal("9.98")),
    ],
    ids=lambda record: type(record).__name__,
)
def test_the_gate_judges_the_facts_as_it_judges_the_record(record: Record) -> None:
    gate = GATES[type(record)]
    (read,) = facts(gate.rules, msgspec.json.encode([record]))
    assert gate.judge(read, at=NOW) == gate.judge(record, at=NOW)
    assert gate.learn(NOTHING, read, gate.accepted, at=NOW) == gate.learn(NOTHING, record, gate.accepted, at=NOW)
    assert not hasattr(read, "caption")


@pytest.mark.parametrize("record", GATES, ids=lambda record: record.__name__)
def test_every_declared_entity_can_be_read(record: type[Record]) -> None:
    rules = GATES[record].rules
    made = {each.name: "1" for each in msgspec.structs.fields(record) if each.required}
    (read,) = facts(rules, msgspec.json.encode([made]))
    assert getattr(read, rules.key) == "1"
    assert GATES[record].judge(read, at=NOW).is_written


def test_what_is_no_list_of_records_is_refused() -> None:
    with pytest.raises(msgspec.ValidationError):
        facts(GATES[InstagramAccount].rules, b'[{"handle": "ada"}]')
