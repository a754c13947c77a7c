"""The search for canaries finds them in every spelling, and the cases cover what the sources declare."""

import json
from itertools import product

import pytest

from beat_actors.platforms.registry import platforms
from tests.canaries import Case, covering, hits, targets
from tests.hostile_provider import PLACES
from tests.spellings import SPELLINGS


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_the_search_finds_a_canary_in_every_spelling(spelling: str) -> None:
    spelt = Case(7, targets()[0], spelling, "reason").spelt
    assert hits([f"before {spelt} after"])
    assert hits([json.dumps({"said": spelt})])
    assert hits([json.dumps(json.dumps({"said": spelt}))])


def test_the_search_finds_twelve_characters_and_nothing_else() -> None:
    value = Case(7, targets()[0], "plain", "reason").value("key")
    assert all(hits([value[at : at + 14]]) for at in range(len(value) - 13) if at >= 12)
    assert not hits(
        ["k00007z", value[:12], "The provider said that it is asked too often.", "deadbeef" * 9, "QUJDRA" * 20]
    )


def test_the_cases_cover_every_secret_field_and_every_two_of_the_rest() -> None:
    aims = targets()
    declared = {
        (platform.name, source.name, name)
        for platform in platforms().values()
        for source in platform.sources.values()
        for form in source.secret_forms()
        for name in form
        if name not in source.public_fields
    }
    assert declared <= {(aim.platform, aim.source, aim.field) for aim in aims}
    cases = covering(aims, list(SPELLINGS), list(PLACES))
    assert {(case.target, case.spelling) for case in cases} == set(product(aims, SPELLINGS))
    assert {(case.target, case.place) for case in cases} == set(product(aims, PLACES))
    assert {(case.spelling, case.place) for case in cases} == set(product(SPELLINGS, PLACES))
