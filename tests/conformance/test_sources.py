"""One suite for every source of every platform that is registered: a new provider gets it by existing."""

import json
import random
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from beat_actors.errors import Malformed, Missing
from beat_actors.pipeline.entities import column_types, write_records
from beat_actors.platforms.instagram import InstagramAccount, InstagramPost
from beat_actors.platforms.interface import Answer, FetchSpec, Outcome
from beat_actors.platforms.registry import platforms
from tests.conformance.recordings import GOOD, MISSING, REFUSALS, Recording, Refusal
from tests.conftest import FIXTURES

SOURCES = [(platform, source) for platform in platforms().values() for source in platform.sources.values()]
ENDPOINTS = [(platform, source, name) for platform, source in SOURCES for name in source.endpoints]
PARAMS = {"handle": "somebody", "profile_id": "123456", "limit": 12}
every_source = pytest.mark.parametrize(("platform", "source"), SOURCES, ids=lambda value: getattr(value, "name", value))
every_endpoint = pytest.mark.parametrize(
    ("platform", "source", "operation"), ENDPOINTS, ids=lambda value: getattr(value, "name", value)
)
# One recording carries no user name that could be compared.
NAMED = [r for r in GOOD if r.operation == "profile_by_handle" and "a2_user" not in r.path]
every_recording = pytest.mark.parametrize(
    "recording", GOOD, ids=lambda r: f"{r.source}-{r.operation}-{Path(r.path).stem}"
)


def endpoint_of(recording: Recording) -> Any:
    return platforms()["instagram"].sources[recording.source].endpoints[recording.operation]


def read(recording: Recording, body: bytes | None = None) -> Any:
    spec = FetchSpec(recording.operation, recording.params, source=recording.source)
    return endpoint_of(recording).parse(recording.body() if body is None else body, spec)


@pytest.mark.parametrize("platform", platforms().values(), ids=lambda platform: platform.name)
def test_s1_4_every_chain_names_sources_that_serve_the_operation(platform: Any) -> None:
    for operation, chain in platform.chains.items():
        assert chain
        assert len(set(chain)) == len(chain)
        for source in chain:
            assert operation in platform.sources[source].endpoints
    for flow in platform.flows.values():
        assert flow.first(flow.validate({name: PARAMS[name] for name in needed(flow)})).operation in platform.chains


def needed(flow: Any) -> list[str]:
    return [field.name for field in msgspec.structs.fields(flow.params) if field.required]


def test_s1_12_the_chains_are_in_the_order_of_preference() -> None:
    chains = platforms()["instagram"].chains
    assert chains["profile_by_handle"] == ("graphapi", "arraybobo", "jotucker", "lama", "bestsolutions")
    assert chains["posts_by_id"][:3] == ("jotucker", "lama", "arraybobo")


@every_endpoint
def test_p8_a_call_carries_its_secret_only_where_nothing_is_logged(platform: Any, source: Any, operation: str) -> None:
    secret = {name: f"canary{i}" for i, name in enumerate(source.secret_fields)}
    hidden = {value for name, value in secret.items() if name != "user_id"}
    call = source.endpoints[operation].build(FetchSpec(operation, PARAMS, "cursor", source.name), secret)
    shown = f"{call.method} {call.path} {dict(call.query)} {call!r}"
    assert not any(value in shown for value in hidden)
    carried = f"{dict(call.headers)} {dict(call.secret_query)}"
    assert all(value in carried for value in hidden)
    assert source.base_url.startswith("https://")


@every_source
def test_every_source_declares_limits_errors_and_versions(platform: Any, source: Any) -> None:
    assert source.limits
    assert source.errors
    assert all(endpoint.version >= 1 for endpoint in source.endpoints.values())
    assert source.classify(Answer(503, {}, b"<html>down</html>")).outcome is Outcome.UPSTREAM_DOWN
    assert source.classify(Answer(500, {}, b"\xff\x00")).outcome is Outcome.UPSTREAM_DOWN
    assert source.classify(Answer(429, {}, b"")).outcome in (Outcome.RATE_LIMITED, Outcome.QUOTA_EXHAUSTED)


@pytest.mark.parametrize(
    "entity", [entity for platform in platforms().values() for entity in platform.entities], ids=lambda e: e.table
)
def test_s10_9_every_entity_can_be_kept(entity: Any) -> None:
    columns = column_types(entity)
    assert entity.key in columns
    assert set(entity.metrics) | set(entity.assets) <= set(columns)
    assert entity.table in write_records(entity)


@every_recording
def test_s6_10_a_good_recording_is_read_whole(recording: Recording) -> None:
    parsed = read(recording)
    assert (len(parsed.records), parsed.next_cursor) == (recording.records, recording.cursor)
    for record in parsed.records:
        if isinstance(record, InstagramAccount):
            assert record.followers is not None
            assert record.handle == record.handle.lower()
        else:
            assert isinstance(record, InstagramPost)
            assert re.fullmatch(r"[\w-]{5,}", record.shortcode)
            assert record.taken_at is None or record.taken_at.tzinfo is not None


def test_an_unknown_id_in_a_200_is_missing_and_not_malformed() -> None:
    with pytest.raises(Missing):
        read(MISSING)


@pytest.mark.parametrize("refusal", REFUSALS, ids=lambda r: f"{r.source}-{Path(r.path).stem}")
def test_s1_1_a_recorded_refusal_is_judged_as_what_it_is(refusal: Refusal) -> None:
    source = platforms()["instagram"].sources[refusal.source]
    meta = FIXTURES / refusal.path.replace(".json", ".meta.json")
    said = json.loads(meta.read_text()) if meta.exists() else {"status": refusal.status, "headers": {}}
    verdict = source.classify(
        Answer(said["status"] or refusal.status, said["headers"], (FIXTURES / refusal.path).read_bytes())
    )
    assert (verdict.outcome, verdict.retry_after) == (refusal.outcome, refusal.retry_after)


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


@every_recording
@pytest.mark.parametrize(
    "body", [b"", b"null", b"[]", b"<html><body>Sorry</body></html>", b'"text"', b"\xff\xfe", b"{"]
)
def test_s6_9_what_is_no_answer_is_malformed(recording: Recording, body: bytes) -> None:
    with pytest.raises(Malformed) as refused:
        read(recording, body)
    assert refused.value.path.startswith("$")


@every_recording
def test_s6_9_a_truncated_answer_is_malformed(recording: Recording) -> None:
    with pytest.raises(Malformed):
        read(recording, recording.body()[:-20])


@every_recording
@given(seed=st.integers(0, 2**32))
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
def test_s6_1_a_damaged_answer_raises_what_is_known_or_is_read(recording: Recording, seed: int) -> None:
    """A key gone or of another type, anywhere: the parser says where, or did not need it. Nothing else is ever raised."""
    payload, dice = msgspec.json.decode(recording.body()), random.Random(seed)
    damage(payload, dice)
    try:
        parsed = read(recording, msgspec.json.encode(payload))
    except Missing:
        return
    except Malformed as error:
        where = error.path
    else:
        where = "$"
        msgspec.json.encode(list(parsed.records))
    assert where.startswith("$")


def damage(value: Any, dice: random.Random) -> None:
    while isinstance(value, dict | list) and value:
        key = dice.choice(list(value)) if isinstance(value, dict) else dice.randrange(len(value))
        if not isinstance(value[key], dict | list) or not value[key] or dice.random() < 0.2:
            if dice.random() < 0.4:
                del value[key]
            else:
                value[key] = dice.choice([None, -1, 2**70, "", "x\0y\ud83d"[:-1], [], {}, True, 1.5, "12", "🌍 שלום"])
            return
        value = value[key]


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


def test_s6_7_no_source_imports_another() -> None:
    for platform, source in SOURCES:
        text = Path(__import__(type(source).__module__, fromlist=["x"]).__file__).read_text()
        others = [name for name in platform.sources if name != source.name]
        assert not re.search(rf"import .*\b({'|'.join(others)})\b|sources\.({'|'.join(others)})", text)


def test_every_recording_is_read_or_its_reason_stands() -> None:
    used = {item.path for item in (*GOOD, *REFUSALS, MISSING)} | {"rapidapi/headers_recorded.json"}
    reasons = dict(re.findall(r"^\| (\S+\.json) \| (.+) \|$", (FIXTURES / "UNUSED.md").read_text(), re.MULTILINE))
    every = {
        str(path.relative_to(FIXTURES)) for path in FIXTURES.rglob("*.json") if not path.name.endswith(".meta.json")
    }
    assert every == used | set(reasons)
    assert not used & set(reasons)
