"""The parser of this checkout beside the deployed one: what comes is compared, nothing is written, and no payload ends it."""

import asyncio
import resource
import time
from datetime import datetime
from typing import Any

import pytest

from beat_actors.errors import BadInput, NotFound, StorageUnavailable
from beat_actors.parsers import shadow
from beat_actors.parsers.diff import Difference
from beat_actors.parsers.shadow import Shadow, follow
from beat_actors.platforms.interface import Parsed
from tests.integration.parsers.conftest import Deploy, Stored, each
from tests.integration.parsers.test_diff import LIST, TIKTOK, changed, keep_posts

EARLIER = 2 * 3600.0


async def begun(stored: Stored, monkeypatch: pytest.MonkeyPatch, most: int = 1_000) -> Shadow:
    """It has looked once, before the answers that are kept from now on came."""
    beside = Shadow(stored.database, *TIKTOK, most=most)
    monkeypatch.setattr(shadow, "SETTLED", EARLIER)
    await beside.look()
    monkeypatch.setattr(shadow, "SETTLED", 0.0)
    return beside


async def followed(beside: Shadow, looks: int = 1) -> Difference:
    """What it says after so many looks."""

    async def sleep(_seconds: float) -> None:
        if left:
            left.pop()
        else:
            raise asyncio.CancelledError

    left = [None] * looks
    return await follow(beside, seconds=3600, every=60, threshold=0.005, told=lambda _: None, sleep=sleep)


async def test_what_comes_is_compared_once_and_what_came_before_is_not(
    stored: Stored, deploy: Deploy, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = stored.at
    stored.at = at.fromtimestamp(at.timestamp() - 2 * EARLIER, at.tzinfo)
    await keep_posts(stored, 3)
    stored.at = at
    beside = await begun(stored, monkeypatch)
    fetches = await keep_posts(stored, 4)
    deploy(*TIKTOK, each(lambda post: changed(post, likes=post.likes * 1000)))
    beside = await begun(stored, monkeypatch)
    sizes = stored.sizes()
    for _ in range(2):
        await beside.look()
        assert (beside.payloads, beside.trouble) == (4, None)
    found = beside.result(0.005)
    assert (found.records, found.changed, found.lost, found.share_beyond) == (48, 48, 0, 1.0)
    assert [(one.field, one.changed, one.largest) for one in found.fields] == [("posts.likes", 48, 999.0)]
    assert [(by.version, by.payloads) for by in found.stored_by] == [(found.version - 1, 4)]
    assert found.exceeded
    assert stored.sizes() == sizes
    assert len(fetches) == 4


async def test_a_look_compares_the_newest_of_what_came(stored: Stored, monkeypatch: pytest.MonkeyPatch) -> None:
    beside = await begun(stored, monkeypatch, most=2)
    fetches = await keep_posts(stored, 4)
    await stored.keep("api23", "profile_by_handle", b"{}", stage="FAILED")
    await stored.keep(*TIKTOK, LIST.body(), LIST.params, stage="RETRIEVED")
    read: list[int] = []
    compare = beside._compare

    def noted(fetch: Any, stored_: Any, packed: bytes) -> None:
        read.append(fetch.id)
        compare(fetch, stored_, packed)

    monkeypatch.setattr(beside, "_compare", noted)
    await beside.look()
    assert sorted(read) == fetches[-2:]
    assert beside.result(0).equal == 24


async def test_a_payload_on_which_the_parser_hangs_or_swells_is_counted_and_the_next_one_is_read(
    stored: Stored, deploy: Deploy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shadow, "PATIENCE", 0.5)
    beside = await begun(stored, monkeypatch)
    fetches = await keep_posts(stored, 5)
    calls = 0

    def hurts(parsed: Parsed) -> Parsed:
        nonlocal calls
        calls += 1
        if calls == 2:
            try:
                while True:
                    time.sleep(0.01)
            except Exception:  # as parsers do
                return parsed
        if calls == 4:
            bytearray(1 << 40)
        return parsed

    deploy(*TIKTOK, hurts)
    beside._endpoint = shadow.Shadow(stored.database, *TIKTOK, most=1)._endpoint
    limits = resource.getrlimit(resource.RLIMIT_AS)
    found = await followed(beside)
    assert (found.payloads, found.unreadable, found.equal, found.lost) == (5, 2, 36, 24)
    # The newest is read first.
    assert {(one.reason, one.fetch) for one in found.reasons} == {
        ("it took more than 0.5 seconds", fetches[3]),
        ("it took more memory than a worker has for one payload", fetches[1]),
    }
    assert resource.getrlimit(resource.RLIMIT_AS) == limits


async def test_what_came_while_postgresql_did_not_answer_is_compared_afterwards(
    stored: Stored, monkeypatch: pytest.MonkeyPatch
) -> None:
    beside = await begun(stored, monkeypatch)
    await keep_posts(stored, 2)
    with stored.admin.transaction():
        stored.admin.execute("LOCK TABLE raw_payload IN ACCESS EXCLUSIVE MODE")
        await beside.look()
    assert isinstance(beside.trouble, StorageUnavailable)
    assert beside.payloads == 0
    await beside.look()
    assert (beside.trouble, beside.payloads) == (None, 2)


async def test_it_ends_after_its_time_and_says_so_where_nothing_came(stored: Stored) -> None:
    looked: list[datetime] = []
    beside = Shadow(stored.database, *TIKTOK, most=10)

    def told(_: Shadow) -> None:
        looked.append(stored.at)

    with pytest.raises(NotFound, match="nothing was compared"):
        await follow(beside, seconds=1, every=1, threshold=0, told=told)
    assert looked


async def test_who_stops_it_sees_what_was_found_or_that_it_was_stopped(
    stored: Stored, monkeypatch: pytest.MonkeyPatch
) -> None:
    beside = await begun(stored, monkeypatch)
    with pytest.raises(asyncio.CancelledError):
        await followed(beside, looks=0)
    beside = await begun(stored, monkeypatch)
    await keep_posts(stored, 2)
    found = await followed(beside, looks=3)
    assert (found.payloads, found.equal, found.exceeded) == (2, 24, False)


@pytest.mark.parametrize(
    ("wrong", "field"),
    [({"seconds": 0}, "minutes"), ({"seconds": 1e9}, "minutes"), ({"every": 0}, "every"), ({"threshold": 2}, "threshold")],
)  # fmt: skip
async def test_what_makes_no_sense_is_refused(stored: Stored, wrong: dict[str, float], field: str) -> None:
    with pytest.raises(BadInput) as refused:
        Shadow(stored.database, *TIKTOK, most=0)
    assert refused.value.field == "most"
    given: dict[str, Any] = {"seconds": 60, "every": 60, "threshold": 0} | wrong
    with pytest.raises(BadInput) as refused:
        await follow(Shadow(stored.database, *TIKTOK, most=1), told=lambda _: None, **given)
    assert refused.value.field == field
