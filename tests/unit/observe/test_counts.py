"""Sums of processes: added up, taken off, and read with other buckets than they were counted with."""

import ast
import inspect
from random import Random

import pytest

from beat_actors.broker import decision
from beat_actors.observe import families, waits
from beat_actors.observe.counts import MOST_SETS, Counts, Sum, Totals, cumulative
from beat_actors.observe.exposition import OPEN, PLAIN, content_type, exposition


def filled(seed: int, many: int = 200) -> Counts:
    rng, counts = Random(seed), Counts()
    for _ in range(many):
        counts.add(families.FALLBACKS, "p", rng.choice("ab"), rng.choice("xyz"), by=rng.randint(1, 3))
        counts.observe(families.CLAIM_INTERVAL, rng.choice(("retrieve", "ingest")), value=rng.expovariate(1))
        counts.observe(families.STATEMENT_SECONDS, value=rng.random())
    return counts


def added(*sums: list[Sum]) -> dict[object, object]:
    totals = Totals()
    for one in sums:
        totals.add(one)
    return {key: (pytest.approx(one.value), one.buckets) for key, one in totals.by_key.items()}


def test_what_is_taken_off_is_what_others_keep() -> None:
    counts = filled(1)
    before = counts.sums("worker")
    for n in range(50):
        counts.add(families.FALLBACKS, "p", "a", "new", by=n)
        counts.observe(families.CLAIM_INTERVAL, "process", value=n)
    whole = added(counts.sums("worker"))
    counts.take_off(before)
    assert added(before, counts.sums("worker")) == whole


def test_the_kind_of_process_is_a_label_of_families_that_have_it() -> None:
    found = {one.name: one.labels for one in filled(2).sums("api")}
    assert found["beat_database_statement_duration_seconds"] == ["api"]
    assert found["beat_claim_interval_seconds"] in (["retrieve"], ["ingest"])


def test_buckets_are_cumulative_and_their_last_is_all() -> None:
    counts = Counts()
    for value in (0.01, 0.010001, 60.0, 61.0):
        counts.observe(families.CLAIM_INTERVAL, "retrieve", value=value)
    (one,) = counts.sums("worker")
    assert one.buckets is not None
    found = cumulative(families.WAIT, one.buckets)
    assert (found[0], found[1], found[-2], found[-1]) == (1, 2, 3, 4)


def test_what_a_release_with_other_buckets_counted_goes_to_the_next_higher_bound() -> None:
    assert cumulative((1.0, 5.0), {"0.7": 1, "2.0": 2, "5.0": 4, "9.0": 8, "+Inf": 16}) == [1, 7, 31]


def test_sets_of_labels_are_bounded() -> None:
    counts = Counts()
    for n in range(3 * MOST_SETS):
        counts.add(families.API_REQUESTS, f"/{n}", "GET", "200")
    sums = counts.sums("api")
    assert len(sums) == MOST_SETS + 1
    assert sum(one.value for one in sums) == 3 * MOST_SETS


def test_texts_of_labels_are_escaped() -> None:
    text = exposition([Sum("beat_queue_delayed", ['a"b\\c\nd'], 1.0)], PLAIN)
    assert 'beat_queue_delayed{platform="a\\"b\\\\c\\nd"} 1\n' in text


def test_what_another_release_named_otherwise_is_left_out() -> None:
    text = exposition([Sum("beat_gone_total", ["x"], 1.0), Sum("beat_queue_delayed", ["a", "b"], 1.0)], PLAIN)
    assert "beat_gone" not in text
    assert "beat_queue_delayed{" not in text


@pytest.mark.parametrize(
    ("accept", "media"),
    [(None, PLAIN), ("*/*", PLAIN), ("application/openmetrics-text;version=1.0.0,text/plain;q=0.5", OPEN)],
)
def test_the_format_is_the_one_that_is_asked_for(accept: str | None, media: str) -> None:
    assert content_type(accept) == media


def test_every_family_says_what_it_is_and_labels_hold_no_identity() -> None:
    for family in families.FAMILIES.values():
        assert family.told.endswith("."), family.name
        assert bool(family.bounds) == (family.kind == "histogram"), family.name
        assert family.name.endswith("_total") == (family.kind == "counter"), family.name
        assert not {*family.labels} & {
            "id",
            "handle",
            "credential",
            "account",
            "owner",
            "key",
            "request",
            "url",
            "host",
            "pid",
        }
        assert list(family.bounds) == sorted(set(family.bounds))


def sentences() -> list[str]:
    """The beginnings of the reasons that the broker gives, as its module writes them."""
    found = []
    for node in ast.walk(ast.parse(inspect.getsource(decision))):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("Reason", "because"):
            found += [text for argument in node.args for text in texts(argument)]
        elif isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "why":
            found += texts(node.value)
    return found


def texts(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return [node.value]
    if isinstance(node, ast.JoinedStr):
        first = node.values[0]
        return [first.value] if isinstance(first, ast.Constant) else []
    return (
        [text for branch in (node.body, node.orelse) for text in texts(branch)] if isinstance(node, ast.IfExp) else []
    )


def test_every_reason_of_the_broker_has_a_word() -> None:
    found = sentences()
    assert len(found) > 12
    assert [text for text in found if waits.word(text) == waits.OTHER] == []
