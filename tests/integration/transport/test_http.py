"""The HTTP client against a hostile provider: every call ends in time, in bounds, and tells no secret."""

import asyncio
import contextlib
import gzip
import json
import resource
from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from beat_actors.platforms.interface import Answer, Call, FetchSpec, Source
from beat_actors.platforms.registry import source_named
from beat_actors.settings import Settings
from beat_actors.transport.http import ProviderClient, shown_url
from tests.conftest import MESSAGE_KEYS, VAULT_KEYS

SECRET = "canary-7f3a"
BOMB = gzip.compress(b"0" * 200_000_000, compresslevel=1)
FOLLOWED = web.AppKey("followed", list)


class Hostile(Source):
    name = "hostile"
    secret_fields = ("key",)
    endpoints = {}


async def ok(request: web.Request) -> web.Response:
    response = web.json_response({"cookies": dict(request.cookies), "accepts": request.headers["Accept-Encoding"]})
    response.set_cookie("session", "of credential A")
    return response


async def form(request: web.Request) -> web.Response:
    return web.json_response({**await request.post(), "type": request.content_type})


async def hang(request: web.Request) -> web.Response:
    await asyncio.sleep(3600)
    raise AssertionError


async def slow_loris(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    while True:
        await response.write(b"x")
        await asyncio.sleep(0.05)


async def gigabyte(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    block = b"x" * (1 << 20)
    for _ in range(1024):
        await response.write(block)
    return response


async def bomb(request: web.Request) -> web.Response:
    return web.Response(body=BOMB, headers={"Content-Encoding": "gzip"})


async def redirect(request: web.Request) -> web.Response:
    request.app[FOLLOWED].append(request.headers.get("X-RapidAPI-Key"))
    raise web.HTTPFound("/elsewhere")


async def reset(request: web.Request) -> web.Response:
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


async def headed(request: web.Request) -> web.Response:
    """The lines of one header apart, a long header, and a byte order mark before the body."""
    response = web.Response(body=b"\xef\xbb\xbf{}", headers={"X-Long": "x" * int(request.query["long"])})
    response.headers.add("Link", '<https://a.example>; rel="next"')
    response.headers.add("Link", '<https://b.example>; rel="previous"')
    return response


async def truncated(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Length": "1000"})
    await response.prepare(request)
    await response.write(b'{"user":')
    assert request.transport is not None
    request.transport.abort()
    return response


@pytest.fixture
def total_timeout() -> float:
    """Longer than a loaded machine takes for anything here but what never ends."""
    return 60.0


@pytest.fixture
async def client(total_timeout: float) -> AsyncIterator[ProviderClient]:
    app = web.Application()
    app[FOLLOWED] = []
    for handler in (ok, hang, slow_loris, gigabyte, bomb, redirect, reset, truncated, headed):
        app.router.add_get(f"/{handler.__name__}", handler)
    app.router.add_post("/form", form)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    Hostile.base_url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    settings = Settings(
        database_url="postgresql://nowhere.invalid/x",
        redis_url="redis://nowhere.invalid",
        vault_keys=VAULT_KEYS,
        message_keys=MESSAGE_KEYS,
        http_total_timeout=total_timeout,
        stage_lease=total_timeout + 60,
        http_byte_budget=5_000_000,
    )
    client = ProviderClient(settings)
    yield client
    await client.close()
    await runner.cleanup()


def call(path: str) -> Call:
    return Call(
        f"/{path}", query={"user": "a b"}, secret_query={"access_token": SECRET}, headers={"X-RapidAPI-Key": SECRET}
    )


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("gigabyte", "too large"),
        ("bomb", "too large"),
        ("redirect", "redirect"),
        ("reset", "connection"),
        ("truncated", "connection"),
    ],
)
async def test_every_hostile_answer_is_classified_and_bounded(client: ProviderClient, path: str, kind: str) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    exchange = await client.exchange(Hostile(), call(path))
    assert exchange.answer is None
    assert exchange.failure is not None
    assert exchange.failure.kind == kind
    assert exchange.failure.__traceback__ is None, "its frames hold what was read of the answer"
    assert SECRET not in f"{exchange!r}{exchange.failure!r}{exchange.failure}"
    if path == "gigabyte":
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # kB


@pytest.mark.parametrize("total_timeout", [0.5])
@pytest.mark.parametrize("path", ["hang", "slow_loris"])
async def test_what_never_ends_is_given_up(client: ProviderClient, path: str) -> None:
    exchange = await client.exchange(Hostile(), call(path))
    assert exchange.answer is None
    assert exchange.failure is not None
    assert exchange.failure.kind == "timeout"
    assert SECRET not in f"{exchange!r}{exchange.failure!r}{exchange.failure}"


async def test_lines_of_one_header_are_one_list_and_a_byte_order_mark_is_left_out(client: ProviderClient) -> None:
    answer = (await client.exchange(Hostile(), Call("/headed", query={"long": "20000"}))).answer
    assert answer is not None
    assert answer.headers["link"] == '<https://a.example>; rel="next", <https://b.example>; rel="previous"'
    assert len(answer.headers["x-long"]) == 20_000
    assert answer.body == b"{}"


async def test_a_header_that_is_too_long_is_refused_for_what_it_is(client: ProviderClient) -> None:
    exchange = await client.exchange(Hostile(), Call("/headed", query={"long": "200000"}))
    assert exchange.failure is not None
    assert exchange.failure.kind == "headers"
    assert "65536 bytes" in exchange.failure.detail


async def test_a_refused_connection_is_the_upstreams_fault(client: ProviderClient) -> None:
    Hostile.base_url = "http://127.0.0.1:9"
    exchange = await client.exchange(Hostile(), call("ok"))
    assert exchange.failure is not None
    assert exchange.failure.kind == "connection"
    assert SECRET not in repr(exchange)


async def test_cookies_of_one_call_do_not_travel_with_the_next(client: ProviderClient) -> None:
    for _ in range(2):
        exchange = await client.exchange(Hostile(), call("ok"))
        assert exchange.answer is not None
        assert exchange.answer.body == b'{"cookies": {}, "accepts": "gzip"}'


async def test_a_form_is_sent_as_one_and_not_shown(client: ProviderClient) -> None:
    asked = Call("/form", method="POST", form={"grant_type": "refresh_token", "refresh_token": f"{SECRET}&=/"})
    exchange = await client.exchange(Hostile(), asked)
    assert exchange.answer is not None
    assert json.loads(exchange.answer.body) == {
        "grant_type": "refresh_token",
        "refresh_token": f"{SECRET}&=/",
        "type": "application/x-www-form-urlencoded",
    }
    assert SECRET not in f"{exchange.url} {asked!r}"


def test_s1_2_the_url_that_is_shown_names_secrets_and_hides_them() -> None:
    shown = shown_url("https://graph.example", call("x"))
    assert shown == "https://graph.example/x?user=a+b&access_token=***"
    assert SECRET not in repr(call("x"))


@pytest.mark.parametrize(
    ("source", "operation", "secret", "url"),
    [
        ("graphapi", "own_profile", {"token": SECRET, "user_id": "17"}, "https://graph.facebook.com/v25.0/17?"),
        (
            "shopify",
            "shop",
            {"shop": "one.myshopify.com", "token": SECRET},
            "https://one.myshopify.com/admin/api/2026-01/shop.json?",
        ),
    ],
)
async def test_the_version_that_is_set_is_the_one_that_is_called(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, source: str, operation: str, secret: dict[str, str], url: str
) -> None:
    asked = []

    async def send(_client: ProviderClient, base: str, call: Call, *_more: object) -> Answer:
        asked.append(base + call.path)
        return Answer(200, {}, b"{}")

    monkeypatch.setattr(ProviderClient, "_send", send)
    client = ProviderClient(settings.model_copy(update={"graph_version": "v25.0", "shopify_version": "2026-01"}))
    declared = source_named(source)[1]
    made = await client.exchange(declared, declared.endpoints[operation].build(FetchSpec(operation, {}), secret))
    await client.close()
    assert made.url.startswith(url)
    assert asked == [url.removesuffix("?")]


class Elsewhere(Hostile):
    """A host of its own."""


@pytest.mark.parametrize(
    ("url", "sent"),
    [
        ("http://127.0.0.1:1", False),
        ("http://no.such.host.invalid", False),
        ("https://{authority}", False),
        (None, True),
    ],
)
async def test_whether_a_byte_was_sent_is_known(client: ProviderClient, url: str | None, sent: bool) -> None:
    """Also where the TLS handshake fails. A connection that breaks later may have carried the call."""
    source = Elsewhere()
    source.base_url = Hostile.base_url if url is None else url.format(authority=Hostile.base_url.rpartition("/")[2])
    exchange = await client.exchange(source, call("reset"))
    assert exchange.failure is not None
    assert (exchange.failure.kind, exchange.sent) == ("connection", sent)
    assert SECRET not in str(exchange)


async def test_a_url_that_is_none_differs_from_a_host_that_is_not_reached(client: ProviderClient) -> None:
    source = Elsewhere()
    source.base_url = "http://[broken"
    exchange = await client.exchange(source, call("ok"))
    assert exchange.failure is not None
    assert (exchange.failure.kind, exchange.sent) == ("request", False)


async def test_slots_are_waited_for_host_by_host(client: ProviderClient) -> None:
    """A host whose slots are all taken holds up nobody else's call."""
    other = Elsewhere()
    other.base_url = "http://other.invalid"
    async with contextlib.AsyncExitStack() as held:
        for _ in range(client._settings.http_max_per_host):
            await held.enter_async_context(client.slot(Hostile(), call("ok")))
        waiting = asyncio.create_task(held.enter_async_context(client.slot(Hostile(), call("ok"))))
        async with client.slot(other, call("ok")):
            assert not waiting.done()
        waiting.cancel()
        await asyncio.wait({waiting})
        assert waiting.cancelled()
    async with client.slot(Hostile(), call("ok")):
        pass


async def test_providers_that_one_simulator_answers_for_have_their_own_slots(client: ProviderClient) -> None:
    """Calls to one provider take no slots of another, in a rehearsal as in production."""
    simulated = client._settings.model_copy(update={"simulator_url": "http://127.0.0.1:1"})
    first, second = Elsewhere(), Elsewhere()
    first.base_url, second.base_url = "https://first.invalid", "https://second.invalid"
    async with contextlib.AsyncExitStack() as held:
        rehearsing = ProviderClient(simulated)
        held.push_async_callback(rehearsing.close)
        for _ in range(simulated.http_max_per_host):
            await held.enter_async_context(rehearsing.slot(first, call("ok")))
        async with asyncio.timeout(10), rehearsing.slot(second, call("ok")):
            pass
