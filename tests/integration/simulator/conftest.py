"""A simulator on a free port, whose numbers stand still, and a caller who knows every provider's way to bring a key."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp
import msgspec
import pytest

from beat_actors.simulator import Population, SimulatorClient, SimulatorConfig, running

CONFIG = SimulatorConfig(profiles=500, drift_seconds=0)
PEOPLE = Population(CONFIG.profiles, CONFIG.seed, drift_seconds=0)
PK = str(next(person.pk for index in range(500) if (person := PEOPLE.person(index)) and person.posts > 60))

PROFILE = "business_discovery.username({handle}){{id,ig_id,username,followers_count,media_count}}"
MEDIA = "business_discovery.username({handle}){{media{after}.limit({limit}){{id,permalink,like_count}}}}"


@dataclass(frozen=True)
class Got:
    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        return msgspec.json.decode(self.body)


class Caller:
    """Calls a simulated provider's paths with a key where that provider wants it."""

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self.url = url
        self.session = session

    async def get(self, source: str, path: str, query: Mapping[str, str] | None = None, key: str = "key-1") -> Got:
        headers, query = {}, dict(query or {})
        if source == "graphapi":
            query["access_token"] = key
        elif source == "lama":
            headers["x-access-key"] = key
        else:
            headers["X-RapidAPI-Key"] = key
        return await self.raw(source + path, query, headers if key else {})

    async def raw(
        self, path: str, query: Mapping[str, str] | None = None, headers: Mapping[str, str] | None = None
    ) -> Got:
        async with self.session.get(
            f"{self.url}/{path}", params=query, headers=headers, allow_redirects=False
        ) as response:
            return Got(response.status, {k.lower(): v for k, v in response.headers.items()}, await response.read())

    async def profile(self, source: str, handle: str = "creator_000042", key: str = "key-1") -> Got:
        path, query = profile_call(source, handle)
        return await self.get(source, path, query, key)


def profile_call(source: str, handle: str) -> tuple[str, dict[str, str]]:
    return {
        "graphapi": ("/v24.0/1784", {"fields": PROFILE.format(handle=handle)}),
        "arraybobo": ("/ig/info_username/", {"user": handle}),
        "jotucker": ("/user_info_by_id", {"user_name": handle}),
        "bestsolutions": ("/profile", {"username": handle}),
        "lama": ("/a2/user", {"username": handle}),
    }[source]


@pytest.fixture
async def url() -> AsyncIterator[str]:
    async with running(CONFIG) as url:
        yield url


@pytest.fixture
async def caller(url: str) -> AsyncIterator[Caller]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=20)) as session:
        yield Caller(url, session)


@pytest.fixture
async def admin(url: str) -> AsyncIterator[SimulatorClient]:
    async with SimulatorClient(url) as client:
        yield client
