"""The check of pictures against evidence with one defect each: what is wrong is named, and nothing else is."""

from dataclasses import replace
from typing import Any

import pytest

from beat_actors.chaos.families.origins import reasons
from beat_actors.chaos.pictures import Asset, PictureEvidence, Served, Truth, key_of, orphans, wrong
from beat_actors.chaos.surveying import excused_by_url

ONE, TWO, OTHER = "a" * 64, "b" * 64, "c" * 64
GOOD = PictureEvidence(
    assets=[
        Asset("1", "COMPLETE", "https://cdn/1", None, ONE),
        Asset("2", "COMPLETE", "https://cdn/2", None, TWO),
        Asset("3", "COMPLETE", "https://cdn/elsewhere/1", None, ONE),
        Asset("4", "GONE", "https://cdn/4", "gone: HTTP 404", None),
        Asset("5", "FAILED", "https://cdn/5", "html: a page", None),
    ],
    rows={ONE, TWO},
    hashes={key_of(ONE): ONE, key_of(TWO): TWO},
    truths={
        "https://cdn/1": Truth(True, ONE),
        "https://cdn/2": Truth(True, None),
        "https://cdn/elsewhere/1": Truth(True, ONE),
        "https://cdn/4": Truth(False, None),
        "https://cdn/5": Truth(True, TWO),
    },
    in_flight=1,
    before={"1": ONE},
    excused={"https://cdn/5": {"html"}},
    served={"1": Served(200, ONE), "2": Served(200, TWO), "3": Served(200, ONE)},
)


def changed(number: int, **values: Any) -> PictureEvidence:
    assets = [asset._replace(**values) if asset.id == str(number) else asset for asset in GOOD.assets]
    return replace(GOOD, assets=assets)


def test_good_evidence_has_no_fault() -> None:
    assert wrong(GOOD) == []
    assert orphans(GOOD) == []


@pytest.mark.parametrize("status", ["PENDING", "PROCESSING", "WAITING"])
def test_a_picture_that_is_not_over_is_named(status: str) -> None:
    assert wrong(changed(2, status=status, failure="busy: 503")) == [f"asset 2 is {status} (busy: 503)"]


def test_an_object_that_is_not_there_is_named() -> None:
    (found,) = wrong(replace(GOOD, hashes={key_of(ONE): ONE}))
    assert found == f"the bucket has no object {key_of(TWO)}"


def test_an_object_with_other_bytes_is_named() -> None:
    (found,) = wrong(replace(GOOD, hashes={key_of(ONE): ONE, key_of(TWO): OTHER}))
    assert found == f"the object {key_of(TWO)} has bytes with the SHA-256 {OTHER}"


def test_a_row_of_an_object_that_no_asset_has_must_have_its_object_too() -> None:
    assert wrong(replace(GOOD, rows={ONE, TWO, OTHER})) == [f"the bucket has no object {key_of(OTHER)}"]


def test_a_content_that_no_row_of_an_object_names_is_named() -> None:
    found = wrong(replace(GOOD, rows={ONE}))
    assert found == [f"an asset has the content {TWO}, and no row of an object names it"]


def test_a_complete_picture_without_content_is_named() -> None:
    assert wrong(replace(changed(2, content=None), served={})) == ["asset 2 is COMPLETE with no content"]


def test_another_picture_than_the_origin_has_is_named() -> None:
    assert wrong(replace(changed(3, content=TWO), served={})) == [
        f"asset 3 has the content {TWO}, and its origin has {ONE}"
    ]


def test_a_picture_that_its_origin_does_not_have_is_named() -> None:
    (found,) = wrong(changed(4, status="COMPLETE", content=TWO))
    assert found == f"asset 4 has the content {TWO}, and its origin has None"


def test_a_picture_that_was_given_up_without_a_reason_is_named() -> None:
    (found,) = wrong(changed(2, status="FAILED", failure="truncated: it ends"))
    assert found.startswith(
        "asset 2 is FAILED (truncated: it ends), and its origin has the picture; https://cdn/2 got no such answer"
    )


def test_a_picture_that_waits_for_a_fresh_url_needs_a_reason_too() -> None:
    waits = changed(2, status="REFETCH", failure="expired: HTTP 403")
    assert wrong(replace(waits, excused={**GOOD.excused, "https://cdn/2": {"expired"}})) == []
    (found,) = wrong(waits)
    assert found.startswith("asset 2 is REFETCH (expired: HTTP 403), and its origin has the picture")


def test_a_reason_for_one_picture_excuses_no_other() -> None:
    evidence = replace(changed(2, status="FAILED", failure="html: a page"), excused={"https://cdn/5": {"html", "gone"}})
    assert [line.partition(" (")[0] for line in wrong(evidence)] == ["asset 2 is FAILED"]


def test_reasons_are_of_the_picture_that_got_the_answer() -> None:
    scene = reasons({"v/1.jpg": ["html", "hang"], "v/2.jpg": ["hang"]})
    assets = [
        Asset(str(n), "FAILED", f"https://cdn.example.com/v/{n}.jpg?x=1", "html: a page", None) for n in (1, 2, 3)
    ]
    assert excused_by_url(scene, assets) == {assets[0].url: {"html"}, assets[1].url: set()}


def test_a_picture_that_was_there_before_the_fault_is_named() -> None:
    evidence = changed(1, status="GONE", failure="gone: HTTP 404", content=None)
    found = wrong(replace(evidence, truths={**GOOD.truths, "https://cdn/1": Truth(False, None)}, served={}))
    assert found == [f"asset 1 had the content {ONE}, and has none"]


@pytest.mark.parametrize("served", [Served(0, ""), Served(404, OTHER), Served(200, OTHER)])
def test_a_picture_that_a_reader_does_not_get_is_named(served: Served) -> None:
    found = wrong(replace(GOOD, served={**GOOD.served, "2": served}))
    assert found == [f"asset 2 was answered with {served.status} and bytes with the SHA-256 {served.sha256}, not {TWO}"]


def test_so_many_orphans_as_were_in_flight_are_allowed() -> None:
    one = replace(GOOD, hashes={**GOOD.hashes, key_of(OTHER): OTHER})
    assert (orphans(one), wrong(one)) == ([key_of(OTHER)], [])
    (found,) = wrong(replace(one, in_flight=0))
    assert found.startswith("1 objects without a row, and 0 uploads were in flight")


def test_only_the_first_of_many_faults_of_a_kind_are_shown() -> None:
    many = [Asset(str(n), "PENDING", "https://cdn/1", None, None) for n in range(1000)]
    found = wrong(replace(GOOD, assets=many, before={}, served={}))
    assert len(found) == 11
    assert found[-1] == "and 990 more of these"
