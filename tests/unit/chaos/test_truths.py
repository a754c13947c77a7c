"""Served values against what was true, and held records against their ends: evidence with one defect each."""

from dataclasses import asdict, replace
from typing import Any

import pytest

from beat_actors.chaos.check import Effect, Fetch, Request, check
from beat_actors.chaos.truths import Hold, Rejected, Served, Truth, falsehoods, is_beyond_rules, undecided
from tests.unit.chaos.test_check import GOOD as CLEAN


def person(followers: int, **others: Any) -> dict[str, Any]:
    return {
        "handle": "ada", "full_name": "Ada", "is_verified": True, "followers": followers, "following": 300, "posts": 40, **others,
    }  # fmt: skip


def post(likes: int, *, hidden: bool = False) -> dict[str, Any]:
    return {"likes": likes, "comments": 4, "likes_hidden": hidden}


TRUTHS = {
    "1": [
        Truth(100.0, person(5000), {"p": post(700)}),
        Truth(160.0, person(5001), {"p": post(700)}),
        Truth(200.0, person(15_003, is_verified=False), {"p": post(2100, hidden=True)}),
    ]
}


def profile(field: str, value: str, at: float) -> Served:
    return Served("profile", "1", "1", field, value, at)


def of_post(field: str, value: str, at: float, key: str = "p") -> Served:
    return Served("post", key, "1", field, value, at)


@pytest.mark.parametrize(
    "served",
    [
        profile("followers", "5000", 150.0),
        # The simulator decided before its numbers moved, and the answer arrived after it.
        profile("followers", "5000", 165.0),
        profile("followers", "5001", 165.0),
        profile("followers", "15003", 1000.0),
        profile("is_verified", "true", 190.0),
        profile("is_verified", "false", 300.0),
        profile("media_count", "40", 300.0),
        of_post("likes", "700", 150.0),
        of_post("likes", "3", 300.0),
    ],
)
def test_a_value_that_was_true_when_it_was_observed_may_be_served(served: Served) -> None:
    found = falsehoods([served], TRUTHS)
    assert (found.served, found.beyond_rules, found.compared) == ([], [], 1)


@pytest.mark.parametrize(
    "served",
    [
        profile("followers", "0", 150.0),
        profile("followers", "-5001", 150.0),
        profile("followers", "5000000", 150.0),
        pytest.param(profile("followers", "5000", 180.0), id="it was true before"),
        pytest.param(profile("followers", "15003", 199.0), id="it became true later"),
        pytest.param(profile("is_verified", "true", 300.0), id="it was lost before"),
        pytest.param(profile("handle", "eve", 150.0), id="another one's handle"),
        pytest.param(of_post("likes", "700", 150.0, key="other"), id="another one's post"),
        pytest.param(of_post("likes", "2100", 300.0), id="likes that are hidden"),
        pytest.param(of_post("likes", "4", 150.0), id="comments for likes"),
        pytest.param(Served("profile", "9", "9", "followers", "1", 150.0), id="there is nobody"),
    ],
)
def test_a_value_that_was_not_true_is_named(served: Served) -> None:
    found = falsehoods([served], TRUTHS)
    assert found.beyond_rules == []
    assert len(found.served) == 1
    assert f"with {served.field} {served.value}" in found.served[0]


@pytest.mark.parametrize(
    ("true", "served", "is_first", "beyond"),
    [
        (49, 0, False, False),
        (49, 4, False, True),
        (39, 0, False, True),
        (49, 10, False, True),
        (49, 369, False, True),
        (49, 370, False, False),
        (50, 51, False, False),
        (4, -1, False, False),
        (5000, 0, True, True),
        (5000, -1, True, False),
        (5000, 10**12, True, False),
    ],
)
def test_of_small_and_of_first_counts_no_rule_knows_that_they_are_false(
    true: int, served: int, is_first: bool, beyond: bool
) -> None:
    one = of_post("comments", str(served), 150.0)._replace(is_first=is_first)
    assert is_beyond_rules(one, true) is beyond
    found = falsehoods([one], {"1": [Truth(100.0, person(1), {"p": {**post(1), "comments": true}})]})
    assert (len(found.served), len(found.beyond_rules)) == (not beyond, beyond)


HOLD = Hold(1, 10, 1, "profile x", False, "waiting", False, True, True)


@pytest.mark.parametrize(
    "hold",
    [
        HOLD,
        HOLD._replace(state="asking"),
        HOLD._replace(state="person", waits=False),
        HOLD._replace(state="accepted", is_decided=True, waits=False, is_marked=False),
        HOLD._replace(state="rejected", is_decided=True, waits=False, is_marked=None),
        HOLD._replace(is_whole=True, is_marked=None),
    ],
)
def test_a_held_record_is_decided_or_has_a_next_step(hold: Hold) -> None:
    assert undecided([hold]) == []


@pytest.mark.parametrize(
    ("holds", "said"),
    [
        ([HOLD._replace(waits=False)], "held record 1 of profile x is waiting, and nothing comes next"),
        ([HOLD._replace(state="asking", waits=False)], "held record 1 of profile x is asking, and nothing comes next"),
        (
            [HOLD._replace(state="accepted", is_decided=False)],
            "held record 1 of profile x is accepted and not decided",
        ),
        ([HOLD._replace(is_decided=True, is_marked=False)], "held record 1 of profile x is waiting and decided"),
        ([HOLD._replace(is_marked=False)], "profile x does not say that held record 1 is held"),
        (
            [HOLD._replace(state="rejected", is_decided=True)],
            "profile x says that a record is held, and none is",
        ),
        ([HOLD, HOLD._replace(id=2)], "profile x has 2 records that are held"),
    ],
)
def test_a_held_record_without_its_one_end_is_named(holds: list[Hold], said: str) -> None:
    assert undecided(holds) == [said]
    found = check(replace(CLEAN, holds=holds))
    assert found.nonterminal == 1


def wrong(**change: Any) -> dict[str, int]:
    good, found = asdict(check(CLEAN)), asdict(check(replace(CLEAN, **change)))
    return {name: found[name] for name in found if name != "reasons" and found[name] != good[name]}


ACCEPTED = HOLD._replace(state="accepted", is_decided=True, waits=False, is_marked=False)
LESS = [effect for effect in CLEAN.effects if effect.fetch_id != 11]
ASKED = {
    "fetches": [*CLEAN.fetches, Fetch(12, 1, "profile", "{}", None, 1, "DONE", 1, "lama")],
    "effects": [*CLEAN.effects, Effect(1, 12, "profile x")],
}
BY_RULE = {
    "requests": [*CLEAN.requests, Request(3, None, "COMPLETE", None, 0, 0, 13.0), Request(4, None, "COMPLETE", None, 0, 0, 13.0)],
    "fetches": [*CLEAN.fetches, Fetch(30, 3, "profile", "{}", None, 1, "DONE", 1, "lama"), Fetch(31, 4, "profile", "{}", None, 1, "DONE", 2, "lama")],
    "events": [*CLEAN.events, *(event._replace(subject=f"scrape_request/{id}") for event in CLEAN.events[:1] for id in (3, 4))],
}  # fmt: skip


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        pytest.param({"effects": LESS}, {"lost": 1}, id="a record that nobody withheld is missing"),
        pytest.param({"effects": LESS, "rejected": [Rejected(1, 1)]}, {}, id="a record was rejected"),
        pytest.param({"effects": LESS, "rejected": [Rejected(2, 1)]}, {"lost": 1}, id="one of another request was"),
        pytest.param({"effects": LESS, "holds": [HOLD._replace(is_whole=True)]}, {}, id="a record is held as a whole"),
        pytest.param({"effects": LESS, "holds": [HOLD]}, {"lost": 1}, id="some fields of a record are held"),
        pytest.param(
            {"effects": LESS, "holds": [ACCEPTED._replace(is_whole=True)]},
            {"lost": 1},
            id="it was accepted and is gone",
        ),
        pytest.param(
            {"effects": [*CLEAN.effects, Effect(1, 10, "profile x")], "holds": [ACCEPTED]},
            {},
            id="fields were held and then accepted",
        ),
        pytest.param(
            {"effects": [*CLEAN.effects, *[Effect(1, 10, "profile x")] * 2], "holds": [ACCEPTED]},
            {"dup": 2},
            id="they were accepted twice",
        ),
        pytest.param(
            {"effects": [*CLEAN.effects, Effect(1, 10, "profile x")], "holds": [HOLD]},
            {"dup": 2},
            id="they were written while they were held",
        ),
        pytest.param(ASKED, {}, id="a witness was asked"),
        pytest.param(
            {**ASKED, "fetches": [*ASKED["fetches"], Fetch(13, 1, "profile", "{}", None, 1, "DONE", 1, "lama")]},
            {"dup": 1},
            id="the same witness was asked twice",
        ),
        pytest.param(BY_RULE, {"done": 4}, id="witnesses were asked again later"),
    ],
)
def test_what_is_held_or_rejected_is_not_lost_and_what_is_accepted_is_written_once(
    change: dict[str, Any], expected: dict[str, int]
) -> None:
    assert wrong(**change) == expected


def test_false_values_are_counted_where_a_run_compares_them() -> None:
    assert check(CLEAN).served_corrupt is None
    served = [profile("followers", "5000", 150.0), profile("followers", "0", 150.0), of_post("comments", "9", 150.0)]
    found = check(replace(CLEAN, served=served, truths=TRUTHS))
    assert (found.served_corrupt, found.beyond_rules) == (1, 1)
    assert any("is served with followers 0" in reason for reason in found.reasons)
    # A run that compares nothing proves nothing.
    assert check(replace(CLEAN, served=[])).served_corrupt == 1
