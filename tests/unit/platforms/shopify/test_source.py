"""What is particular to Shopify's API: the store in the URL, the cursor in a header, the bucket, and the refusals."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beat_actors.errors import BadInput
from beat_actors.platforms.interface import Answer, FetchSpec, Outcome
from beat_actors.platforms.shopify import ShopifyCrawler, platform
from beat_actors.platforms.shopify.sources.shopify import BUCKET, LEAK
from tests.conftest import FIXTURES

SOURCE = platform.sources["shopify"]
SECRET = {"shop": "example.myshopify.com", "token": "shpat_0123"}
RECORDED = FIXTURES / "shopify/shopify"


def built(spec: FetchSpec) -> Any:
    return SOURCE.endpoints[spec.operation].build(spec, SECRET)


def judged(status: int, errors: Any, **headers: str) -> Any:
    return SOURCE.classify(Answer(status, headers, json.dumps({"errors": errors}).encode()))


@pytest.mark.parametrize(
    "shop",
    [
        "example.com",
        "myshopify.com",
        ".myshopify.com",
        "-a.myshopify.com",
        "https://example.myshopify.com",
        "example.myshopify.com/",
        "example.myshopify.com\n",
        " example.myshopify.com",
        "example.myshopify.com.evil.example",
        "evil.example/.myshopify.com",
        "evil.example#.myshopify.com",
        "user@example.myshopify.com",
        "a.b.myshopify.com",
        "example.myshopify.com:8080",
        "127.0.0.1",
        "example.myshopifyxcom",
        "\N{KELVIN SIGN}elvin.myshopify.com",
        "a" * 64 + ".myshopify.com",
    ],
)
def test_what_is_no_stores_domain_never_becomes_a_url(shop: str) -> None:
    with pytest.raises(BadInput, match="a store is named by its domain") as refused:
        SOURCE.check_secret({**SECRET, "shop": shop})
    assert refused.value.field == "shop"
    with pytest.raises(ValueError):
        SOURCE.endpoints["shop"].build(ShopifyCrawler.fetch_shop("x"), {**SECRET, "shop": shop})
    for flow in platform.flows.values():
        with pytest.raises(BadInput, match="a store is named by its domain"):
            flow.validate({"store": shop})


@pytest.mark.parametrize("token", ["shpat_1\r\nX-Evil: 1", "two words", "tökén"])
def test_a_token_that_no_header_can_carry_is_refused(token: str) -> None:
    with pytest.raises(BadInput) as refused:
        SOURCE.check_secret({**SECRET, "token": token})
    assert refused.value.field == "token"


def test_a_credential_belongs_to_its_store_whatever_the_case() -> None:
    secret = {**SECRET, "shop": "Example.MyShopify.com"}
    SOURCE.check_secret(secret)
    assert SOURCE.owner(secret) == "example.myshopify.com"
    spec = platform.flows["refresh_store"].first(
        platform.flows["refresh_store"].validate({"store": "EXAMPLE.myshopify.com"})
    )
    assert spec.owner == "example.myshopify.com"
    call = SOURCE.endpoints["shop"].build(spec, secret)
    assert call.base == "https://example.myshopify.com/admin/api/{version}"


def test_a_listing_asks_for_what_is_kept_and_a_cursor_for_nothing_else() -> None:
    spec = ShopifyCrawler.fetch_orders_by_store("example.myshopify.com", "2025-01-01T00:00:00Z", "2025-02-01T00:00:00Z")
    query = dict(built(spec).query)
    kept = query.pop("fields").split(",")
    assert query == {
        "limit": "250",
        "status": "any",
        "updated_at_min": "2025-01-01T00:00:00Z",
        "updated_at_max": "2025-02-01T00:00:00Z",
    }
    assert not {"email", "phone", "billing_address", "shipping_address", "note", "browser_ip"} & set(kept)
    paged = built(FetchSpec(spec.operation, spec.params, "abc", "shopify", 2, spec.owner))
    assert set(paged.query) == {"limit", "fields", "page_info"}
    assert "status" not in built(ShopifyCrawler.fetch_products_by_store("example.myshopify.com")).query


def link(value: str) -> str | None:
    return SOURCE.next_cursor(Answer(200, {"link": value}, b"{}"))


def test_the_next_page_stands_in_the_header() -> None:
    at = "https://example.myshopify.com/admin/api/2025-10/orders.json?"
    assert link(f'<{at}limit=250&page_info=prev>; rel="previous", <{at}limit=250&page_info=next>; rel="next"') == "next"
    assert link(f'<{at}limit=250&page_info=next>; rel="next", <{at}limit=250&page_info=prev>; rel="previous"') == "next"
    assert link(f'<{at}fields=id,name&page_info=eyJh%3D%3D&limit=3>; rel="next"') == "eyJh=="
    assert link(f"<{at}page_info=a+b/c=>; rel=next") == "a+b/c="
    assert link(f'<{at}page_info=prev>; rel="previous"') is None
    assert SOURCE.next_cursor(Answer(200, {}, b"{}")) is None


def test_the_recorded_header_is_read() -> None:
    said = json.loads((RECORDED / "headers_link_pagination.json").read_text())
    assert SOURCE.next_cursor(Answer(200, {"link": said["Link"]}, b"{}")) is None  # its words were replaced
    words = {"kta=": "rel=", "ilsdmitu": "previous", "mldk": "next", "iooe_knke": "page_info", "stnoi": "limit"}
    header = said["Link"]
    for replaced, word in words.items():
        header = header.replace(replaced, word)
    cursor = link(header)
    assert cursor is not None
    assert (cursor[:6], len(cursor)) == ("olIdoN", 106)
    reported = SOURCE.reported(
        Answer(200, {"x-shopify-shop-api-call-limit": said["X-Shopify-Shop-Api-Call-Limit"]}, b"")
    )
    assert (reported.remaining, reported.reset_seconds) == (39, 0.5)


@pytest.mark.parametrize(
    "url",
    [
        "https://example.myshopify.com/orders.json",
        "https://example.myshopify.com/orders.json?page_info=",
        "https://example.myshopify.com/orders.json?page_info=a b",
        "https://example.myshopify.com/orders.json?page_info=" + "a" * 5000,
        "https://[::1/orders.json?page=2",
    ],
)
def test_a_link_to_the_next_page_that_cannot_be_read_does_not_pass_for_the_last(url: str) -> None:
    assert link(f'<{url}>; rel="next"') == ""


@pytest.mark.parametrize(
    ("used", "remaining", "seconds"), [("1/40", 39, 0.5), ("40/40", 0, 20), ("41/40", 0, 20.5), ("8/80", 72, 4)]
)
def test_the_bucket_says_what_is_left(used: str, remaining: int, seconds: float) -> None:
    reported = SOURCE.reported(Answer(200, {"x-shopify-shop-api-call-limit": used}, b""))
    assert (reported.remaining, reported.reset_seconds) == (remaining, seconds)


@pytest.mark.parametrize("used", ["", "many", "1", "-1/40", "1/40/80", "99999999999/1"])
def test_a_bucket_that_cannot_be_read_says_nothing(used: str) -> None:
    assert SOURCE.reported(Answer(200, {"x-shopify-shop-api-call-limit": used}, b"")) is None


@given(st.lists(st.sampled_from([0.0, 0.01, 0.3, 0.5, 1.0, 5.0, 19.9, 20.0, 25.0]), max_size=400))
def test_calls_within_the_window_never_overflow_the_bucket(pauses: list[float]) -> None:
    (limit,) = SOURCE.limits
    now, level, drained, sent = 0.0, 0.0, 0.0, []
    for pause in pauses:
        now += pause
        sent = [at for at in sent if at > now - limit.seconds]
        if len(sent) >= limit.calls:
            continue
        level = max(0.0, level - LEAK * (now - drained)) + 1
        drained = now
        sent.append(now)
        assert level <= BUCKET + 1e-6


UNRECOGNIZED = "[API] Invalid API key or access token (unrecognized login or wrong password)"


@pytest.mark.parametrize(
    ("status", "errors", "outcome"),
    [
        (401, UNRECOGNIZED, Outcome.CREDENTIAL_DEAD),
        (403, UNRECOGNIZED, Outcome.CREDENTIAL_DEAD),
        (401, "", Outcome.CREDENTIAL_DEAD),
        (403, "[API] Invalid Username provided for Basic Auth API access", Outcome.CREDENTIAL_DEAD),
        (403, "[API] This action requires merchant approval for read_orders scope.", Outcome.PERMISSION_MISSING),
        (403, "This app is not approved to access the Customer object", Outcome.PERMISSION_MISSING),
        (402, "Unavailable Shop", Outcome.RATE_LIMITED),
        (423, "Locked", Outcome.RATE_LIMITED),
        (420, "Locked", Outcome.RATE_LIMITED),
        (430, "Shopify Security Rejection", Outcome.RATE_LIMITED),
        (404, "Not Found", Outcome.MISSING),
        (400, {"page_info": "Invalid value."}, Outcome.REFUSED),
        (422, {"query": "is not valid"}, Outcome.REFUSED),
        (500, "Internal Server Error", Outcome.UPSTREAM_DOWN),
        (503, "Service Unavailable", Outcome.UPSTREAM_DOWN),
        (418, "teapot", Outcome.REFUSED),
        (404, "no such page", Outcome.REFUSED),
    ],
)
def test_a_refusal_is_judged_as_what_it_is(status: int, errors: Any, outcome: Outcome) -> None:
    verdict = judged(status, errors)
    assert (verdict.outcome, verdict.retry_after) == (outcome, None)


def test_a_page_of_a_firewall_is_no_missing_permission() -> None:
    assert SOURCE.classify(Answer(403, {}, b"<html>denied</html>")).outcome is Outcome.RATE_LIMITED


def test_a_429_waits_for_what_it_says() -> None:
    headers = {"retry-after": "4.0", "x-shopify-shop-api-call-limit": "40/40"}
    verdict = SOURCE.classify(Answer(429, headers, b'{"errors":"Exceeded 2 calls per second"}'))
    assert (verdict.outcome, verdict.retry_after, verdict.reported.remaining) == (Outcome.RATE_LIMITED, 4.0, 0)
    assert judged(429, "Exceeded 2 calls per second").retry_after == 2


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (Answer(200, {}, (RECORDED / "shop.json").read_bytes()), Outcome.OK),
        (Answer(200, {}, b"<html>hello</html>"), Outcome.MALFORMED),
        (Answer(401, {}, b'{"errors":"[API] Invalid API key or access token"}'), Outcome.CREDENTIAL_DEAD),
        (Answer(402, {}, b'{"errors":"Unavailable Shop"}'), Outcome.RATE_LIMITED),
    ],
)
def test_a_check_says_whether_a_credential_lives(answer: Answer, outcome: Outcome) -> None:
    check = SOURCE.check
    call = check.build(SECRET)
    assert (call.base, call.path) == ("https://example.myshopify.com/admin/api/{version}", "/shop.json")
    assert check.read(answer).verdict.outcome is outcome
