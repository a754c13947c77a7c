"""The spans that rows give, whatever the rows are."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beat_actors.platforms.registry import platforms
from beat_actors.settings import Settings
from beat_actors.traces.rows import CallRow, DeliveryRow, Ended, FetchRow, Rows, event_id
from beat_actors.traces.servers import server_of
from beat_actors.traces.spans import OWN, STANDARD, Kind, Span
from beat_actors.traces.tree import named, tree

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
SETTINGS = Settings(database_url="postgresql://nobody@localhost/none", redis_url="redis://localhost")


def at(seconds: float) -> datetime:
    return AT + timedelta(seconds=seconds)


def ended(seconds: float = 10.0, **changes: Any) -> Ended:
    row = Ended(
        seq=1, event_id=event_id(1, "complete", 0), type="beat.scrape_request.complete", account_id=None, id=1, platform="instagram",
        flow="profile", priority="standard", created_at=AT, picked_at=at(1), scraped_at=at(seconds), batch_id=None, code=None, items=1, run=0,
        trace=None, accepted_as="new", leader_id=None, leader_created_at=None, leader_run=None, leader_trace=None,
    )  # fmt: skip
    return row._replace(**changes)


def fetch(number: int, created: float, **changes: Any) -> FetchRow:
    row = FetchRow(
        request_id=1, run=0, id=number, operation="profile", page=1, stage="DONE", source="graphapi", attempt=1, rotations=0, retries=0,
        created_at=at(created), sent_at=None, claimed_at=None, parser_version=3, code=None,
    )  # fmt: skip
    return row._replace(**changes)


def call(number: int | None, when: float, **changes: Any) -> CallRow:
    row = CallRow(
        request_id=1, fetch_id=number, at=at(when), attempt=1, platform="instagram", source="graphapi", operation="profile", method="GET",
        url="https://graph.facebook.com/v24.0/1?fields=x", status=200, ms=500.0, bytes=100, outcome="ok",
    )  # fmt: skip
    return row._replace(**changes)


def made(rows: Rows) -> list[Span]:
    return tree(rows, "sampled", lambda one: server_of(SETTINGS, one))


def lasting(spans: list[Span], name: str) -> list[tuple[float, float]]:
    return [((one.start - AT).total_seconds(), (one.end - AT).total_seconds()) for one in spans if one.name == name]


def test_the_normal_path_has_one_stage() -> None:
    rows = Rows(ended(), [fetch(1, 0, sent_at=at(2), claimed_at=at(2))], [call(1, 2)], [])
    spans = made(rows)
    assert lasting(spans, "wait") == [(0, 1.5)]
    assert lasting(spans, "GET profile") == [(1.5, 2)]
    assert lasting(spans, "ingest") == [(2, 10)]
    assert lasting(spans, "process") == []


def test_a_fetch_that_was_handed_to_another_stage_has_two() -> None:
    rows = Rows(ended(), [fetch(1, 0, sent_at=at(4), claimed_at=at(6))], [call(1, 2)], [])
    spans = made(rows)
    assert lasting(spans, "ingest") == [(2, 4)]
    assert lasting(spans, "process") == [(6, 10)]


def test_a_page_ends_where_the_next_one_begins() -> None:
    fetches = [fetch(1, 0, sent_at=at(2), claimed_at=at(2)), fetch(2, 3, page=2, sent_at=at(5), claimed_at=at(5))]
    spans = made(Rows(ended(), fetches, [call(1, 2), call(2, 5)], []))
    assert lasting(spans, "fetch profile") == [(0, 3), (3, 10)]
    assert [one.attributes["beat.wait.after"] for one in spans if one.name == "wait"] == ["accepted", "page"]


def test_a_fetch_that_never_ran_ends_with_its_request() -> None:
    spans = made(Rows(ended(type="beat.scrape_request.failed", code="expired"), [fetch(1, 0, stage="WAITING")], [], []))
    assert lasting(spans, "fetch profile") == lasting(spans, "wait") == [(0, 10)]


def test_a_call_that_came_after_the_end_is_shown_where_it_was() -> None:
    spans = made(
        Rows(
            ended(5),
            [fetch(1, 0, sent_at=at(7), claimed_at=at(3))],
            [call(1, 7, outcome="upstream_down", status=None)],
            [],
        )
    )
    assert lasting(spans, "GET profile") == [(6.5, 7)]
    assert lasting(spans, "fetch profile") == [(0, 7)]
    (failed,) = [one for one in spans if one.kind == Kind.CLIENT]
    assert failed.attributes["error.type"] == "upstream_down"
    assert "http.response.status_code" not in failed.attributes


def test_a_check_of_a_credential_belongs_to_the_request() -> None:
    spans = made(Rows(ended(), [], [call(None, 2, operation="check")], []))
    (check,) = [one for one in spans if one.kind == Kind.CLIENT]
    assert check.parent_id == spans[0].span_id


@pytest.mark.parametrize("code", ["bad_request", "expired"])
def test_an_error_is_named_by_its_code(code: str) -> None:
    assert named(code) == code


@pytest.mark.parametrize("code", [None, "", "Some text of a provider", "a" * 65, "@handle", "x\ny"])
def test_what_is_no_code_is_not_told(code: str | None) -> None:
    assert named(code) == "_OTHER"


def test_a_host_that_names_an_owner_is_told_without_it() -> None:
    shop = call(
        1, 1, platform="shopify", source="shopify", url="https://a-persons-shop.myshopify.com/admin/api/graphql.json"
    )
    source = next(iter(platforms()["shopify"].sources))
    assert server_of(SETTINGS, shop._replace(source=source))["server.address"] == "myshopify.com"


@pytest.mark.parametrize(
    "url", ["", "not a url", "http://[::1", "https://10.1.2.3/x", "https://elsewhere.example/x", "https://h:99999/"]
)
def test_a_host_that_nobody_declared_is_not_told(url: str) -> None:
    assert server_of(SETTINGS, call(1, 1, url=url)) == {}


def test_a_declared_host_is_told_whole_and_nothing_else_of_the_url() -> None:
    source = platforms()["instagram"].sources["graphapi"]
    found = server_of(SETTINGS, call(1, 1, url=f"{source.base_url}/someone?access_token=secret"))
    assert found["server.port"] == 443
    assert found["url.scheme"] == "https"
    assert str(found["server.address"]) in source.base_url
    assert "someone" not in str(found)
    assert server_of(SETTINGS, call(1, 1, source="unheard-of")) == {}


TIMES = st.floats(-5, 50, allow_nan=False)
MAYBE = st.none() | TIMES.map(at)
FETCHES = st.lists(
    st.builds(
        lambda created, sent, claimed, stage: fetch(0, created, sent_at=sent, claimed_at=claimed, stage=stage),
        TIMES, MAYBE, MAYBE, st.sampled_from(["DONE", "FAILED", "WAITING", "CANCELLED", "LEASED", "RETRIEVED"]),
    ),
    max_size=4,
)  # fmt: skip
CALLS = st.lists(
    st.builds(
        lambda number, when, ms, outcome, status: call(number, when, ms=ms, outcome=outcome, status=status),
        st.integers(1, 4), TIMES, st.none() | st.floats(0, 60_000), st.sampled_from(["ok", "rate_limited", "unknown"]),
        st.none() | st.integers(100, 599),
    ),
    max_size=6, unique_by=lambda one: one.at,
)  # fmt: skip


@given(FETCHES, CALLS, TIMES, st.sampled_from(["complete", "failed", "cancelled"]), st.integers(0, 2))
def test_whatever_the_rows_are_the_trace_is_whole(
    fetches: list[FetchRow], calls: list[CallRow], end: float, happened: str, run: int
) -> None:
    own = [one._replace(id=number) for number, one in enumerate(fetches, 1)]
    mine = sorted((one for one in calls if one.fetch_id in {row.id for row in own}), key=lambda one: one.at)
    told = [DeliveryRow(1, "e", "beat.scrape_request.accepted", 5, at(1), at(2), 1, "delivered", 200)]
    rows = Rows(ended(end, type=f"beat.scrape_request.{happened}", run=run), own, mine, told)
    spans = made(rows)
    assert spans == made(rows), "the same rows give the same spans"
    ids = [one.span_id for one in spans]
    assert len(set(ids)) == len(ids)
    assert [one.parent_id for one in spans if one.parent_id not in ids] == [None], (
        "each span but the root has its parent in the trace"
    )
    for one in spans:
        assert one.start <= one.end
        assert one.trace_id == spans[0].trace_id
        assert set(one.attributes) <= {*STANDARD, *OWN}
        assert one.failed == ("error.type" in one.attributes)
    for one in spans:
        if (
            one.kind == Kind.CLIENT and one.name != "POST webhook"
        ):  # what the conventions require of a call, but for the URL
            assert {"http.request.method", "server.address", "server.port"} <= set(one.attributes)


def test_requests_of_one_trace_of_a_caller_share_no_span() -> None:
    """A batch with one `traceparent`: its requests are told to the same webhook, follow others, and check the same credential at once."""
    stored = bytes.fromhex("4bf92f3577b34da6a3ce929d0e0e473600f067aa0ba902b701")
    spans = []
    for number in (1, 2):
        told = [
            DeliveryRow(number, f"e{number}", f"beat.scrape_request.{name}", 5, at(1), at(2), 1, "delivered", 200)
            for name in ("accepted", "complete")
        ]
        row = ended(id=number, trace=stored, accepted_as="joined", leader_id=9, leader_created_at=AT)
        spans.append(made(Rows(row, [], [call(None, 2)._replace(request_id=number)], told)))
    first, second = spans
    assert {one.trace_id for one in first + second} == {stored[:16].hex()}
    assert {"accept", "wait", "GET profile", "publish beat.scrape_request.complete", "POST webhook"} <= {
        one.name for one in first
    }
    for own in spans:
        ids = {one.span_id for one in own}
        assert len(ids) == len(own)
        assert all(one.parent_id in ids for one in own[1:])
    assert not {one.span_id for one in first} & {one.span_id for one in second}


def test_the_run_of_an_event_is_known_by_its_id() -> None:
    again = ended(run=3, event_id=event_id(1, "complete", 1))
    assert again.of_its_run().run == 1
    assert ended(run=3, event_id="of another release").of_its_run().run == 3
    assert ended(run=None).of_its_run().run == 0
