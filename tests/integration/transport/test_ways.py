"""Each source's own way out: base URL, proxy, authorities and user agent, against a provider and proxies on the loopback."""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from beat_actors.platforms.interface import Call, Source
from beat_actors.settings import Settings
from beat_actors.transport.http import Exchange, ProviderClient
from tests.certificates import certificate
from tests.conftest import MESSAGE_KEYS, VAULT_KEYS
from tests.proxies import PASSWORD, USER, http_proxy, socks_proxy

HOST = "provider.invalid"


class Far(Source):
    name = "far"
    base_url = f"https://{HOST}"
    secret_fields = ("key",)
    endpoints = {}


class Other(Far):
    name = "other"


@dataclass
class Provider:
    port: int
    agents: list[str]


@asynccontextmanager
async def provider(tls: ssl.SSLContext | None = None) -> AsyncIterator[Provider]:
    agents: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        agents.append(request.headers["User-Agent"])
        return web.json_response({"path": request.path})

    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
    try:
        yield Provider(runner.addresses[0][1], agents)
    finally:
        await runner.cleanup()


@asynccontextmanager
async def client(sources: dict[str, Any], **more: Any) -> AsyncIterator[ProviderClient]:
    settings = Settings(
        database_url="postgresql://nowhere.invalid/x",
        redis_url="redis://nowhere.invalid",
        vault_keys=VAULT_KEYS,
        message_keys=MESSAGE_KEYS,
        http_total_timeout=60,
        http_connect_timeout=60,
        stage_lease=120,
        sources=sources,
        **more,
    )
    made = ProviderClient(settings)
    try:
        yield made
    finally:
        await made.close()


@pytest.fixture
def trusted(tmp_path: Path) -> tuple[Path, ssl.SSLContext]:
    """A CA file, and a server's side of TLS with the certificate that it holds."""
    pem = certificate(tmp_path / "server.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    return pem, context


def body(exchange: Exchange) -> bytes:
    assert exchange.answer is not None, exchange.failure
    return exchange.answer.body


@pytest.mark.parametrize("kind", ["http", "socks5"])
async def test_the_calls_of_a_source_go_through_its_proxy_and_those_of_others_do_not(kind: str) -> None:
    proxies = {"http": http_proxy, "socks5": socks_proxy}
    async with provider() as there, proxies[kind]() as proxy:
        direct = f"http://127.0.0.1:{there.port}"
        through = f"{kind}://{USER}:{PASSWORD}@127.0.0.1:{proxy.port}"
        async with client({"far": {"base_url": direct, "proxy": through}, "other": {"base_url": direct}}) as made:
            assert body(await made.exchange(Other(), Call("/direct"))) == b'{"path": "/direct"}'
            assert proxy.asked == []
            assert body(await made.exchange(Far(), Call("/through"))) == b'{"path": "/through"}'
            assert len(proxy.asked) == 1
            assert f"127.0.0.1:{there.port}" in proxy.asked[0]


@pytest.mark.parametrize("kind", ["http", "socks5"])
async def test_the_proxy_looks_up_the_name_and_tls_ends_at_the_provider(
    kind: str, tmp_path: Path, trusted: tuple[Path, ssl.SSLContext]
) -> None:
    """Behind a proxy no name is looked up here, and no key can be read there."""
    proxies = {"http": http_proxy, "socks5": socks_proxy}
    pem, context = trusted
    async with provider(context) as there, proxies[kind]() as proxy:
        through = f"{kind}://{USER}:{PASSWORD}@127.0.0.1:{proxy.port}"
        sources = {"far": {"proxy": through, "ca_file": str(pem), "base_url": f"https://127.0.0.1:{there.port}"}}
        async with client(sources) as made:
            assert body(await made.exchange(Far(), Call("/sealed"))) == b'{"path": "/sealed"}'
            assert proxy.asked == [f"CONNECT 127.0.0.1:{there.port}"]
        async with client({"far": {"proxy": through, "base_url": f"https://{HOST}:{there.port}"}}) as made:
            exchange = await made.exchange(Far(), Call("/x"))
            # It came as far as the certificate, which is of nobody that is trusted.
            assert proxy.asked[-1] == f"CONNECT {HOST}:{there.port}"
            assert exchange.failure is not None
            assert not exchange.sent


@pytest.mark.parametrize("kind", ["http", "socks5"])
async def test_a_proxy_that_refuses_is_reported_without_its_password_and_nothing_was_sent(kind: str) -> None:
    proxies = {"http": http_proxy, "socks5": socks_proxy}
    async with proxies[kind]() as proxy:
        proxy.refuses = True
        through = f"{kind}://{USER}:{PASSWORD}@127.0.0.1:{proxy.port}"
        async with client({"*": {"proxy": through}}) as made:
            exchange = await made.exchange(Far(), Call("/x", secret_query={"key": "canary"}))
    assert exchange.failure is not None
    assert (exchange.failure.kind, exchange.sent) == ("proxy", False)
    assert f"127.0.0.1:{proxy.port}" in exchange.failure.detail
    assert PASSWORD not in exchange.failure.detail


async def test_a_source_trusts_its_own_authorities_and_no_others(trusted: tuple[Path, ssl.SSLContext]) -> None:
    pem, context = trusted
    async with provider(context) as there:
        base = f"https://127.0.0.1:{there.port}"
        sources = {"far": {"base_url": base, "ca_file": str(pem)}, "other": {"base_url": base}}
        async with client(sources) as made:
            assert body(await made.exchange(Far(), Call("/mine"))) == b'{"path": "/mine"}'
            refused = await made.exchange(Other(), Call("/not"))
            assert refused.failure is not None
            assert not refused.sent


async def test_a_ca_file_that_is_not_there_is_named_and_nothing_is_sent(tmp_path: Path) -> None:
    async with client({"far": {"ca_file": str(tmp_path / "none.pem")}}) as made:
        exchange = await made.exchange(Far(), Call("/x"))
    assert exchange.failure is not None
    assert (exchange.failure.kind, exchange.sent) == ("ca file", False)
    assert "none.pem" in exchange.failure.detail


async def test_the_user_agent_is_the_sources_own_or_that_of_all() -> None:
    async with provider() as there:
        base = f"http://127.0.0.1:{there.port}"
        own = {"base_url": base, "user_agent": "acme/7 (+https://acme.example)"}
        async with client({"far": own, "other": {"base_url": base}, "*": {"user_agent": "all/1"}}) as made:
            await made.exchange(Far(), Call("/"))
            await made.exchange(Other(), Call("/"))
        async with client({"other": {"base_url": base}}) as made:
            await made.exchange(Other(), Call("/"))
    assert there.agents == ["acme/7 (+https://acme.example)", "all/1", "beat/0.1"]


async def test_real_and_simulated_sources_are_mixed() -> None:
    async with provider() as simulator, provider() as real:
        mixed = {"other": {"base_url": f"http://127.0.0.1:{real.port}"}}
        url = f"http://127.0.0.1:{simulator.port}"
        async with client(mixed, simulator_url=url, environment="rehearsal") as made:
            assert body(await made.exchange(Far(), Call("/a"))) == b'{"path": "/far/a"}'
            assert body(await made.exchange(Other(), Call("/a"))) == b'{"path": "/a"}'
    assert (len(simulator.agents), len(real.agents)) == (1, 1)
