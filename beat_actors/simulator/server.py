"""The server: one port, a path prefix for each provider, and `/_simulator/` to look at it and to break it."""

import asyncio
import contextlib
import random
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import msgspec
from aiohttp import web

from beat_actors.errors import BadInput
from beat_actors.simulator.double import Asked, ProviderDouble, Reply
from beat_actors.simulator.faults import Fault, Faults, Kind
from beat_actors.simulator.ledger import Ledger, fingerprint
from beat_actors.simulator.population import Population
from beat_actors.simulator.providers import DOUBLES
from beat_actors.simulator.spoil import HTML, bomb, spoil

SPOILS = frozenset({Kind.MISSING_KEY, Kind.WRONG_TYPE, Kind.HTML, Kind.TRUNCATED, Kind.WRONG_USER, Kind.CORRUPT})
REFUSALS = {Kind.RATE_LIMIT: "rate_limited", Kind.QUOTA: "quota", Kind.REVOKED: "unauthorized"}


@dataclass(slots=True)
class Config:
    """`latency` in seconds, spread by `jitter` (0..1); `limits` off lets every call through, as a benchmark wants it."""

    profiles: int = 1000
    seed: int = 1
    latency: float = 0.0
    jitter: float = 0.2
    limits: bool = True
    private_every: int = 0


class Simulator:
    def __init__(self, config: Config) -> None:
        self.config = config
        self.population = Population(config.profiles, seed=config.seed, private_every=config.private_every)
        self.ledger = Ledger()
        self.faults = Faults(random.Random(config.seed))
        self.rng = random.Random(config.seed)
        self.started = time.monotonic()
        # Rendering is the cost of an answer; the numbers stand still within an epoch, so an answer can be kept.
        self._render = lru_cache(maxsize=4_000)(self._render_now)

    def app(self) -> web.Application:
        app = web.Application()
        app.router.add_get("/", self.state)
        app.router.add_get("/_simulator/state", self.state)
        app.router.add_get("/_simulator/ledger", self.show_ledger)
        app.router.add_post("/_simulator/ledger/reset", self.reset_ledger)
        app.router.add_get("/_simulator/faults", self.show_faults)
        app.router.add_post("/_simulator/faults", self.add_fault)
        app.router.add_delete("/_simulator/faults", self.clear_faults)
        app.router.add_delete("/_simulator/faults/{id:\\d+}", self.clear_faults)
        app.router.add_post("/_simulator/latency", self.set_latency)
        app.router.add_get("/{source}/{path:.*}", self.provider)
        return app

    async def provider(self, request: web.Request) -> web.StreamResponse:
        """One call to a provider: into the ledger, past its limits, through its faults."""
        source = request.match_info["source"]
        double = DOUBLES.get(source)
        if double is None:
            return web.json_response({"message": f"there is no provider {source!r}"}, status=404)
        credential = double.credential(request)
        asked = double.read("/" + request.match_info["path"], request)
        operation = asked.operation if asked else "unknown"
        if self.config.latency:
            await asyncio.sleep(self.config.latency * (1 + self.config.jitter * (2 * self.rng.random() - 1)))
        if asked is None or credential is None:
            reply = double.refuse("unknown_path" if asked is None else "unauthorized", None)
            return self._send(double, operation, credential, reply)
        wait = self.ledger.account(source, credential).take(
            double.quotas if self.config.limits else (), time.monotonic()
        )
        fault = self.faults.hit(source, operation, fingerprint(credential))
        if fault is not None:
            return await self._faulty(request, double, asked, credential, fault)
        if wait is not None:
            return self._send(double, operation, credential, double.refuse("rate_limited", wait), over_limit=True)
        return self._send(double, operation, credential, self._answer(source, asked))

    async def _faulty(
        self, request: web.Request, double: ProviderDouble, asked: Asked, credential: str, fault: Fault
    ) -> web.StreamResponse:
        kind, operation = fault.kind, asked.operation
        if kind in REFUSALS:
            return self._send(double, operation, credential, double.refuse(REFUSALS[kind], fault.retry_after))
        if kind in SPOILS:
            return self._send(double, operation, credential, spoil(kind, self._answer(double.name, asked)))
        if kind is Kind.OUTAGE:
            return self._send(double, operation, credential, Reply(int(fault.status), HTML, {}, "text/html"))
        if kind is Kind.REDIRECT:
            return self._send(double, operation, credential, Reply(302, b"", {"Location": str(request.url)}))
        if kind is Kind.GZIP_BOMB:
            body = await asyncio.to_thread(bomb)
            return self._send(double, operation, credential, Reply(200, body, {"Content-Encoding": "gzip"}))
        if kind is Kind.SLOW:
            await asyncio.sleep(fault.delay)
            return self._send(double, operation, credential, self._answer(double.name, asked))
        self.ledger.note(double.name, operation, credential, 0, over_limit=False)
        return await self._no_answer(request, kind)

    async def _no_answer(self, request: web.Request, kind: Kind) -> web.StreamResponse:
        if kind is Kind.RESET:
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
        if kind is Kind.HANG:
            await asyncio.sleep(3600)
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        with contextlib.suppress(ConnectionError):
            for _ in range(1024 if kind is Kind.GIGABYTE else 36_000):
                await response.write(b"x" * (1 << 20) if kind is Kind.GIGABYTE else b" ")
                await asyncio.sleep(0 if kind is Kind.GIGABYTE else 0.1)
        return response

    def _answer(self, source: str, asked: Asked) -> Reply:
        return self._render(source, asked.operation, tuple(asked.params.items()), self.population.epoch())

    def _render_now(self, source: str, operation: str, params: tuple[tuple[str, str], ...], epoch: int) -> Reply:
        return DOUBLES[source].answer(self.population, Asked(operation, dict(params)), epoch)

    def _send(
        self, double: ProviderDouble, operation: str, credential: str | None, reply: Reply, *, over_limit: bool = False
    ) -> web.Response:
        self.ledger.note(double.name, operation, credential, reply.status, over_limit=over_limit)
        calls = self.ledger.account(double.name, credential).calls if credential else 0
        allowed = max((quota.calls for quota in double.quotas), default=0) if self.config.limits else 0
        headers = {**double.headers(calls, allowed), **reply.headers}
        return web.Response(status=reply.status, body=reply.body, headers=headers, content_type=reply.content_type)

    async def state(self, _request: web.Request) -> web.Response:
        config = msgspec.to_builtins(self.config)
        up = round(time.monotonic() - self.started, 1)
        return web.json_response(
            {"up_seconds": up, "providers": sorted(DOUBLES), "faults": self.faults.to_json(), **config}
        )

    async def show_ledger(self, _request: web.Request) -> web.Response:
        return web.json_response(self.ledger.to_json())

    async def reset_ledger(self, _request: web.Request) -> web.Response:
        self.ledger.reset()
        return web.json_response(self.ledger.to_json())

    async def show_faults(self, _request: web.Request) -> web.Response:
        return web.json_response(self.faults.to_json())

    async def add_fault(self, request: web.Request) -> web.Response:
        try:
            fault = self.faults.add(await request.json(), set(DOUBLES))
        except BadInput as error:
            return web.json_response({"message": str(error), "field": error.field}, status=400)
        except ValueError:
            return web.json_response({"message": "the body is not JSON"}, status=400)
        return web.json_response(fault.to_json(), status=201)

    async def clear_faults(self, request: web.Request) -> web.Response:
        named = request.match_info.get("id")
        return web.json_response({"cleared": self.faults.clear(int(named) if named else None)})

    async def set_latency(self, request: web.Request) -> web.Response:
        try:
            body: Any = await request.json()
            latency, jitter = float(body["latency"]), float(body.get("jitter", self.config.jitter))
        except (ValueError, TypeError, KeyError):
            return web.json_response({"message": "give latency in seconds, and jitter from 0 to 1"}, status=400)
        if not (0 <= latency <= 60 and 0 <= jitter <= 1):
            return web.json_response({"message": "latency is 0 to 60 seconds, jitter 0 to 1"}, status=400)
        self.config.latency, self.config.jitter = latency, jitter
        return await self.state(request)


async def start(config: Config, *, host: str, port: int) -> tuple[web.AppRunner, int]:
    """Serve in the running loop; the runner to clean up, and the port (0 asks for any). Raises `OSError` when it is taken."""
    runner = web.AppRunner(Simulator(config).app(), access_log=None, shutdown_timeout=0.5)
    await runner.setup()
    site = web.TCPSite(runner, host, port, backlog=1024)
    try:
        await site.start()
    except OSError:
        await runner.cleanup()
        raise
    addresses: Sequence[Any] = runner.addresses
    return runner, int(addresses[0][1])


async def serve(config: Config, *, host: str, port: int) -> None:
    """Serve until SIGTERM or SIGINT."""
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    runner, _ = await start(config, host=host, port=port)
    try:
        await stopped.wait()
    finally:
        await runner.cleanup()
