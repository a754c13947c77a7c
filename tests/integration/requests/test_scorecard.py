"""What sources did is counted where it happens, added up by week, and compared."""

from datetime import date

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from beat_actors.database import Database
from beat_actors.errors import BadInput
from beat_actors.platforms.instagram.entities import InstagramAccount
from beat_actors.platforms.interface import Outcome, Record
from beat_actors.scores import tally as tallies
from beat_actors.scores.adding import Adding, forget
from beat_actors.scores.card import ENOUGH, Sums, advise, expected, quantile, score, scorecard
from beat_actors.scores.tally import STEPS, Tally, filling

WEEK = date(2026, 11, 30)
OF = ("instagram", "lama", "profile")


def sums(source: str, calls: int, failed: int) -> Sums:
    times = [0] * (len(STEPS) + 1)
    return Sums(WEEK, "p", source, "o", calls, calls - failed, failed, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0.0, times)


def test_optional_fields_that_are_filled_are_counted() -> None:
    whole = InstagramAccount(profile_id="1", handle="a", followers=0, biography="")
    assert filling([whole]).filled == 2
    assert filling([whole, InstagramAccount(profile_id="2", handle="b")]).fillable == 2 * filling([whole]).fillable
    assert filling([whole]).fillable == len(InstagramAccount.__struct_fields__) - len(Record.__struct_fields__) - 2
    assert filling([]).fillable == 0


def test_what_a_source_says_to_be_absent_is_an_answer_and_what_nobody_can_read_is_none() -> None:
    tally = Tally()
    for outcome in (Outcome.OK, Outcome.OK, Outcome.MISSING, Outcome.UPSTREAM_DOWN, Outcome.RATE_LIMITED):
        tally.called(*OF, outcome, 150.0)
    tally.read(*OF, filling([InstagramAccount(profile_id="1", handle="a")]))
    tally.unread(*OF, Outcome.MALFORMED)
    tally.judged(*OF, held=1)
    tally.judged(*OF, refuted=1)
    tally.judged("instagram", "rocket", "profile")
    (row,) = tally.take()
    found = score(Sums(WEEK, *(getattr(row, name) for name in row.__struct_fields__)))
    assert found.success == pytest.approx(1 - 3 / 5)
    assert (found.down, found.refused, found.malformed) == (1 / 5, 1 / 5, 1 / 2)
    assert (found.completeness, found.records, found.calls_per_1000_records) == (0.0, 1, 5000.0)
    assert (found.held, found.impossible, found.disagreement) == (1.0, 0.0, 1.0)
    assert (found.ms, found.p95_ms) == (150.0, 200.0)
    assert not tally


def test_nothing_is_said_of_what_was_not_counted() -> None:
    found = score(sums("a", 0, 0))
    assert (found.success, found.completeness, found.ms, found.p95_ms, found.calls_per_1000_records) == (None,) * 5


def test_a_quantile_above_all_classes_is_not_known() -> None:
    assert quantile([0] * len(STEPS) + [10], 0.95) is None
    assert quantile([95, 5] + [0] * (len(STEPS) - 1), 0.95) == STEPS[0]


def test_the_order_that_costs_fewer_calls_is_suggested_with_its_gain() -> None:
    (found,) = advise({("p", "o"): ["bad", "good"]}, [sums("bad", 1000, 600), sums("good", 1000, 50)])
    assert found.suggested == ["good", "bad"]
    assert found.expected == pytest.approx(1.6)
    assert found.suggested_expected == pytest.approx(1.05)
    assert found.gain == pytest.approx(1 - 1.05 / 1.6)
    (same,) = advise({("p", "o"): ["good", "bad"]}, [sums("bad", 1000, 600), sums("good", 1000, 50)])
    assert (same.suggested, same.why) == (None, "the chain is as good as any other order")
    (few,) = advise({("p", "o"): ["good", "bad"]}, [sums("bad", ENOUGH - 1, 0), sums("good", 1000, 50)])
    assert (few.suggested, few.why) == (None, f"fewer than {ENOUGH} calls of bad")
    assert advise({("p", "other"): ["good", "bad"]}, [sums("bad", 1000, 0)]) == []


@given(st.lists(st.integers(0, 1000), min_size=2, max_size=5))
def test_no_order_is_better_than_the_suggested_one(failed: list[int]) -> None:
    chain = [f"s{n}" for n in range(len(failed))]
    rows = [sums(name, 1000, count) for name, count in zip(chain, failed, strict=True)]
    (found,) = advise({("p", "o"): chain}, rows)
    rates = {name: 1 - count / 1000 for name, count in zip(chain, failed, strict=True)}
    best = expected(sorted(chain, key=lambda name: -rates[name]), rates)
    assert found.expected is not None
    assert (found.suggested_expected or found.expected) <= best + 0.01 * found.expected + 1e-9


async def test_processes_add_to_the_same_week(database: Database) -> None:
    first, second = Adding(Tally()), Adding(Tally())
    for adding in (first, second):
        for ms in (50.0, 500.0):
            adding.tally.called(*OF, Outcome.OK, ms)
        await adding.now(database)
    first.tally.called(*OF, Outcome.UPSTREAM_DOWN, 1.0)
    await first.due(database)
    assert first.tally, "a minute has not passed"
    await first.now(database)
    await first.now(database)
    card = await scorecard(database, platform="instagram")
    (row,) = card.scores
    assert (row.calls, row.success, row.ms, row.p95_ms) == (5, 4 / 5, 275.0, 800.0)
    assert [one.operation for one in card.advice] == ["profile"] * (len(card.advice) > 0)


async def test_what_could_not_be_added_is_counted_the_next_time(database: Database, database_url: str) -> None:
    adding = Adding(Tally())
    adding.tally.called(*OF, Outcome.OK, 50.0)
    with psycopg.connect(database_url, autocommit=True) as admin:
        admin.execute("ALTER TABLE source_score RENAME TO away")
        with pytest.raises(psycopg.Error):
            await adding.now(database)
        admin.execute("ALTER TABLE away RENAME TO source_score")
    adding.tally.called(*OF, Outcome.OK, 50.0)
    await adding.now(database)
    (row,) = (await scorecard(database)).scores
    assert row.calls == 2


async def test_weeks_are_forgotten_after_a_year_and_only_some_are_asked_for(
    database: Database, database_url: str
) -> None:
    adding = Adding(Tally())
    adding.tally.called(*OF, Outcome.OK, 50.0)
    await adding.now(database)
    with psycopg.connect(database_url, autocommit=True) as admin:
        admin.execute(
            "INSERT INTO source_score (week, platform, source, operation, times) SELECT week - 7 * n, platform, source, operation || n, times FROM source_score, unnest(ARRAY[1, 10, 60]) n"
        )
    assert len((await scorecard(database, weeks=2)).scores) == 2
    assert (await forget(database)).count == 1
    with pytest.raises(BadInput):
        await scorecard(database, weeks=0)


async def test_what_a_pipeline_does_is_counted(world, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    """From the call to the parsed records, through the stages."""
    tallies.TALLY.take()
    await world.ask()
    await world.run()
    (row,) = tallies.TALLY.take()
    assert (row.platform, row.source, row.calls, row.good, row.read, row.malformed) == ("toy", "toy-second", 1, 1, 1, 0)
