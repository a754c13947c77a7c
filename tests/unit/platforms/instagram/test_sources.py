"""What Instagram's sources ask, how they judge a refusal, and how they check a credential."""

import json
import re
from datetime import UTC, datetime
from typing import Any

import pytest

from beat_actors.platforms.instagram import platform
from beat_actors.platforms.instagram.entities import InstagramPost
from beat_actors.platforms.instagram.payloads import shortcode_of
from beat_actors.platforms.interface import Answer, FetchSpec, Health, Outcome
from tests.conformance.recordings.instagram import PARAMS
from tests.conftest import FIXTURES

SECRETS = {"graphapi": {"token": "secret", "user_id": "17841400000000001"}}


def call(source: str, operation: str, cursor: str | None = None, **params: str) -> Any:
    endpoint = platform.sources[source].endpoints[operation]
    return endpoint.build(FetchSpec(operation, PARAMS | params, cursor), SECRETS.get(source, {"key": "secret"}))


def fault(code: int, message: str = "", subcode: int | None = None) -> bytes:
    return json.dumps({"error": {"message": message, "code": code, "error_subcode": subcode}}).encode()


@pytest.mark.parametrize("media_type", ["image", "carousel", "reels"])
def test_no_metric_is_asked_for_that_is_gone(media_type: str) -> None:
    asked = call("graphapi", "post_insights", media_type=media_type).query["metric"].split(",")
    assert "views" in asked
    assert not {"impressions", "plays", "video_views", "engagement"} & set(asked)


def test_insights_are_asked_of_the_media_id_alone() -> None:
    for operation in ("post_insights", "story_insights", "story_navigation"):
        assert call("graphapi", operation, media_id="123_456").path == "/123/insights"
    assert call("graphapi", "story_navigation").query["breakdown"] == "story_navigation_action_type"


def test_demographics_are_asked_as_totals() -> None:
    assert call("graphapi", "profile_insights", breakdown="country").query == {
        "metric": "follower_demographics",
        "period": "lifetime",
        "metric_type": "total_value",
        "timeframe": "last_90_days",
        "breakdown": "country",
    }


@pytest.mark.parametrize(
    ("source", "operation", "path", "cursor"),
    [
        ("arraybobo", "reels_by_id", "/ig/reels_posts/", "max_id"),
        ("arraybobo", "tagged_by_id", "/ig/tagged/", "end_cursor"),
        ("jotucker", "followers_by_id", "/followers", "next_cursor"),
        ("jotucker", "following_by_id", "/following", "next_cursor"),
        ("jotucker", "comments_by_shortcode", "/media_comments", "next_cursor"),
        ("jotucker", "hashtag_posts", "/hash_tag_medias_v2", "next_cursor"),
        ("lama", "reels_by_id", "/v1/user/clips/chunk", "end_cursor"),
        ("lama", "tagged_by_id", "/v2/user/tag/medias", "page_id"),
        ("lama", "followers_by_id", "/gql/user/followers/chunk", "end_cursor"),
        ("lama", "following_by_id", "/gql/user/following/chunk", "end_cursor"),
        ("lama", "comments_by_shortcode", "/gql/comments/chunk", "end_cursor"),
        ("lama", "hashtag_posts", "/v1/hashtag/medias/top/recent/chunk", "max_id"),
        ("graphapi", "own_posts", "/17841400000000001/media", "after"),
        ("graphapi", "own_comments", "/18000000000000001/comments", "after"),
    ],
)
def test_a_next_page_is_asked_by_the_paths_own_name(source: str, operation: str, path: str, cursor: str) -> None:
    first, second = call(source, operation), call(source, operation, "the-cursor")
    assert (first.path, cursor in first.query) == (path, False)
    assert second.query == {**first.query, cursor: "the-cursor"}


def test_a_credential_belongs_to_its_account() -> None:
    assert platform.sources["graphapi"].owner(SECRETS["graphapi"]) == "17841400000000001"
    assert platform.sources["lama"].owner({"key": "k"}) is None


@pytest.mark.parametrize(
    ("body", "outcome"),
    [
        (fault(104, "An access token is required to request this resource."), Outcome.CREDENTIAL_DEAD),
        (fault(102), Outcome.CREDENTIAL_DEAD),
        *((fault(190, subcode=subcode), Outcome.CREDENTIAL_DEAD) for subcode in (458, 459, 460, 463, 464, 467, 492)),
        (fault(10, "(#10) Not enough viewers for the media to show insights"), Outcome.MISSING),
        (fault(10, "(#10) Application does not have permission for this action"), Outcome.PERMISSION_MISSING),
        *((fault(code), Outcome.PERMISSION_MISSING) for code in (3, 200, 230, 299)),
        *((fault(code), Outcome.RATE_LIMITED) for code in (4, 17, 32, 341, 368, 613, 80001, 80002)),
        (fault(17, subcode=2446079), Outcome.RATE_LIMITED),
        (fault(613, subcode=1996), Outcome.RATE_LIMITED),
        *((fault(code), Outcome.UPSTREAM_DOWN) for code in (1, 2)),
        (fault(999_999), Outcome.REFUSED),
        (b'{"error": {"code": 999999, "is_transient": true}}', Outcome.UPSTREAM_DOWN),
        (fault(110, subcode=2207013), Outcome.UNSEEN),
        (fault(100, subcode=2207013), Outcome.REFUSED),  # the same subcode, another code
        (fault(24, subcode=2207024), Outcome.MISSING),
        (fault(803), Outcome.MISSING),
        (fault(100, subcode=33), Outcome.MISSING),
        (fault(100, subcode=2108006), Outcome.BAD_REQUEST),
        (fault(100), Outcome.REFUSED),
        (fault(2500), Outcome.REFUSED),
    ],
)
def test_the_graph_apis_codes(body: bytes, outcome: Outcome) -> None:
    graph = platform.sources["graphapi"]
    assert graph.classify(Answer(400, {}, body)).outcome is outcome
    spaced = b"\n " + body.replace(b'{"error"', b'{ "error" ')
    assert graph.classify(Answer(200, {}, spaced)).outcome is outcome


@pytest.mark.parametrize(
    ("body", "outcome"),
    [
        ({"error": {"code": "190", "error_subcode": "463"}}, Outcome.CREDENTIAL_DEAD),
        ({"error": {"code": "110", "error_subcode": 2207013}}, Outcome.UNSEEN),
        ({"error": {"code": 100, "error_subcode": "33"}}, Outcome.MISSING),
        ({"data": [], "error": {"code": 4}}, Outcome.RATE_LIMITED),
        ({"error": "something else"}, Outcome.REFUSED),
    ],
)
def test_a_code_may_be_text_and_the_error_stand_anywhere(body: Any, outcome: Outcome) -> None:
    for status in (200, 400):
        assert platform.sources["graphapi"].classify(Answer(status, {}, json.dumps(body).encode())).outcome is outcome


@pytest.mark.parametrize(
    "body", [{"data": [{"caption": '"error": 1'}]}, {"data": [{"error": {"code": 190}}]}, {"error": None}]
)
def test_what_only_speaks_of_errors_is_none(body: Any) -> None:
    assert platform.sources["graphapi"].classify(Answer(200, {}, json.dumps(body).encode())).outcome is Outcome.OK


def test_only_what_may_be_the_tokens_fault_is_ambiguous() -> None:
    graph = platform.sources["graphapi"]
    assert graph.classify(Answer(400, {}, fault(100, subcode=33))).ambiguous
    for body in (fault(110, subcode=2207013), fault(803), fault(190), fault(100), fault(10)):
        assert not graph.classify(Answer(400, {}, body)).ambiguous


@pytest.mark.parametrize("source", ["arraybobo", "jotucker", "bestsolutions"])
@pytest.mark.parametrize(
    ("status", "text", "outcome"),
    [
        (429, "You have exceeded the DAILY quota for Requests on your current plan, BASIC.", Outcome.QUOTA_EXHAUSTED),
        (429, "You have exceeded the rate limit per second for your plan", Outcome.RATE_LIMITED),
        (403, "You are not subscribed to this API.", Outcome.CREDENTIAL_DEAD),
        (401, "Invalid API key. Go to the documentation", Outcome.CREDENTIAL_DEAD),
        (404, "Endpoint '/ig/stories/' does not exist", Outcome.UPSTREAM_DOWN),
        (404, "User not found", Outcome.MISSING),
        (400, "feedback_required", Outcome.UPSTREAM_DOWN),
        (400, "Not authorized to view user", Outcome.PRIVATE),
        (400, "Invalid target user", Outcome.MISSING),
        (502, "<html>Bad Gateway</html>", Outcome.UPSTREAM_DOWN),
        (404, "API doesn't exists", Outcome.UPSTREAM_DOWN),
        (401, "Unauthorized", Outcome.UPSTREAM_DOWN),
    ],
)
def test_the_gateways_answers(source: str, status: int, text: str, outcome: Outcome) -> None:
    body = json.dumps({"message": text}).encode()
    assert platform.sources[source].classify(Answer(status, {}, body)).outcome is outcome


@pytest.mark.parametrize("source", ["arraybobo", "jotucker", "bestsolutions"])
@pytest.mark.parametrize("body", [b"<!DOCTYPE html><p>User not found</p>", b" <html>", b"", b"error code: 1020"])
def test_a_page_or_nothing_is_the_providers_own_trouble(source: str, body: bytes) -> None:
    for status in (400, 401, 403, 404, 422):
        assert platform.sources[source].classify(Answer(status, {}, body)).outcome is Outcome.UPSTREAM_DOWN
    assert platform.sources[source].classify(Answer(429, {}, body)).outcome is Outcome.RATE_LIMITED


@pytest.mark.parametrize("source", ["arraybobo", "jotucker", "bestsolutions"])
def test_the_session_of_the_provider_is_not_our_key(source: str) -> None:
    body = b'{"message":"","require_login":true,"status":"fail"}'
    assert platform.sources[source].classify(Answer(401, {}, body)).outcome is Outcome.UPSTREAM_DOWN


@pytest.mark.parametrize(
    ("period", "reset", "wait"),
    [("HOURLY", "2163603", 3600), ("HOURLY", "120", 120), ("HOURLY", None, 3600), ("DAILY", "2163603", 86_400),
     ("MONTHLY", "2163603", 2_163_603), ("MONTHLY", None, 86_400)],
)  # fmt: skip
def test_a_key_cools_down_no_longer_than_the_period_whose_quota_is_spent(
    period: str, reset: str | None, wait: int
) -> None:
    headers = {} if reset is None else {"x-ratelimit-requests-reset": reset}
    body = f'{{"message":"You have exceeded the {period} quota for Requests on your current plan, BASIC."}}'
    verdict = platform.sources["jotucker"].classify(Answer(429, headers, body.encode()))
    assert (verdict.outcome, verdict.retry_after) == (Outcome.QUOTA_EXHAUSTED, wait)


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (400, Outcome.REFUSED),
        (401, Outcome.CREDENTIAL_DEAD),
        (402, Outcome.QUOTA_EXHAUSTED),
        (403, Outcome.REFUSED),
        (404, Outcome.REFUSED),
        (408, Outcome.UPSTREAM_DOWN),
        (410, Outcome.REFUSED),
        (422, Outcome.REFUSED),
        (429, Outcome.RATE_LIMITED),
        (500, Outcome.UPSTREAM_DOWN),
        (503, Outcome.UPSTREAM_DOWN),
        (504, Outcome.UPSTREAM_DOWN),
    ],
)
def test_lamas_statuses(status: int, outcome: Outcome) -> None:
    assert platform.sources["lama"].classify(Answer(status, {}, b'{"detail": "..."}')).outcome is outcome


@pytest.mark.parametrize(
    ("status", "body", "outcome", "wait"),
    [
        (403, {"message": "Please wait a few minutes before you try again."}, Outcome.UPSTREAM_DOWN, 60),
        (404, {"message": "Please wait a few minutes before you try again."}, Outcome.UPSTREAM_DOWN, 60),
        (403, {"detail": "feedback_required"}, Outcome.UPSTREAM_DOWN, None),
        (404, {"message": "login_required"}, Outcome.UPSTREAM_DOWN, None),
        (404, {"message": "checkpoint_required"}, Outcome.UPSTREAM_DOWN, None),
        (404, {"detail": "Not Found"}, Outcome.UPSTREAM_DOWN, None),
        (404, {"detail": "User not found", "exc_type": "UserNotFound"}, Outcome.UNSEEN, None),
        (404, {"detail": "Media not found", "exc_type": "MediaNotFound"}, Outcome.MISSING, None),
        (403, {"detail": "Account is private", "exc_type": "PrivateAccount"}, Outcome.PRIVATE, None),
        (403, {"message": "Not authorized to view user"}, Outcome.PRIVATE, None),
        (401, {"detail": "Invalid access token"}, Outcome.CREDENTIAL_DEAD, None),
        *((status, "<html>no</html>", Outcome.UPSTREAM_DOWN, None) for status in (400, 401, 403, 404, 422)),
        *((status, "", Outcome.UPSTREAM_DOWN, None) for status in (401, 403, 404)),
        (401, "<html>401 Unauthorized</html>", Outcome.UPSTREAM_DOWN, None),
        (429, "<html>slow down</html>", Outcome.RATE_LIMITED, 2),
    ],
)
def test_what_instagram_or_a_firewall_says_comes_before_lamas_statuses(
    status: int, body: Any, outcome: Outcome, wait: float | None
) -> None:
    said = body.encode() if isinstance(body, str) else json.dumps(body).encode()
    verdict = platform.sources["lama"].classify(Answer(status, {}, said))
    assert (verdict.outcome, verdict.retry_after) == (outcome, wait)


@pytest.mark.parametrize("source", ["arraybobo", "jotucker", "bestsolutions", "lama"])
@pytest.mark.parametrize("text", ["User not found", "Media not found or unavailable", "Not authorized to view user"])
def test_an_outage_says_nothing_of_the_thing(source: str, text: str) -> None:
    for status in (500, 502, 503, 504):
        answer = Answer(status, {}, json.dumps({"message": text}).encode())
        assert platform.sources[source].classify(answer).outcome is Outcome.UPSTREAM_DOWN


# Checks


def health(source: str, status: int, body: bytes) -> Health:
    check = platform.sources[source].check
    assert check is not None
    return check.read(Answer(status, {}, body))


def test_a_check_shows_no_secret() -> None:
    for name in ("graphapi", "lama"):
        check = platform.sources[name].check
        assert check is not None
        asked = check.build(SECRETS.get(name, {"key": "secret"}))
        assert "secret" not in f"{asked.path} {dict(asked.query)} {asked!r}"
        assert "secret" in f"{dict(asked.headers)} {dict(asked.secret_query)}"


def test_a_token_and_its_access_to_data_end_apart() -> None:
    found = health("graphapi", 200, (FIXTURES / "instagram/graphapi/debug_token.json").read_bytes())
    assert found.verdict.outcome is Outcome.OK
    assert found.scopes is not None
    assert "read_insights" in found.scopes
    assert found.expires_at == datetime.fromtimestamp(1577347200, UTC)
    assert found.data_access_expires_at == datetime.fromtimestamp(1585040349, UTC)


@pytest.mark.parametrize(
    ("status", "body", "outcome"),
    [
        (200, {"data": {"is_valid": True, "expires_at": 0, "scopes": None}}, Outcome.OK),
        (200, {"data": {"is_valid": False, "error": {"code": 190, "subcode": 463}}}, Outcome.CREDENTIAL_DEAD),
        (200, {"data": {"is_valid": True, "expires_at": 2**62}}, Outcome.MALFORMED),
        (200, {"data": {"is_valid": True, "data_access_expires_at": 2**62}}, Outcome.MALFORMED),
        (200, {"data": {}}, Outcome.MALFORMED),
        (200, [], Outcome.MALFORMED),
        (400, {"error": {"code": 190}}, Outcome.CREDENTIAL_DEAD),
        (403, {"error": {"code": 4}}, Outcome.RATE_LIMITED),
        (503, None, Outcome.UPSTREAM_DOWN),
    ],
)
def test_what_a_check_of_a_token_finds(status: int, body: Any, outcome: Outcome) -> None:
    found = health("graphapi", status, json.dumps(body).encode())
    assert (found.verdict.outcome, found.expires_at) == (outcome, None)


def test_why_a_token_is_dead_is_reported() -> None:
    body = {"data": {"is_valid": False, "error": {"code": 190, "subcode": 463}, "scopes": []}}
    found = health("graphapi", 200, json.dumps(body).encode())
    assert (found.verdict.code, found.scopes) == ("190/463", frozenset())


@pytest.mark.parametrize(
    ("status", "body", "outcome"),
    [
        (200, {"requests": 12, "rate": 15, "currency": "USD", "amount": 1.2}, Outcome.OK),
        (200, {"requests": "12"}, Outcome.OK),
        (200, {"requests": 0}, Outcome.QUOTA_EXHAUSTED),
        (200, {"rate": 15}, Outcome.MALFORMED),
        (200, {"requests": "some"}, Outcome.MALFORMED),
        (401, {"detail": "Invalid access token"}, Outcome.CREDENTIAL_DEAD),
        (402, {"detail": "Top up"}, Outcome.QUOTA_EXHAUSTED),
    ],
)
def test_what_a_check_of_a_balance_finds(status: int, body: Any, outcome: Outcome) -> None:
    assert health("lama", status, json.dumps(body).encode()).verdict.outcome is outcome


def test_a_check_reads_whatever_comes() -> None:
    for name in ("graphapi", "lama"):
        for body in (b"", b"<html>", b"\xff\xfe", b'"text"', b"null", b"{"):
            assert health(name, 200, body).verdict.outcome is Outcome.MALFORMED


@pytest.mark.parametrize("operation", ["profile_by_handle", "posts_by_handle", "posts_by_id"])
def test_how_often_discovered_media_were_viewed_is_asked_for_and_kept(operation: str) -> None:
    assert re.search(
        r"media\.limit\(\d+\)\{[a-z_,]*\bview_count\b[a-z_,]*\}", call("graphapi", operation).query["fields"]
    )
    payload = json.loads((FIXTURES / "instagram/graphapi/discovery_medias_p1.json").read_text())
    first, second = payload["business_discovery"]["media"]["data"][:2]
    first["view_count"] = 4_711
    payload["business_discovery"].setdefault("username", "somebody")
    spec = FetchSpec("posts_by_handle", {"handle": payload["business_discovery"]["username"]}, source="graphapi")
    parse = platform.sources["graphapi"].endpoints["posts_by_handle"].parse
    found = [each for each in parse(json.dumps(payload).encode(), spec).records if isinstance(each, InstagramPost)]
    assert [each.views for each in found[:2]] == [4_711, second.get("view_count")]


@pytest.mark.parametrize("operation", ["own_posts", "own_tagged", "own_post"])
def test_what_only_discovered_media_have_is_not_asked_of_ones_own(operation: str) -> None:
    assert "view_count" not in call("graphapi", operation).query["fields"]


@pytest.mark.parametrize("shortcode", ["CUT8mV0hZtM", "aZ-_9"])
def test_the_second_source_of_comments_is_asked_by_the_id_that_a_shortcode_says(shortcode: str) -> None:
    asked = call("lama", "comments_by_shortcode", shortcode=shortcode).query["media_id"]
    assert shortcode_of(asked) == shortcode
    assert shortcode_of(
        call("lama", "comments_by_shortcode", shortcode=f"{shortcode:-<11}token").query["media_id"]
    ) == (f"{shortcode:-<11}")


def test_a_tokens_ends_may_be_reported_in_milliseconds() -> None:
    body = json.dumps({"data": {"is_valid": True, "expires_at": 4_102_444_800_000}}).encode()
    assert health("graphapi", 200, body).expires_at == datetime(2100, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize("source", ["arraybobo", "jotucker", "bestsolutions"])
@pytest.mark.parametrize(
    ("message", "outcome", "wait"),
    [
        ("You are not subscribed to this API.", Outcome.CREDENTIAL_DEAD, None),
        (
            "You have exceeded the MONTHLY quota for Requests on your current plan, BASIC.",
            Outcome.QUOTA_EXHAUSTED,
            86_400,
        ),
        ("You have exceeded the rate limit per second for your plan, BASIC", Outcome.RATE_LIMITED, 2),
        ("Please wait a few minutes before you try again.", Outcome.UPSTREAM_DOWN, 60),
        ("something new", Outcome.REFUSED, None),
    ],
)
def test_an_error_inside_a_200_is_the_error_that_it_is(
    source: str, message: str, outcome: Outcome, wait: float | None
) -> None:
    for body in ({"message": message}, {"messages": message, "info": "Your Client (working)"}):
        verdict = platform.sources[source].classify(Answer(200, {}, json.dumps(body).encode()))
        assert (verdict.outcome, verdict.retry_after) == (outcome, wait)
    recorded = json.dumps({"user": {"biography": message}, "message": message}).encode()
    assert platform.sources[source].classify(Answer(200, {}, recorded)).outcome is Outcome.OK
