"""One suite for every source of every platform that is registered: a new provider gets it by existing."""

import importlib
import random
import re
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from beat_actors.errors import Malformed, Missing
from beat_actors.pipeline.entities import column_types, write_records
from beat_actors.pipeline.holes import read as read_page
from beat_actors.platforms.interface import CHECK, Answer, FetchSpec, Outcome
from beat_actors.platforms.registry import platforms
from tests.conformance.recordings import Recording, Refusal, of_platforms
from tests.conftest import FIXTURES

SOURCES = [(platform, source) for platform in platforms().values() for source in platform.sources.values()]
ENDPOINTS = [(platform, source, name) for platform, source in SOURCES for name in source.endpoints]
SOURCE_OF = {source.name: source for _, source in SOURCES}
TABLES = dict(of_platforms())
GOOD, MISSING, REFUSALS = (
    [item for table in TABLES.values() for item in getattr(table, name)] for name in ("GOOD", "MISSING", "REFUSALS")
)
EMPTY = {item for table in TABLES.values() for item in getattr(table, "EMPTY", ())}
every_source = pytest.mark.parametrize(("platform", "source"), SOURCES, ids=lambda value: getattr(value, "name", value))
every_endpoint = pytest.mark.parametrize(
    ("platform", "source", "operation"), ENDPOINTS, ids=lambda value: getattr(value, "name", value)
)
every_recording = pytest.mark.parametrize(
    "recording", GOOD, ids=lambda r: f"{r.source}-{r.operation}-{Path(r.path).stem}"
)


def endpoint_of(recording: Recording) -> Any:
    return SOURCE_OF[recording.source].endpoints[recording.operation]


def platforms_of(recording: Recording) -> Any:
    return next(platform for platform, source in SOURCES if source.name == recording.source)


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
        assert (
            flow.first(flow.validate({name: TABLES[platform.name].PARAMS[name] for name in needed(flow)})).operation
            in platform.chains
        )


def needed(flow: Any) -> list[str]:
    return [field.name for field in msgspec.structs.fields(flow.params) if field.required]


@every_endpoint
def test_p8_a_call_carries_its_secret_only_where_nothing_is_logged(platform: Any, source: Any, operation: str) -> None:
    public = TABLES[platform.name].PUBLIC_FIELDS
    spec = FetchSpec(operation, TABLES[platform.name].PARAMS, "cursor", source.name)
    for plain, brought in secrets_of(platform, source):
        call = source.endpoints[operation].build(spec, {**plain, **brought})
        shown = f"{call.method} {call.path} {dict(call.query)} {call!r}"
        carried = f"{dict(call.headers)} {dict(call.secret_query)}"
        hidden = [value for name, value in (brought or plain).items() if name not in public]
        assert hidden
        assert not any(value in shown for value in hidden)
        assert all(value in carried for value in hidden)
        if brought:  # what it was got with stays here
            assert "canary" not in f"{shown} {carried} {dict(call.form or {})}"
    assert source.base_url.startswith("https://")


@every_source
def test_p8_upkeep_carries_its_secret_only_where_nothing_is_logged(platform: Any, source: Any) -> None:
    public = TABLES[platform.name].PUBLIC_FIELDS
    for plain, brought in secrets_of(platform, source):
        for declared, secret in ((source.check, brought or plain), (source.refresh if brought else None, plain)):
            if declared is None:
                continue
            call = declared.build({**plain, **brought})
            shown = f"{call.method} {call.base} {call.path} {dict(call.query)} {call!r}"
            carried = f"{dict(call.headers)} {dict(call.secret_query)} {dict(call.form or {})}"
            hidden = [value for name, value in secret.items() if name not in public]
            assert not any(value in shown for value in hidden)
            assert any(value in carried for value in hidden)


@every_source
def test_a_refresh_that_brings_a_token_is_read_and_any_other_is_not(platform: Any, source: Any) -> None:
    if source.refresh is None:
        return
    body = TABLES[platform.name].RENEWED[source.name]
    renewed = source.refresh.read(Answer(200, {}, body))
    assert renewed.verdict.outcome is Outcome.OK
    assert renewed.seconds > 0
    assert renewed.fields
    assert not any(value in repr(renewed) for value in renewed.fields.values())
    for broken in (b"", b"null", b"{}", b"[]", b"<html>", b"\xff", body[:-3]):
        assert source.refresh.read(Answer(200, {}, broken)).verdict.outcome is Outcome.MALFORMED
    assert source.refresh.read(Answer(503, {}, body)).verdict.outcome is Outcome.UPSTREAM_DOWN
    assert source.refresh.read(Answer(429, {}, b"")).verdict.outcome is Outcome.RATE_LIMITED


@every_source
@pytest.mark.parametrize("status", [200, 400, 401, 403, 429, 503])
def test_upkeep_reads_whatever_comes(platform: Any, source: Any, status: int) -> None:
    for declared in filter(None, (source.check, source.refresh)):
        for body in (
            b"",
            b"null",
            b"[]",
            b"{}",
            b"<html>",
            b'"text"',
            b"\xff\xfe",
            b"{",
            b'{"data": 1}',
            b'{"error": {}}',
        ):
            verdict = declared.read(Answer(status, {}, body)).verdict
            assert verdict.outcome is not Outcome.OK or status == 200


@every_source
def test_p4_a_check_counts_in_a_limit(platform: Any, source: Any) -> None:
    """A limit that names its operations does not hold for the check unless it names that too."""
    if source.check is not None:
        assert any(limit.operations is None or CHECK in limit.operations for limit in source.limits)


def secrets_of(platform: Any, source: Any) -> list[tuple[dict[str, str], Mapping[str, str]]]:
    """A secret in each of the source's forms, and what a refresh brings to it: nothing to a plain one."""
    table = TABLES[platform.name]
    found = []
    for form in source.secret_forms():
        plain = {name: table.PUBLIC_FIELDS.get(name, f"canary{i}") for i, name in enumerate(form)}
        refreshed = source.is_refreshed(plain)
        body = table.RENEWED[source.name] if refreshed else b""
        found.append((plain, source.refresh.read(Answer(200, {}, body)).fields if refreshed else {}))
    return found


@every_source
def test_a_source_with_ambiguous_answers_has_a_check_that_verifies_them(platform: Any, source: Any) -> None:
    if any(rule.ambiguous for rule in source.errors):
        assert source.check is not None
    if any(rule.ambiguous and rule.outcome is not Outcome.CREDENTIAL_DEAD for rule in source.errors):
        assert all(endpoint.scopes for endpoint in source.endpoints.values())


@every_source
def test_every_source_declares_limits_errors_and_versions(platform: Any, source: Any) -> None:
    assert source.limits
    assert source.errors
    assert all(endpoint.version >= 1 for endpoint in source.endpoints.values())
    assert source.classify(Answer(503, {}, b"<html>down</html>")).outcome is Outcome.UPSTREAM_DOWN
    assert source.classify(Answer(500, {}, b"\xff\x00")).outcome is Outcome.UPSTREAM_DOWN
    assert source.classify(Answer(429, {}, b"")).outcome in (Outcome.RATE_LIMITED, Outcome.QUOTA_EXHAUSTED)


@pytest.mark.parametrize("platform", platforms().values(), ids=lambda platform: platform.name)
def test_s10_10_every_platform_is_built_alike(platform: Any) -> None:
    """A crawler that says what can be fetched, entities, flows and sources in one folder; the stages are nobody's own."""
    folder = importlib.import_module(f"beat_actors.platforms.{platform.name}")
    (crawler,) = [value for name, value in vars(folder).items() if name.endswith("Crawler")]
    assert crawler.__name__.lower() == f"{platform.name}crawler"
    assert platform.chains is crawler.chains
    assert {f"fetch_{operation}" for operation in platform.chains} & set(vars(crawler))
    for kind in ("crawler", "entities", "flows", "sources"):
        importlib.import_module(f"{folder.__name__}.{kind}")
    assert {type(source).__module__.rpartition(".")[0] for source in platform.sources.values()} == {
        f"{folder.__name__}.sources"
    }
    assert {entity.record.__module__ for entity in platform.entities} == {f"{folder.__name__}.entities"}
    assert platform.flows
    text = "".join(path.read_text() for path in Path(str(folder.__file__)).parent.rglob("*.py"))
    assert not re.search(r"beat_actors\.(pipeline|database|credentials)|dramatiq", text)


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
        values = msgspec.structs.asdict(record)
        assert values[platforms_of(recording).entity_of(record).key]
        assert all(value >= 0 for value in values.values() if isinstance(value, int))
        assert all(value.tzinfo is not None for value in values.values() if isinstance(value, datetime))


@every_recording
def test_s6_10_a_byte_order_mark_before_an_answer_changes_nothing(recording: Recording) -> None:
    known = platforms_of(recording).record_lists
    marked = b"\xef\xbb\xbf" + recording.body()
    assert read_page(lambda body: read(recording, body), marked, known) == (read(recording), ())


@pytest.mark.parametrize("recording", MISSING, ids=lambda r: f"{r.source}-{r.operation}")
def test_an_unknown_id_in_a_200_is_missing_and_not_malformed(recording: Recording) -> None:
    with pytest.raises(Missing):
        read(recording)


@pytest.mark.parametrize("refusal", REFUSALS, ids=lambda r: f"{r.source}-{Path(r.path).stem}")
def test_s1_1_a_recorded_refusal_is_judged_as_what_it_is(refusal: Refusal) -> None:
    verdict = SOURCE_OF[refusal.source].classify(refusal.answer())
    assert (verdict.outcome, verdict.retry_after) == (refusal.outcome, refusal.retry_after)


@every_recording
def test_s6_9_what_is_no_answer_is_malformed(recording: Recording) -> None:
    for body in (b"", b"null", b"[]", b"<html><body>Sorry</body></html>", b'"text"', b"\xff\xfe", b"{"):
        if (recording.source, recording.operation, body) in EMPTY:
            assert not read(recording, body).records
            continue
        with pytest.raises(Malformed) as refused:
            read(recording, body)
        assert refused.value.path.startswith("$"), body


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


def test_s6_7_no_source_imports_another() -> None:
    for platform, source in SOURCES:
        text = Path(__import__(type(source).__module__, fromlist=["x"]).__file__).read_text()
        others = [name for name in platform.sources if name != source.name]
        assert not others or not re.search(rf"import .*\b({'|'.join(others)})\b|sources\.({'|'.join(others)})", text)


@pytest.mark.parametrize("platform", platforms().values(), ids=lambda platform: platform.name)
def test_s10_11_every_source_has_recordings_and_every_recording_is_read_or_its_reason_stands(platform: Any) -> None:
    table = TABLES[platform.name]
    used = {item.path for item in (*table.GOOD, *table.REFUSALS, *table.MISSING)} | set(table.READ_ELSEWHERE)
    assert {item.source for item in table.GOOD} == set(platform.sources)
    there = FIXTURES / platform.name
    unused = (there / "UNUSED.md").read_text()
    reasons = dict(re.findall(r"^\| (\S+\.json) \| (.+) \|$", unused, re.MULTILINE))
    every = {str(path.relative_to(FIXTURES)) for path in there.rglob("*.json") if not path.name.endswith(".meta.json")}
    assert every == {path for path in used if path.startswith(f"{platform.name}/")} | set(reasons)
    assert not used & set(reasons)
    assert all((FIXTURES / path).exists() for path in used)
