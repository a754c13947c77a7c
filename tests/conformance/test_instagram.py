"""What is particular to Instagram's sources."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from beat_actors.errors import Malformed
from beat_actors.platforms.interface import Answer
from beat_actors.platforms.registry import platforms
from tests.conformance.recordings import Recording
from tests.conformance.recordings.instagram import GOOD
from tests.conformance.test_sources import read
from tests.conftest import FIXTURES

# One recording carries no user name that could be compared.
NAMED = [r for r in GOOD if r.operation == "profile_by_handle" and "a2_user" not in r.path]


def test_s1_4_and_s1_12_the_chains_are_in_the_order_of_preference() -> None:
    chains = platforms()["instagram"].chains
    assert chains["profile_by_handle"] == ("graphapi", "arraybobo", "jotucker", "lama", "bestsolutions")
    assert chains["posts_by_id"][:3] == ("jotucker", "lama", "arraybobo")


def test_minutes_are_not_seconds() -> None:
    graph, lama = (platforms()["instagram"].sources[name] for name in ("graphapi", "arraybobo"))
    usage = {
        "x-business-use-case-usage": '{"1":[{"type":"instagram","call_count":100,"estimated_time_to_regain_access":7}]}'
    }
    body = (FIXTURES / "instagram/graphapi/errors/error_80002_instagram_buc.json").read_bytes()
    assert graph.classify(Answer(400, usage, body)).retry_after == 420
    headers = json.loads((FIXTURES / "rapidapi/headers_recorded.json").read_text())
    reported = lama.classify(Answer(200, headers, b"{}")).reported
    assert (reported.remaining, reported.reset_seconds) == (205_676, 2_163_603)


@pytest.mark.parametrize("number", [7, "7", "0012"])
def test_counts_may_be_digits_and_ids_may_be_either(number: Any) -> None:
    recording = next(r for r in GOOD if r.source == "jotucker" and r.operation == "profile_by_id")
    payload = msgspec.json.decode(recording.body())
    payload["user"] |= {
        "pk": str(payload["user"]["pk"]),
        "follower_count": number,
        "biography": "شكرا \0 🌍",
        "new_key": 1,
    }
    (account,) = read(recording, msgspec.json.encode(payload)).records
    assert account.followers == int(number)
    assert account.profile_id == "3511832659"
    assert account.biography == "شكرا � 🌍"


@pytest.mark.parametrize(
    ("value", "path"), [(-5, "$.user.follower_count"), ("many", "$.user.follower_count"), ({}, "$.user.follower_count")]
)
def test_s8_8_a_count_that_cannot_be_is_malformed_with_its_path(value: Any, path: str) -> None:
    recording = next(r for r in GOOD if r.source == "jotucker" and r.operation == "profile_by_id")
    payload = msgspec.json.decode(recording.body())
    payload["user"]["follower_count"] = value
    with pytest.raises(Malformed) as refused:
        read(recording, msgspec.json.encode(payload))
    assert refused.value.path == path


@pytest.mark.parametrize(
    "recording",
    NAMED,
    ids=lambda r: f"{r.source}-{Path(r.path).stem}",
)
def test_somebody_elses_answer_is_malformed(recording: Recording) -> None:
    with pytest.raises(Malformed, match="the answer is of"):
        read(replace(recording, params={"handle": "somebody.else"}))
