"""What a reader of an asset gets: the next step, the width and type of a smaller picture, and rows that are kept for seconds."""

import asyncio
import hashlib
import uuid
from collections import Counter
from collections.abc import Collection

import pytest

from api.assets import wanted_of
from beat_actors.assets.serving.lookup import Lookup
from beat_actors.assets.serving.places import key_of
from beat_actors.assets.serving.shelf import Asset, Step, step
from beat_actors.errors import StorageTooSlow, StorageUnavailable

NEW = Asset(uuid.uuid4(), "toy", "", "PENDING", None, None, None, None, False, False, None, True)
OLD = NEW._replace(content=b"old")


@pytest.mark.parametrize(
    ("asset", "expected"),
    [
        (OLD._replace(status="COMPLETE", is_current=True), Step.SERVE),
        (OLD._replace(is_current=True), Step.SERVE),  # its URL is a fresher one of the same picture
        (NEW, Step.WANT),
        (OLD, Step.WANT),
        (NEW._replace(wanted=True), Step.WAIT),
        (NEW._replace(status="PROCESSING"), Step.WAIT),
        (NEW._replace(status="WAITING", later=-1.0), Step.WANT),
        (NEW._replace(status="WAITING", later=30.0), Step.NOTHING),
        (NEW._replace(status="EXPIRED"), Step.ASK),
        (NEW._replace(status="REFETCH"), Step.NOTHING),
        (NEW._replace(status="EXPIRED", may_refetch=False), Step.NOTHING),
        (NEW._replace(status="GONE"), Step.NOTHING),
        (OLD._replace(status="FAILED"), Step.NOTHING),
    ],
)
def test_s7_11_the_next_step_depends_on_the_state(asset: Asset, expected: Step) -> None:
    assert step(asset) is expected


def test_s7_7_keys_begin_with_the_hash_so_that_they_spread_over_the_partitions_of_a_bucket() -> None:
    keys = [key_of(hashlib.sha256(str(n).encode()).digest()) for n in range(10_000)]
    first = Counter(key[:2] for key in keys)
    assert len(first) == 256
    assert max(first.values()) <= 3 * len(keys) / 256
    assert len({key[:5] for key in keys}) > 9_000


PICTURE = OLD._replace(status="COMPLETE", is_current=True, media_type="image/jpeg", width=1500)


@pytest.mark.parametrize(
    ("asset", "asked", "accept", "wanted"),
    [
        (PICTURE, 300, None, (320, "image/jpeg")),
        (PICTURE, 300, "image/webp,*/*", (320, "image/webp")),
        (PICTURE, 300, "image/avif,image/webp,*/*;q=0.8", (320, "image/avif")),
        (PICTURE, 4000, None, None),
        (PICTURE._replace(width=320), 300, None, None),
        (PICTURE._replace(width=320), 300, "image/webp", None),
        (PICTURE._replace(width=321), 300, None, (320, "image/jpeg")),
        (PICTURE._replace(width=None), 300, None, (320, "image/jpeg")),
        # A type that the reader does not name is changed, also where the picture is small.
        (PICTURE._replace(media_type="image/webp", width=64), 300, None, (320, "image/jpeg")),
        (PICTURE._replace(media_type="image/webp", width=64), 300, "image/webp", None),
        (PICTURE._replace(media_type="image/gif"), 300, None, None),
        (PICTURE._replace(media_type="video/mp4"), 300, None, None),
        (NEW, 300, None, None),
    ],
)
def test_s7_11_a_smaller_picture_is_made_where_it_would_be_smaller(
    asset: Asset, asked: int, accept: str | None, wanted: tuple[int, str] | None
) -> None:
    found = wanted_of(asset, asked, accept)
    assert (None if found is None else (found.width, found.media_type)) == wanted


class Rows:
    def __init__(self) -> None:
        self.now = 100.0
        self.loads: list[list[int]] = []
        self.away = False
        self.known = {1: "one", 2: "two"}
        self.lookup: Lookup[int, str] = Lookup(self.load, fresh=10, kept=50, most=2, clock=lambda: self.now)

    async def load(self, keys: Collection[int]) -> dict[int, str]:
        self.loads.append(list(keys))
        await asyncio.sleep(0)
        if self.away:
            raise StorageUnavailable("away")
        return {key: self.known[key] for key in keys if key in self.known}


async def test_readers_that_come_together_share_a_statement_and_only_what_exists_is_kept() -> None:
    rows = Rows()
    found = await asyncio.gather(*(rows.lookup.find(key) for key in (1, 2, 3, 1)))
    assert found == ["one", "two", None, "one"]
    assert rows.loads == [[1, 2, 3]]
    assert await rows.lookup.find(1) == "one"
    assert rows.loads == [[1, 2, 3]]
    assert await rows.lookup.find(3) is None
    assert rows.loads == [[1, 2, 3], [3]]
    assert await rows.lookup.find(2, anew=True) == "two"
    assert rows.loads == [[1, 2, 3], [3], [2]]


async def test_what_was_deleted_is_gone_when_what_is_kept_is_no_longer_fresh() -> None:
    rows = Rows()
    assert await rows.lookup.find(1) == "one"
    del rows.known[1]
    assert await rows.lookup.find(1) == "one"
    rows.now += 10
    assert await rows.lookup.find(1) is None
    rows.away = True
    with pytest.raises(StorageUnavailable):
        await rows.lookup.find(1)


async def test_s7_11_while_the_database_is_away_what_is_known_is_used_for_less_than_a_minute() -> None:
    rows = Rows()
    await rows.lookup.find(1)
    rows.away = True
    rows.now += 49
    assert await rows.lookup.find(1) == "one"
    rows.now += 1
    with pytest.raises(StorageUnavailable):
        await rows.lookup.find(1)


async def test_the_rows_used_least_recently_are_dropped() -> None:
    rows = Rows()
    rows.known[3] = "three"
    for key in (1, 2, 1, 3):
        await rows.lookup.find(key)
    assert [rows.lookup.known(key) for key in (1, 2, 3)] == ["one", None, "three"]


async def test_a_database_that_hangs_keeps_no_reader() -> None:
    async def load(_keys: Collection[int]) -> dict[int, str]:
        await asyncio.Event().wait()
        return {}

    hanging: Lookup[int, str] = Lookup(load, fresh=10, kept=50)
    with pytest.raises(StorageTooSlow):
        await hanging.find(1, within=0.01)
