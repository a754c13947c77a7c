"""The clients: requests with idempotency keys, which arrive over a while. A client sends each of them again until it is accepted."""

import asyncio
import time
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random

import aiohttp

CLIENTS = 8
CALL_TIMEOUT = 15.0
AGAIN = 0.25


@dataclass(frozen=True, slots=True)
class Wanted:
    """One request: its idempotency key, the handle of the profile, the seconds after the beginning when it is sent, and the platform."""

    key: str
    handle: str
    after: float
    platform: str = "instagram"


@dataclass(frozen=True, slots=True)
class Answered:
    """One answer of the API. `status`: 0 where the connection broke. `retry_after`: whether the answer had this header."""

    at: float
    seconds: float
    status: int
    retry_after: bool


@dataclass(slots=True)
class Load:
    """The requests of a run and the API's answers. `authorization`: the header that the API needs. `ids`: each id that a 202 gave for a key."""

    wanted: list[Wanted]
    authorization: Mapping[str, str] = field(default_factory=dict, repr=False)
    ids: defaultdict[str, set[int]] = field(default_factory=lambda: defaultdict(set))
    answers: list[Answered] = field(default_factory=list)

    @property
    def accepted(self) -> list[int]:
        return sorted(request for ids in self.ids.values() for request in ids)

    def session(self) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            headers=self.authorization,
            timeout=aiohttp.ClientTimeout(total=CALL_TIMEOUT),
            connector=aiohttp.TCPConnector(limit=0),
        )

    async def run(self, api_url: str, *, timeout: float) -> None:
        """Send every request until it is accepted. Raises `TimeoutError` after `timeout` seconds."""
        queue: asyncio.Queue[Wanted] = asyncio.Queue()
        for wanted in sorted(self.wanted, key=lambda one: one.after):
            queue.put_nowait(wanted)
        began = time.monotonic()
        async with self.session() as http, asyncio.timeout(timeout), asyncio.TaskGroup() as clients:
            for _ in range(CLIENTS):
                clients.create_task(self._client(http, api_url, queue, began))

    async def _client(
        self, http: aiohttp.ClientSession, url: str, queue: "asyncio.Queue[Wanted]", began: float
    ) -> None:
        while not queue.empty():
            wanted = queue.get_nowait()
            await asyncio.sleep(max(0.0, began + wanted.after - time.monotonic()))
            await self.insist(http, url, wanted)

    async def insist(self, http: aiohttp.ClientSession, url: str, wanted: Wanted) -> None:
        """POST until it is accepted."""
        accepted = await self.ask(http, url, wanted)
        while not accepted:
            await asyncio.sleep(AGAIN)
            accepted = await self.ask(http, url, wanted)

    async def ask(self, http: aiohttp.ClientSession, url: str, wanted: Wanted) -> bool:
        """One POST; whether it was accepted."""
        body = {
            "platform": wanted.platform,
            "flow": "refresh_profile_by_handle",
            "params": {"handle": wanted.handle},
        }
        at, began = time.time(), time.monotonic()
        status, retry_after = 0, False
        try:
            headers = {"Idempotency-Key": wanted.key}
            async with http.post(f"{url}/v1/scrape-requests", json=body, headers=headers) as response:
                answer = await response.json(content_type=None)
                status, retry_after = response.status, "Retry-After" in response.headers
                if status == 202:
                    self.ids[wanted.key].add(int(answer["id"]))
        except (aiohttp.ClientError, TimeoutError, ConnectionError):
            pass  # whether the request was accepted is not known: the next try, with the same key, will tell
        self.answers.append(Answered(at, time.monotonic() - began, status, retry_after))
        return status == 202


async def at_once(load: Load, api_url: str, copies: int, *, timeout: float) -> None:
    """Every request from `copies` clients at the same moment. Raises `TimeoutError` where not all were accepted within `timeout` s."""
    gate = asyncio.Event()

    async def client(http: aiohttp.ClientSession, wanted: Wanted) -> None:
        await gate.wait()
        await load.insist(http, api_url, wanted)

    async with load.session() as http, asyncio.timeout(timeout), asyncio.TaskGroup() as clients:
        for wanted in load.wanted:
            for _ in range(copies):
                clients.create_task(client(http, wanted))
        await asyncio.sleep(0)
        gate.set()


def choose(
    dice: Random, name: str, count: int, population: int, window: float, platform: str = "instagram"
) -> list[Wanted]:
    """Requests for `count` profiles of the simulator's population, spread over `window` seconds. The same `dice` choose the same ones."""
    handles = [f"creator_{n:06d}" for n in dice.sample(range(population), count)]
    return [Wanted(f"{name}-{n}", handle, dice.uniform(0.0, window), platform) for n, handle in enumerate(handles)]
