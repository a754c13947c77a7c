"""Collects the evidence of pictures, and leaves what is wrong with them in the scene."""

import asyncio
import contextlib
import hashlib
import time
from collections.abc import Iterable, Mapping, Sequence, Set
from urllib.parse import urlsplit

import aiohttp
import psutil
from yarl import URL

from beat_actors.chaos.pictures import ASSETS, OBJECTS, Asset, PictureEvidence, Served, Truth, orphans, wrong
from beat_actors.chaos.rig import Rig
from beat_actors.chaos.scene import Scene
from beat_actors.chaos.waiting import ChaosError, until
from beat_actors.media.content import examined
from beat_actors.media.picture import NotStored, Picture
from beat_actors.simulator.media import PREFIX, identity

OPEN = """
SELECT (SELECT count(*) FROM asset_log WHERE status IN ('PENDING', 'PROCESSING') OR status = 'WAITING' AND NOT starts_with(coalesce(failure, ''), 'gone:'))
     + (SELECT count(*) FROM scrape_request_log WHERE status IN ('PENDING', 'PROCESSING'))
     + (SELECT count(*) FROM scrape_fetch WHERE stage IN ('LEASED', 'SETTLING', 'RETRIEVED', 'INGESTED')) AS n
"""
REFETCH = "SELECT public_id FROM asset_log WHERE status = 'REFETCH'"
SWEPT = 35.0
"""Seconds in which the scheduler looks at all pictures that wait for a fresh URL, three times."""
AT_ONCE = 16
PATIENCE, AGAIN = 20.0, 1.0
BUSY = 503


def _open_pictures(rig: Rig) -> int:
    """How many pictures are not over, and how many requests and fetches that may bring further ones."""
    (row,) = rig.rows(OPEN)
    return int(row.n)


async def over(scene: Scene, *, deadlines: int = 1) -> None:
    """Wait until no request and no upload is left, or for so many times `timing.deadline`. The check reports what is left."""

    waiting: set[object] = set()
    since = time.monotonic()

    def done() -> bool:
        nonlocal waiting, since
        if len(scene.load.ids) < len(scene.load.wanted) or _open_pictures(scene.rig):
            waiting, since = set(), time.monotonic()
            return False
        # An entity is asked for once a day, so a picture whose URL died later waits until tomorrow.
        before, waiting = waiting, {row.public_id for row in scene.rig.rows(REFETCH)}
        if waiting != before:
            since = time.monotonic()
        return not waiting or time.monotonic() - since > SWEPT

    with contextlib.suppress(ChaosError):
        await until(done, within=deadlines * scene.timing.deadline, what="pictures are left", every=0.5)


def most_memory(rig: Rig) -> int:
    """Bytes of the largest process that uploads."""
    most = 0
    for process in rig.uploaders():
        with contextlib.suppress(psutil.NoSuchProcess):
            most = max(most, process.memory_info().rss)
    return most


async def survey(scene: Scene) -> None:
    """Compare the rows, the bucket and the origin. The fault is over, and the origin answers as it should."""
    evidence = await collected(scene)
    scene.complaints += wrong(evidence)
    scene.complain(not evidence.assets, "no picture was found, so nothing was tested")
    statuses = [asset.status for asset in evidence.assets]
    scene.extra |= {
        "pictures": len(statuses),
        "stored": statuses.count("COMPLETE"),
        "given_up": sum(statuses.count(status) for status in ("FAILED", "EXPIRED", "GONE", "REFETCH")),
        "objects": len(evidence.hashes),
        "orphans": len(orphans(evidence)),
        "in_flight": evidence.in_flight,
    }


async def collected(scene: Scene) -> PictureEvidence:
    rig, pictures = scene.rig, scene.pictures
    assets = await asyncio.to_thread(rig.rows_of, ASSETS)
    return PictureEvidence(
        assets=assets,
        rows=set(await asyncio.to_thread(rig.rows_of, OBJECTS)),
        hashes=await asyncio.to_thread(rig.bucket.hashes),
        truths=await _truths(rig, assets),
        in_flight=pictures.in_flight,
        before=pictures.before,
        excused=excused_by_url(pictures.excused, assets),
        served=await _served(scene, [asset.id for asset in assets if asset.content is not None]),
    )


def excused_by_url(by_picture: Mapping[str, Set[str]], assets: Iterable[Asset]) -> dict[str, Set[str]]:
    """By URL, of what is known by the simulator's name of a picture."""
    names = {asset.url: identity(_place("", asset.url).path) for asset in assets}
    return {url: by_picture[name] for url, name in names.items() if name in by_picture}


def _place(simulator: str, url: str) -> URL:
    """Where the simulator has what Beat finds under this URL."""
    parts = urlsplit(url)
    return URL(f"{simulator}{PREFIX}/{parts.netloc}{parts.path}{'?' * bool(parts.query)}{parts.query}", encoded=True)


async def _served(scene: Scene, ids: Sequence[str]) -> dict[str, Served]:
    """What a reader without a key gets from the API for each of these pictures."""
    slots = asyncio.Semaphore(AT_ONCE)

    async def ask(http: aiohttp.ClientSession, id: str) -> Served:
        try:
            async with http.get(f"{scene.rig.stack.api_url}/assets/{id}") as answer:
                return Served(answer.status, hashlib.sha256(await answer.read()).hexdigest())
        except (aiohttp.ClientError, TimeoutError):
            return Served(0, "")

    async def insist(http: aiohttp.ClientSession, id: str) -> Served:
        """A bucket that answers too slowly for one call is 503 to its reader, who comes again."""
        async with slots:
            found = await ask(http, id)
            ends = time.monotonic() + PATIENCE
            while found.status == BUSY and time.monotonic() < ends:
                await asyncio.sleep(AGAIN)
                found = await ask(http, id)
            return found

    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=PATIENCE)) as http:
        found = await asyncio.gather(*(insist(http, id) for id in ids))
    return dict(zip(ids, found, strict=True))


async def _truths(rig: Rig, assets: Sequence[Asset]) -> dict[str, Truth]:
    """What the origin has under each URL."""
    urls = sorted({asset.url for asset in assets})
    slots = asyncio.Semaphore(AT_ONCE)

    async def ask(http: aiohttp.ClientSession, url: str) -> Truth:
        async with slots, http.get(_place(rig.stack.simulator.url, url)) as answer:
            return _truth(answer.status, await answer.read())

    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=PATIENCE)) as http:
        found = await asyncio.gather(*(ask(http, url) for url in urls))
    return dict(zip(urls, found, strict=True))


def _truth(status: int, body: bytes) -> Truth:
    if status != 200:
        return Truth(False, None)
    try:
        picture = examined(body)
    except NotStored:
        return Truth(False, None)
    if not isinstance(picture, Picture):
        return Truth(True, None)
    return Truth(True, hashlib.sha256(picture.data).hexdigest())
