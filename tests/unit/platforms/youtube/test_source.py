"""What is particular to the Data API: fifty in a call, quotas that reset at midnight Pacific, and a 403 that is one of five things."""

import json
from typing import Any

import msgspec
import pytest

from beat_actors.errors import BadInput, Malformed, Missing
from beat_actors.platforms.interface import CHECK, Answer, FetchSpec, Outcome
from beat_actors.platforms.youtube import YouTubeCrawler, platform
from tests.conftest import FIXTURES

SOURCE = platform.sources["ytapi"]
SECRET = {"key": "AIza-secret"}
GRANT = {"client_id": "1-a.apps.example", "client_secret": "GOCSPX-b", "refresh_token": "1//0g-c"}
RECORDED = FIXTURES / "youtube/ytapi"
FIRST, SECOND = "QRG4eKxNPb5HCluWwTPYazFR", "ZK_t6PQ7NL9K8pYD6IJV5Tzg"


def built(spec: FetchSpec) -> Any:
    return SOURCE.endpoints[spec.operation].build(spec, SECRET)


def fault(
    status: int, reason: str | None, *, google: str | None = None, message: str = "", domain: str = "x"
) -> Answer:
    error: dict[str, Any] = {"code": status, "message": message, "errors": []}
    if reason is not None:
        error["errors"] = [{"message": message, "domain": domain, "reason": reason}]
    if google is not None:
        info = "type.googleapis.com/google.rpc.ErrorInfo"
        error["details"] = [{"@type": "a"}, {"@type": info, "reason": google, "domain": "googleapis.com"}]
    return Answer(status, {}, json.dumps({"error": error}).encode())


def test_each_operation_asks_for_its_parts_and_as_much_as_a_call_gives() -> None:
    crawler = YouTubeCrawler
    asked = {
        spec.operation: built(spec)
        for spec in (
            crawler.fetch_profile_by_id("UC1"),
            crawler.fetch_profile_by_handle("name"),
            crawler.fetch_profile_by_username("name"),
            crawler.fetch_posts_by_playlist("UU1"),
            crawler.fetch_posts_by_search(q="tea", profile_id="UC1", published_after=None, order="date"),
            crawler.fetch_post_by_id("v1"),
            crawler.fetch_posts_by_ids(["v1", "v2"]),
            crawler.fetch_comments_by_post("v1", "relevance"),
            crawler.fetch_replies_by_comment("v1", "c1"),
        )
    }
    assert set(asked) == set(SOURCE.endpoints)
    assert {call.secret_query["key"] for call in asked.values()} == {SECRET["key"]}
    by_id = asked["profile_by_id"]
    assert (by_id.path, by_id.query["id"], by_id.query["maxResults"]) == ("/channels", "UC1", "50")
    assert set(by_id.query["part"].split(",")) >= {"snippet", "statistics", "contentDetails"}
    assert asked["profile_by_handle"].query["forHandle"] == "name"
    assert asked["profile_by_username"].query["forUsername"] == "name"
    assert asked["posts_by_playlist"].query == {
        "part": "contentDetails,status",
        "playlistId": "UU1",
        "maxResults": "50",
    }
    assert asked["posts_by_search"].query == {
        "part": "id",
        "type": "video",
        "maxResults": "50",
        "q": "tea",
        "channelId": "UC1",
        "order": "date",
    }
    assert (asked["post_by_id"].query["id"], asked["posts_by_ids"].query["id"]) == ("v1", "v1,v2")
    assert "maxResults" not in asked["posts_by_ids"].query  # not taken together with ids
    threads = asked["comments_by_post"].query
    assert (threads["maxResults"], threads["order"], threads["textFormat"]) == ("100", "relevance", "plainText")
    assert asked["replies_by_comment"].query == {
        "part": "snippet",
        "parentId": "c1",
        "textFormat": "plainText",
        "maxResults": "100",
    }


@pytest.mark.parametrize(
    "operation", ["posts_by_playlist", "posts_by_search", "comments_by_post", "replies_by_comment"]
)
def test_a_cursor_asks_for_the_next_page_of_the_same_listing(operation: str) -> None:
    params = {"playlist_id": "UU1", "q": "tea", "post_id": "v1", "order": "time", "found": 50, "comment_id": "c1"}
    first, second = (built(FetchSpec(operation, params, cursor)) for cursor in (None, "CAoQAA"))
    assert second.query == {**first.query, "pageToken": "CAoQAA"}


def test_s9_8_units_and_searches_are_two_quotas_of_pacific_days() -> None:
    units, searches = SOURCE.limits
    assert (units.calls, searches.calls) == (10_000, 100)
    assert {units.calendar, searches.calendar} == {"America/Los_Angeles"}
    assert units.operations | searches.operations == set(platform.chains) | {CHECK}  # a refresh asks another service
    assert searches.operations == {"posts_by_search"}
    assert not units.operations & searches.operations


@pytest.mark.parametrize(
    ("answer", "outcome", "wait"),
    [
        (fault(403, "quotaExceeded", domain="youtube.quota"), Outcome.QUOTA_EXHAUSTED, None),
        (fault(403, "dailyLimitExceeded", domain="usageLimits"), Outcome.QUOTA_EXHAUSTED, None),
        (fault(403, "rateLimitExceeded", domain="usageLimits"), Outcome.RATE_LIMITED, 30),
        (fault(403, "userRateLimitExceeded", domain="usageLimits"), Outcome.RATE_LIMITED, 30),
        (fault(429, "rateLimitExceeded", google="RATE_LIMIT_EXCEEDED"), Outcome.RATE_LIMITED, 30),
        (fault(429, None), Outcome.RATE_LIMITED, 30),
        (fault(400, "badRequest", google="API_KEY_INVALID"), Outcome.CREDENTIAL_DEAD, None),
        (fault(400, "keyInvalid", domain="usageLimits"), Outcome.CREDENTIAL_DEAD, None),
        (fault(400, "keyExpired", domain="usageLimits"), Outcome.CREDENTIAL_DEAD, None),
        (fault(401, "authError"), Outcome.CREDENTIAL_DEAD, None),
        (fault(403, "forbidden", google="CONSUMER_SUSPENDED"), Outcome.CREDENTIAL_DEAD, None),
        (fault(403, "accessNotConfigured", domain="usageLimits"), Outcome.PERMISSION_MISSING, None),
        (fault(403, "accessNotConfigured", google="SERVICE_DISABLED"), Outcome.PERMISSION_MISSING, None),
        (fault(403, "ipRefererBlocked", domain="usageLimits"), Outcome.PERMISSION_MISSING, None),
        (fault(403, "forbidden", google="API_KEY_IP_ADDRESS_BLOCKED"), Outcome.PERMISSION_MISSING, None),
        (fault(403, "forbidden", google="API_KEY_HTTP_REFERRER_BLOCKED"), Outcome.PERMISSION_MISSING, None),
        # Of the key, and unknown: it cools down, and the request is not told that the thing is private.
        (fault(403, "newlyInvented", domain="usageLimits"), Outcome.RATE_LIMITED, None),
        (fault(403, "forbidden", google="NEWLY_INVENTED"), Outcome.RATE_LIMITED, None),
        (fault(403, "commentsDisabled", domain="youtube.commentThread"), Outcome.PRIVATE, None),
        (fault(403, "forbidden", domain="youtube.commentThread"), Outcome.PRIVATE, None),
        (fault(403, "playlistItemsNotAccessible", domain="youtube.playlistItem"), Outcome.PRIVATE, None),
        (fault(404, "playlistNotFound"), Outcome.MISSING, None),
        (fault(404, "videoNotFound"), Outcome.MISSING, None),
        (fault(404, "channelNotFound"), Outcome.MISSING, None),
        (fault(404, "commentThreadNotFound"), Outcome.MISSING, None),
        (fault(400, "missingRequiredParameter"), Outcome.BAD_REQUEST, None),
        (fault(400, "invalidPageToken"), Outcome.REFUSED, None),
        (fault(400, "newlyInvented"), Outcome.REFUSED, None),
        (fault(403, "newlyInvented", domain="youtube.video"), Outcome.REFUSED, None),
        (fault(404, "newlyInvented"), Outcome.REFUSED, None),
        (fault(400, "processingFailure"), Outcome.UPSTREAM_DOWN, None),
        (fault(500, "backendError"), Outcome.UPSTREAM_DOWN, None),
        (fault(503, None), Outcome.UPSTREAM_DOWN, None),
        (Answer(404, {}, b"<html>404. That's an error.</html>"), Outcome.UPSTREAM_DOWN, None),
        (Answer(403, {}, b"<html>We're sorry... automated queries</html>"), Outcome.RATE_LIMITED, None),
        (Answer(400, {}, b"<html>malformed</html>"), Outcome.UPSTREAM_DOWN, None),
        (Answer(403, {}, b'{"error":{"errors":[null],"details":7}}'), Outcome.RATE_LIMITED, None),
    ],
)
def test_a_refusal_is_judged_by_its_reason(answer: Answer, outcome: Outcome, wait: float | None) -> None:
    verdict = SOURCE.classify(answer)
    assert (verdict.outcome, verdict.retry_after) == (outcome, wait)


@pytest.mark.parametrize(
    ("per", "outcome"), [("day", Outcome.QUOTA_EXHAUSTED), ("minute per user", Outcome.RATE_LIMITED)]
)
def test_a_days_quota_differs_from_a_minutes_although_the_reason_is_the_same(per: str, outcome: Outcome) -> None:
    said = f"Quota exceeded for quota metric 'Search Queries' and limit 'Search Queries per {per}' of service 'youtube.googleapis.com'"
    verdict = SOURCE.classify(fault(429, "rateLimitExceeded", google="RATE_LIMIT_EXCEEDED", message=said))
    assert verdict.outcome is outcome


def test_a_429_waits_for_what_it_says() -> None:
    whole = fault(429, "rateLimitExceeded")
    assert SOURCE.classify(Answer(429, {"retry-after": "7"}, whole.body)).retry_after == 7


def specs(*ids: str) -> list[FetchSpec]:
    return [YouTubeCrawler.fetch_profile_by_id(profile_id) for profile_id in ids]


def test_many_channels_are_one_call_and_each_request_gets_its_own() -> None:
    many = SOURCE.endpoints["profile_by_id"].many
    wanted = specs(SECOND, "UC" + "x" * 22, FIRST, SECOND)
    assert built(many.join(wanted)).query["id"] == f"{SECOND},UC{'x' * 22},{FIRST}"
    parts = many.split((RECORDED / "channels_list_multi.json").read_bytes(), wanted)
    parse = SOURCE.endpoints["profile_by_id"].parse
    found = [parse(parts[i], wanted[i]).records[0].profile_id for i in (0, 2, 3)]
    assert found == [SECOND, FIRST, SECOND]
    with pytest.raises(Missing):
        parse(parts[1], wanted[1])
    assert many.size == SOURCE.endpoints["post_by_id"].many.size == 50


def test_p6_an_item_that_cannot_be_read_harms_its_own_request_alone() -> None:
    many, parse = SOURCE.endpoints["profile_by_id"].many, SOURCE.endpoints["profile_by_id"].parse
    payload = json.loads((RECORDED / "channels_list_multi.json").read_text())
    payload["items"][0]["id"] = None
    wanted = specs(FIRST, SECOND)
    first, second = many.split(msgspec.json.encode(payload), wanted)
    with pytest.raises(Malformed):  # and not missing: the item may be its own
        parse(first, wanted[0])
    assert parse(second, wanted[1]).records
    payload["items"][0] = {"id": FIRST, "statistics": {"subscriberCount": "1", "viewCount": "many"}}
    first, second = many.split(msgspec.json.encode(payload), wanted)
    with pytest.raises(Malformed, match="not a count"):
        parse(first, wanted[0])
    assert parse(second, wanted[1]).records


@pytest.mark.parametrize("body", [b"", b"[]", b'{"items":7}', b'{"items":[', b"{}"])
def test_an_answer_to_many_that_cannot_be_divided_is_malformed(body: bytes) -> None:
    with pytest.raises(Malformed):
        SOURCE.endpoints["post_by_id"].many.split(body, [YouTubeCrawler.fetch_post_by_id("v1")])


def test_nobody_of_many_is_there() -> None:
    nothing = b'{"kind":"youtube#channelListResponse","pageInfo":{"totalResults":0,"resultsPerPage":5}}'
    wanted = specs(FIRST, SECOND)
    for part, spec in zip(SOURCE.endpoints["profile_by_id"].many.split(nothing, wanted), wanted, strict=True):
        with pytest.raises(Missing):
            SOURCE.endpoints["profile_by_id"].parse(part, spec)


def test_a_grant_calls_with_its_access_token_and_with_nothing_else_of_it() -> None:
    spec = YouTubeCrawler.fetch_profile_by_id("UC1")
    with_key, with_token = (
        built(spec),
        SOURCE.endpoints["profile_by_id"].build(spec, {**GRANT, "access_token": "ya29.d"}),
    )
    assert with_token.headers == {"Authorization": "Bearer ya29.d"}
    assert (with_token.path, with_token.query) == (with_key.path, with_key.query)
    assert (with_token.secret_query, with_key.headers) == ({}, {})
    assert SOURCE.check.build({**GRANT, "access_token": "ya29.d"}).headers == with_token.headers


def test_a_refresh_asks_googles_token_endpoint() -> None:
    call = SOURCE.refresh.build({**GRANT, "access_token": "ya29.old"})
    assert (call.method, call.base, call.path) == ("POST", "https://oauth2.googleapis.com", "/token")
    assert call.form == {**GRANT, "grant_type": "refresh_token"}
    assert (dict(call.query), dict(call.headers)) == ({}, {})


def refused(status: int, error: str, **more: str) -> Answer:
    return Answer(status, {}, json.dumps({"error": error, **more}).encode())


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (
            refused(400, "invalid_grant", error_description="Token has been expired or revoked."),
            Outcome.CREDENTIAL_DEAD,
        ),
        (refused(400, "invalid_grant", error_subtype="invalid_rapt"), Outcome.CREDENTIAL_DEAD),
        (refused(401, "invalid_client", error_description="The OAuth client was not found."), Outcome.CREDENTIAL_DEAD),
        (refused(401, "deleted_client"), Outcome.CREDENTIAL_DEAD),
        (refused(400, "unauthorized_client"), Outcome.CREDENTIAL_DEAD),
        (refused(400, "admin_policy_enforced"), Outcome.CREDENTIAL_DEAD),
        (refused(403, "org_internal"), Outcome.CREDENTIAL_DEAD),
        (refused(429, "rate_limit_exceeded"), Outcome.RATE_LIMITED),
        (
            refused(403, "access_denied"),
            Outcome.RATE_LIMITED,
        ),  # not known to be final: it cools down, and is tried again
        (refused(400, "newly_invented"), Outcome.REFUSED),
        (refused(500, "internal_failure"), Outcome.UPSTREAM_DOWN),
        (Answer(400, {}, b"<html>malformed</html>"), Outcome.UPSTREAM_DOWN),
    ],
)
def test_a_refresh_that_is_refused_is_judged_by_its_reason(answer: Answer, outcome: Outcome) -> None:
    renewed = SOURCE.refresh.read(answer)
    assert (renewed.verdict.outcome, dict(renewed.fields)) == (outcome, {})


def test_a_grant_that_was_taken_back_says_so() -> None:
    said = SOURCE.refresh.read(refused(400, "invalid_grant", error_description="Token has been expired or revoked."))
    assert (said.verdict.code, "expired or revoked" in said.verdict.detail) == ("400/invalid_grant", True)


def test_a_grant_without_the_scope_lacks_a_permission_and_lives() -> None:
    said = fault(403, "insufficientPermissions", google="ACCESS_TOKEN_SCOPE_INSUFFICIENT", domain="global")
    assert SOURCE.classify(said).outcome is Outcome.PERMISSION_MISSING


@pytest.mark.parametrize("token", ["", "two words", "ya29.a\nX-Evil: 1", "ya29.ü", "ya29.a\n"])
def test_a_token_that_is_none_is_malformed(token: str) -> None:
    body = json.dumps({"access_token": token, "expires_in": 3599}).encode()
    assert SOURCE.refresh.read(Answer(200, {}, body)).verdict.outcome is Outcome.MALFORMED


@pytest.mark.parametrize("name", list(GRANT))
def test_a_grant_whose_field_is_none_is_refused(name: str) -> None:
    SOURCE.check_secret(GRANT)
    with pytest.raises(BadInput) as refused:
        SOURCE.check_secret({**GRANT, name: "two words"})
    assert refused.value.field == name


@pytest.mark.parametrize("key", ["two words", "AIza\nX-Evil: 1", "schlüssel"])
def test_a_key_that_is_none_is_refused(key: str) -> None:
    SOURCE.check_secret(SECRET)
    with pytest.raises(BadInput) as refused:
        SOURCE.check_secret({"key": key})
    assert refused.value.field == "key"


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (Answer(200, {}, b'{"kind":"youtube#i18nLanguageListResponse","items":[{"id":"en"}]}'), Outcome.OK),
        (Answer(200, {}, b"<html>hello</html>"), Outcome.MALFORMED),
        (fault(400, "badRequest", google="API_KEY_INVALID"), Outcome.CREDENTIAL_DEAD),
        (fault(403, "quotaExceeded"), Outcome.QUOTA_EXHAUSTED),
    ],
)
def test_a_check_costs_a_unit_and_says_whether_the_key_lives(answer: Answer, outcome: Outcome) -> None:
    call = SOURCE.check.build(SECRET)
    assert (call.path, call.secret_query) == ("/i18nLanguages", SECRET)
    assert SOURCE.check.read(answer).verdict.outcome is outcome
