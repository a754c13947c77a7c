"""What is particular to TikTok's providers: errors in a 200, the gateway's headers, and calls that carry what each asks by."""

import json
from typing import Any

import pytest

from beat_actors.errors import BadInput
from beat_actors.platforms.interface import Answer, Outcome
from beat_actors.platforms.tiktok import TikTokCrawler, platform

TIKWM, API23 = (platform.sources[name] for name in ("tikwm", "api23"))
SECRET = {"key": "key-1"}


def judged(source: Any, body: Any, status: int = 200, **headers: str) -> Any:
    said = {name.replace("_", "-"): value for name, value in headers.items()}
    return source.classify(Answer(status, said, body if isinstance(body, bytes) else json.dumps(body).encode()))


@pytest.mark.parametrize(
    ("body", "outcome", "wait"),
    [
        ({"code": 0, "msg": "success", "data": {}}, Outcome.OK, None),
        ({"code": -1, "msg": "Free Api Limit: 1 request/second."}, Outcome.RATE_LIMITED, 1),
        ({"code": -1, "msg": "Free Api Limit: 10 requests/second."}, Outcome.RATE_LIMITED, 1),
        ({"code": -1, "msg": "Free Api Limit: 5000 requests/day."}, Outcome.QUOTA_EXHAUSTED, 86_400),
        ({"code": -1, "msg": "Free Api Limit reached"}, Outcome.QUOTA_EXHAUSTED, 86_400),
        ({"code": -1, "msg": "Url parsing is failed! Please check url."}, Outcome.UNSEEN, None),
        ({"code": -1, "msg": "unique_id is invalid"}, Outcome.MISSING, None),
        ({"code": -1, "msg": "something new"}, Outcome.REFUSED, None),
        ({"code": 1, "msg": "something else"}, Outcome.REFUSED, None),
        # A caption is not a message.
        ({"code": 0, "data": {"title": "Free Api Limit, unique_id is invalid"}}, Outcome.OK, None),
        (b"<html>hello</html>", Outcome.OK, None),
    ],
)
def test_tikwm_says_what_is_wrong_in_a_200(body: Any, outcome: Outcome, wait: float | None) -> None:
    verdict = judged(TIKWM, body)
    assert (verdict.outcome, verdict.retry_after) == (outcome, wait)


@pytest.mark.parametrize(
    ("body", "outcome"),
    [
        ({"statusCode": 0, "userInfo": {}}, Outcome.OK),
        ({"userInfo": {}}, Outcome.OK),
        ({"statusCode": 10221, "statusMsg": "user banned"}, Outcome.MISSING),
        ({"statusCode": 10202}, Outcome.MISSING),
        ({"data": {"statusCode": 10221}}, Outcome.MISSING),
        ({"statusCode": 1}, Outcome.UNSEEN),
        ({"statusCode": "10221"}, Outcome.MISSING),
        ({"status_code": 10222}, Outcome.PRIVATE),  # as lists of comments say it
        ({"status_code": 0, "comments": []}, Outcome.OK),
        ({"statusCode": 10222}, Outcome.PRIVATE),
        ({"statusCode": 10216}, Outcome.PRIVATE),
        ({"statusCode": 10204}, Outcome.UPSTREAM_DOWN),
        ({"statusCode": 100002}, Outcome.UPSTREAM_DOWN),
    ],
)
def test_tiktoks_own_status_stands_in_a_200(body: Any, outcome: Outcome) -> None:
    assert judged(API23, body).outcome is outcome


@pytest.mark.parametrize("source", platform.sources.values(), ids=lambda source: source.name)
@pytest.mark.parametrize(
    ("status", "message", "outcome", "wait"),
    [
        (
            429,
            "You have exceeded the MONTHLY quota for Requests on your current plan, BASIC.",
            Outcome.QUOTA_EXHAUSTED,
            7200,
        ),
        (429, "You have exceeded the rate limit per second for your plan, BASIC", Outcome.RATE_LIMITED, 2),
        (403, "You are not subscribed to this API.", Outcome.CREDENTIAL_DEAD, None),
        (401, "Invalid API key.", Outcome.CREDENTIAL_DEAD, None),
        (404, "Endpoint '/user/info' does not exist", Outcome.UPSTREAM_DOWN, None),
        (404, "nothing here", Outcome.REFUSED, None),
        (404, "Video not found", Outcome.MISSING, None),
        (403, "something new", Outcome.REFUSED, None),
        (500, "oops", Outcome.UPSTREAM_DOWN, None),
    ],
)
def test_s10_6_the_gateways_refusals_are_those_of_every_platform(
    source: Any, status: int, message: str, outcome: Outcome, wait: float | None
) -> None:
    verdict = judged(
        source, {"message": message}, status, x_ratelimit_requests_remaining="0", x_ratelimit_requests_reset="7200"
    )
    assert (verdict.outcome, verdict.retry_after) == (outcome, wait)
    assert (verdict.reported.remaining, verdict.reported.reset_seconds) == (0, 7200)


def test_s10_6_limits_are_declared() -> None:
    assert [(limit.calls, limit.seconds) for limit in TIKWM.limits] == [(1, 1), (5000, 86400)]
    assert [(limit.calls, limit.seconds) for limit in API23.limits] == [(2, 1)]


def test_each_provider_is_asked_by_what_it_asks_for() -> None:
    spec = TikTokCrawler.fetch_posts_by_id("42", "somebody", "MS4w")
    assert spec.source is None
    built = {name: platform.sources[name].endpoints["posts_by_id"].build(spec, SECRET) for name in platform.sources}
    assert (built["tikwm"].path, built["tikwm"].query) == ("/user/posts", {"user_id": "42", "count": "30"})
    assert (built["api23"].path, built["api23"].query) == (
        "/api/user/posts",
        {"secUid": "MS4w", "count": "30", "cursor": "0"},
    )
    assert {call.headers["X-RapidAPI-Key"] for call in built.values()} == {"key-1"}
    # An account whose `sec_uid` is not known can be asked for at tikwm alone.
    assert TikTokCrawler.fetch_posts_by_id("42", "somebody", None).source == "tikwm"


def test_a_credential_has_a_key() -> None:
    for source in platform.sources.values():
        assert source.secret_fields == ("key",)
    with pytest.raises(BadInput):
        platform.flows["refresh_tiktok_post"].validate({"post_id": "https://www.tiktok.com/@x/video/1"})
