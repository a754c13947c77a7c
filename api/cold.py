"""Readers of assets that are not stored yet. They mark the asset as wanted, wake the uploader and wait, all readers of one asset together.

This process goes to no origin: it has no URL to give, and takes none. How many fetches readers without a key may cause is limited, for all
of them together and for each network.
"""

import asyncio
import ipaddress
import math
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple
from uuid import UUID

from api.deadline import in_time, uncounted
from api.limits import WINDOW
from api.waiting import COME_BACK, Waiting
from api.wakeups import Wakeups
from beat_actors.assets.serving.shelf import Asset, Step, Wanted, step
from beat_actors.broker.own_flows import UPLOADS
from beat_actors.logger import get_logger

if TYPE_CHECKING:
    from api.services import Services

log = get_logger(__name__)

PATIENCE = 10.0
"""Seconds that a reader waits for a picture of which there is none yet."""
BRIEFLY = 2.0
"""Seconds that a reader waits where an older picture, or a larger one, can be served in its place."""
MAX_WAITS = 1000
"""Readers that wait for pictures in one process."""
MAX_WAITS_OPEN = 800
"""Those of them without a key."""
MAX_WAITS_OF_KEY = 200
MAX_WAITS_OF_NETWORK = 200
"""Those of one network without a key, so that readers of one network leave room to all others."""
SHARE_OF_NETWORK = 5
"""One network may use one part in so many of the budget of requests for parents."""
ROUNDS = 3
"""How often a reader looks again: its picture may change while it is fetched."""
JOINED = 2.0
"""Seconds after an asset was marked in which other readers count as having joined."""
LATER = 60
"""Seconds after which a reader should ask again for what needs a fetch of the parent, or is gone."""
NOBODY = 0
"""In place of the id of a key, for readers without one."""
V4, V6 = 24, 48
"""Bits of an address that count as one network."""


class Asker(NamedTuple):
    """Whose read it is. `network`: of a reader without a key; `None` for a caller with a key, which is held to the rate of its key."""

    key_id: int
    network: str | None


class Brought(NamedTuple):
    """An asset after the wait. `retry_after`: seconds after which to ask again where its picture is not there; 0 where it is."""

    asset: Asset
    retry_after: int


class Budget(NamedTuple):
    """What readers without a key may cause each minute. `name`: of its counters. `most`: all readers together. `most_of_network`: those of one network."""

    name: str
    most: int
    most_of_network: int


@dataclass(frozen=True, slots=True)
class _Begun:
    network: str | None
    task: asyncio.Task[int]


def network_of(address: str | None) -> str:
    """The network that an address counts for."""
    try:
        found = ipaddress.ip_address((address or "").partition("%")[0])
    except ValueError:
        return "unknown"
    if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped is not None:
        found = found.ipv4_mapped
    return str(ipaddress.ip_network((found, V4 if found.version == 4 else V6), strict=False))


class Cold:
    """One for each process."""

    def __init__(self, services: "Callable[[], Services]", wakeups: Wakeups) -> None:
        self._services = services
        self._wakeups = wakeups
        self.assets: Waiting[UUID] = Waiting(
            lambda ids: services().shelf.ended(ids), most=MAX_WAITS, most_of_key=MAX_WAITS_OPEN
        )
        self.variants: Waiting[Wanted] = Waiting(
            lambda wanted: services().shelf.made(wanted), most=MAX_WAITS, most_of_key=MAX_WAITS_OPEN
        )
        self._begun: dict[object, _Begun] = {}
        self._waits_of_network: Counter[str] = Counter()
        self._spent_until: dict[str, float] = {}

    async def bring(self, asset: Asset, by: Asker) -> Brought | None:
        """The asset after its picture was fetched, or after a bounded wait. `None` where it was forgotten meanwhile. Raises `StorageUnavailable`."""
        ends = time.monotonic() + (PATIENCE if asset.content is None else BRIEFLY)
        for _ in range(ROUNDS):
            now = step(asset)
            if now is Step.SERVE:
                return Brought(asset, 0)
            if now is Step.NOTHING:
                return Brought(asset, max(1, math.ceil(asset.later)) if asset.later and asset.later > 0 else LATER)
            if now is Step.ASK:
                refused = await self._begin(asset.public_id, by, self._asking(asset), self._refetches())
                return Brought(asset, refused or LATER)
            seconds = ends - time.monotonic()
            if seconds <= 0:
                break
            with self._place(self.assets, by) as has_place:
                if not has_place:
                    break
                begins = now is Step.WANT
                if begins and (
                    refused := await self._begin(asset.public_id, by, self._marking(asset), self._fetches())
                ):
                    return Brought(asset, refused)
                if asset.wanted:
                    self._wakeups.send((UPLOADS.platform,))  # the first wake-up may be lost
                with uncounted():
                    ended = await self.assets.until_ended(asset.public_id, seconds, by.key_id)
            if not ended:
                break
            found = await in_time(self._services().shelf.assets.find(asset.public_id, anew=True))
            if found is None:
                return None
            asset = found
        else:
            if step(asset) is Step.SERVE:
                return Brought(asset, 0)
        return Brought(asset, COME_BACK[0])

    async def make(self, wanted: Wanted, by: Asker) -> int:
        """Wait until a variant is made, for a short time. 0, or the seconds after which to ask again. Raises `StorageUnavailable`."""
        with self._place(self.variants, by) as has_place:
            if not has_place:
                return COME_BACK[0]
            if refused := await self._begin(
                wanted, by, lambda: self._services().want_variant(*wanted), self._fetches()
            ):
                return refused
            with uncounted():
                made = await self.variants.until_ended(wanted, BRIEFLY, by.key_id)
        return 0 if made else COME_BACK[0]

    async def close(self) -> None:
        await self.assets.close()
        await self.variants.close()

    @contextmanager
    def _place(self, waiting: "Waiting[UUID] | Waiting[Wanted]", by: Asker) -> Iterator[bool]:
        """Whether the reader may wait. Its network has one reader more that waits until the block ends."""
        if by.network is None:
            yield waiting.room(by.key_id) and waiting.waits_of(by.key_id) < MAX_WAITS_OF_KEY
            return
        if not waiting.room(by.key_id) or self._waits_of_network[by.network] >= MAX_WAITS_OF_NETWORK:
            yield False
            return
        self._waits_of_network[by.network] += 1
        try:
            yield True
        finally:
            self._waits_of_network[by.network] -= 1
            if not self._waits_of_network[by.network]:
                del self._waits_of_network[by.network]

    def _fetches(self) -> Budget:
        settings = self._services().database.settings
        return Budget("assets", settings.asset_cold_reads, settings.asset_cold_reads_of_network)

    def _refetches(self) -> Budget:
        """Each of these is a call to a provider, which an account pays for."""
        most = self._services().database.settings.asset_cold_refetches
        return Budget("assets:parents", most, -(-most // SHARE_OF_NETWORK))

    def _marking(self, asset: Asset) -> Callable[[], Awaitable[object]]:
        async def mark() -> None:
            await self._services().shelf.want(asset.public_id)
            self._wakeups.send((UPLOADS.platform,))

        return mark

    def _asking(self, asset: Asset) -> Callable[[], Awaitable[object]]:
        return lambda: self._services().shelf.ask(asset.public_id)

    async def _begin(self, what: object, by: Asker, work: Callable[[], Awaitable[object]], budget: Budget) -> int:
        """Do the work once for all readers that come together. 0, or the seconds after which to ask again where the budget is used up."""
        while (begun := self._begun.get(what)) is not None:
            refused = await in_time(_result(begun.task))
            if not refused or begun.network == by.network:
                return refused
            if self._begun.get(what) is begun:
                del self._begun[what]
        task = asyncio.create_task(self._paid(by, work, budget))
        begun = self._begun[what] = _Begun(by.network, task)
        task.add_done_callback(lambda done: self._keep(what, begun, done))
        return await in_time(_result(task))

    def _keep(self, what: object, begun: _Begun, done: asyncio.Task[int]) -> None:
        def drop() -> None:
            if self._begun.get(what) is begun:
                del self._begun[what]

        if done.cancelled() or done.exception() is not None or done.result():
            drop()
        else:
            asyncio.get_running_loop().call_later(JOINED, drop)

    async def _paid(self, by: Asker, work: Callable[[], Awaitable[object]], budget: Budget) -> int:
        if by.network is not None and (refused := await self._spend(by.network, budget)):
            return refused
        await work()
        return 0

    async def _spend(self, network: str, budget: Budget) -> int:
        """Take one from the budget of the network and from that of all. 0, or the seconds until there is one again."""
        limiter = self._services().limiter
        now = time.monotonic()
        if now < (until := self._spent_until.get(budget.name, 0.0)):  # a flood leaves no counters of networks in Redis
            return max(1, math.ceil(until - now))
        for name, limit in ((f"{budget.name}:{network}", budget.most_of_network), (budget.name, budget.most)):
            if not limit:
                return WINDOW
            allowance = await limiter.take(name, limit)
            if not allowance.granted:
                if name == budget.name:
                    self._spent_until[name] = now + allowance.seconds
                    log.warning("cold_reads_spent", budget=name, limit=limit, seconds=allowance.seconds)
                return allowance.seconds
        return 0


async def _result(task: asyncio.Task[int]) -> int:
    return await asyncio.shield(task)
