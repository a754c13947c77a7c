"""The parser of this checkout against stored payloads: what it would read differently, and that looking changes nothing."""

from datetime import timedelta
from typing import Any

import msgspec
import pytest

from beat_actors.errors import BadInput, Malformed, Missing, NotFound, ObjectsUnavailable, UnknownName
from beat_actors.parsers.versions import versions
from beat_actors.payloads.archive import Archiver
from beat_actors.platforms.interface import FetchSpec, Parsed
from beat_actors.platforms.registry import source_named
from beat_actors.settings import Settings
from beat_actors.transport.objects import ObjectStore
from tests.conformance.recordings import Recording, of_platforms
from tests.integration.parsers.conftest import Deploy, Stored, each

GOOD: list[Recording] = [recording for _, table in of_platforms() for recording in table.GOOD]
OPERATIONS = sorted({(recording.source, recording.operation) for recording in GOOD})
LIST = next(recording for recording in GOOD if recording.path.endswith("web/list.json"))
TIKTOK = ("api23", "posts_by_id")
changed = msgspec.structs.replace


async def keep_posts(stored: Stored, times: int = 5) -> list[int]:
    """Answers with twelve posts each."""
    return [await stored.keep(*TIKTOK, LIST.body(), LIST.params) for _ in range(times)]


@pytest.mark.slow
async def test_the_unchanged_parser_reads_all_recordings_as_they_were_stored(stored: Stored) -> None:
    for recording in GOOD:
        await stored.keep(recording.source, recording.operation, recording.body(), recording.params)
    for source, operation in OPERATIONS:
        wanted = sum((one.source, one.operation) == (source, operation) for one in GOOD)
        found = await stored.diff(source, operation, threshold=0)
        assert (found.payloads, found.unreadable, found.unavailable) == (wanted, 0, 0), (source, operation)
        assert (found.changed, found.lost, found.gained, found.fields) == (0, 0, 0, []), (source, operation, found)
        assert found.equal + found.not_logged == sum(
            one.records for one in GOOD if (one.source, one.operation) == (source, operation)
        ), (source, operation)
        assert not found.exceeded


async def test_a_number_times_1000_is_found_with_its_share_and_three_examples(stored: Stored, deploy: Deploy) -> None:
    await keep_posts(stored)
    deploy(*TIKTOK, each(lambda post: changed(post, likes=post.likes * 1000)))
    found = await stored.diff(*TIKTOK)
    assert (found.payloads, found.records, found.changed, found.equal) == (5, 60, 60, 0)
    assert (found.lost, found.gained, found.beyond, found.share_beyond) == (0, 0, 60, 1.0)
    (likes,) = found.fields
    assert (likes.field, likes.metric, likes.changed, likes.records, likes.share) == ("posts.likes", True, 60, 60, 1.0)
    assert likes.largest == 999.0
    assert len(likes.examples) == 3
    assert all(one.after == one.before * 1000 for one in likes.examples)  # type: ignore[operator]
    assert found.exceeded
    assert [(by.version, by.payloads) for by in found.stored_by] == [(found.version - 1, 5)]


async def test_a_record_that_is_no_longer_read_is_lost_and_a_new_one_is_gained(stored: Stored, deploy: Deploy) -> None:
    await keep_posts(stored)
    posts: list[Any] = []

    def without_one(post: Any) -> Any:
        posts.append(post.post_id)
        return None if post.post_id == posts[0] else post

    deploy(*TIKTOK, each(without_one))
    found = await stored.diff(*TIKTOK, threshold=1)
    assert (found.lost, found.gained, found.equal, found.fields) == (5, 0, 55, [])
    assert found.lost_examples == [f"post_log {posts[0]}"] * 3
    assert found.exceeded  # whatever the threshold

    deploy(*TIKTOK, each(lambda post: changed(post, post_id=f"1{post.post_id}") if post.post_id == posts[1] else post))
    found = await stored.diff(*TIKTOK, threshold=1)
    assert (found.lost, found.gained) == (10, 5)
    assert found.gained_examples == [f"posts 1{posts[1]}"] * 3


async def test_fields_that_are_added_and_removed_are_told_apart_from_changed_ones(
    stored: Stored, deploy: Deploy
) -> None:
    await keep_posts(stored, 2)
    deploy(*TIKTOK, each(lambda post: changed(post, views=None, caption="x", saves=7, music_title=None)))
    found = await stored.diff(*TIKTOK)
    fields = {one.field: (one.metric, one.changed, one.added, one.removed, one.beyond) for one in found.fields}
    assert fields["posts.views"] == (True, 0, 0, 24, 24)  # a number that is no longer read counts
    assert fields["posts.saves"][:2] == (True, 0)
    assert fields["posts.saves"][2] == 24
    assert fields["posts.saves"][4] == 0  # one that is read in addition does not
    assert fields["posts.caption"] == (False, 24, 0, 0, 0)  # a text does not count against the threshold
    assert fields["posts.music_title"][3] > 0
    assert found.beyond == 24


async def test_a_change_by_at_most_one_percent_and_a_share_within_the_threshold_pass(
    stored: Stored, deploy: Deploy
) -> None:
    await keep_posts(stored, 1)
    ids = [record.post_id for record in read_posts()]
    deploy(*TIKTOK, each(lambda post: changed(post, likes=post.likes * 101 // 100)))
    found = await stored.diff(*TIKTOK, threshold=0)
    assert found.changed > 0
    assert (found.beyond, found.exceeded) == (0, False)
    deploy(*TIKTOK, each(lambda post: changed(post, likes=post.likes * 2) if post.post_id == ids[0] else post))
    assert not (await stored.diff(*TIKTOK, threshold=0.09)).exceeded
    assert (await stored.diff(*TIKTOK, threshold=0.08)).exceeded


def read_posts() -> list[Any]:

    endpoint = source_named("api23")[1].endpoints["posts_by_id"]
    return list(endpoint.parse(LIST.body(), FetchSpec("posts_by_id", LIST.params)).records)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (Malformed("likes is a text", path="$.itemList[3].stats"), "likes is a text - at `$.itemList[].stats`"),
        (Missing("there is no such profile"), "Missing: there is no such profile"),
        (ZeroDivisionError("division by zero"), "ZeroDivisionError: division by zero"),
        (RecursionError("too deep"), "RecursionError: too deep"),
    ],
    ids=lambda value: type(value).__name__,
)
async def test_a_payload_that_can_no_longer_be_read_is_counted_with_its_error_and_its_records_are_lost(
    stored: Stored, deploy: Deploy, error: Exception, reason: str
) -> None:
    fetches = await keep_posts(stored, 3)

    def fail(_parsed: Parsed) -> Parsed:
        raise error

    deploy(*TIKTOK, fail)
    found = await stored.diff(*TIKTOK)
    assert (found.payloads, found.unreadable, found.lost) == (3, 3, 36)
    assert [(one.reason, one.count, one.fetch) for one in found.reasons] == [(reason, 3, fetches[-1])]
    assert found.exceeded


async def test_payloads_of_failed_fetches_show_what_a_fixed_parser_gains(stored: Stored) -> None:
    await keep_posts(stored, 1)
    await stored.keep(*TIKTOK, LIST.body(), LIST.params, stage="FAILED")
    await stored.keep(*TIKTOK, b"{", stage="FAILED")
    await stored.keep(*TIKTOK, LIST.body(), LIST.params, stage="RETRIEVED")  # still to be read by a worker
    found = await stored.diff(*TIKTOK)
    assert (found.payloads, found.failed_before, found.readable_now, found.unreadable) == (3, 2, 1, 0)
    assert (found.equal, found.gained, found.lost, found.exceeded) == (12, 12, 0, False)
    assert found.reasons == []


async def test_a_damaged_payload_harms_only_itself(stored: Stored) -> None:
    fetches = await keep_posts(stored, 2)
    stored.admin.execute("UPDATE raw_payload SET body = 'damaged' WHERE fetch_id = %s", (fetches[0],))
    found = await stored.diff(*TIKTOK)
    assert (found.payloads, found.unreadable, found.equal, found.lost) == (2, 1, 12, 12)
    assert "not a zstd frame" in found.reasons[0].reason


async def test_only_the_last_payloads_are_read_and_pages_change_nothing(
    stored: Stored, deploy: Deploy, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetches = await keep_posts(stored, 7)
    await stored.keep("api23", "post_by_id", b"{}", stage="FAILED")  # another operation in between
    seen: list[int] = []
    deploy(*TIKTOK, lambda parsed: seen.append(1) or parsed)  # type: ignore[func-returns-value]
    whole = await stored.diff(*TIKTOK)
    assert (whole.payloads, len(seen)) == (7, 7)
    monkeypatch.setattr("beat_actors.parsers.diff.CHUNK", 2)
    monkeypatch.setattr("beat_actors.parsers.diff.WINDOW", 3)
    monkeypatch.setattr("beat_actors.parsers.diff.TOGETHER", 1)
    assert await stored.diff(*TIKTOK) == whole
    some = await stored.diff(*TIKTOK, last=3)
    assert (some.payloads, some.equal) == (3, 36)
    assert some.until == whole.until
    stored.admin.execute("DELETE FROM raw_payload WHERE fetch_id = %s", (fetches[-1],))  # erased
    assert (await stored.diff(*TIKTOK, last=3)).payloads == 3


async def test_nothing_is_written(stored: Stored, deploy: Deploy) -> None:
    await keep_posts(stored, 2)
    before = stored.sizes()
    deploy(*TIKTOK, each(lambda post: changed(post, likes=0)))
    assert (await stored.diff(*TIKTOK)).exceeded
    await versions(stored.database)
    assert stored.sizes() == before


async def test_the_list_has_versions_of_this_checkout_and_of_what_was_stored(stored: Stored, deploy: Deploy) -> None:
    await keep_posts(stored, 2)
    deploy(*TIKTOK, lambda parsed: parsed)
    await keep_posts(stored, 1)
    stored.admin.execute("UPDATE scrape_fetch SET parser_version = 9 WHERE id = (SELECT min(id) FROM scrape_fetch)")
    found = {(one.source, one.operation): one for one in await versions(stored.database)}
    posts = found[TIKTOK]
    assert posts.version == 2
    assert [(seen.version, seen.answers) for seen in posts.stored] == [(9, 1), (2, 1), (1, 1)]
    assert found["lama", "profile_by_handle"].stored == []
    stored.admin.execute("UPDATE scrape_fetch SET operation = 'gone'")
    found = {(one.source, one.operation): one for one in await versions(stored.database)}
    assert found["api23", "gone"].version is None


@pytest.mark.slow
async def test_payloads_in_the_bucket_are_read_and_those_that_it_lost_are_counted(
    with_bucket: Settings, stored: Stored, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored.at -= timedelta(days=3)
    fetches = await keep_posts(stored, 3)
    stored.admin.execute("SELECT beat_make_partition('raw_payload', %s)", (stored.at.date(),))
    monkeypatch.setattr(stored.database, "settings", with_bucket)
    assert (await Archiver(payloads=1).run(stored.database)).count > 0
    stored.at += timedelta(days=3)
    await keep_posts(stored, 1)
    found = await stored.diff(*TIKTOK)
    assert (found.payloads, found.unavailable, found.equal, found.changed) == (4, 0, 48, 0)

    store = ObjectStore.of(with_bucket)
    assert store is not None
    (key,) = stored.admin.execute(
        "SELECT key FROM payload_object o JOIN archived_payload a ON a.object_id = o.id WHERE fetch_id = %s",
        (fetches[0],),
    ).fetchone() or ("",)
    await store.delete([key])
    found = await stored.diff(*TIKTOK)
    assert (found.payloads, found.unavailable, found.equal, found.lost, found.exceeded) == (3, 1, 36, 0, False)
    assert [(one.count, one.fetch) for one in found.reasons] == [(1, fetches[0])]

    without = with_bucket.model_copy(update={"s3_bucket": None})
    monkeypatch.setattr(stored.database, "settings", without)
    found = await stored.diff(*TIKTOK)
    assert (found.payloads, found.unavailable, found.equal) == (1, 3, 12)
    assert "BEAT_S3_BUCKET is not set" in found.reasons[0].reason
    stored.admin.execute("DELETE FROM raw_payload")
    with pytest.raises(ObjectsUnavailable, match="BEAT_S3_BUCKET is not set"):
        await stored.diff(*TIKTOK)


async def test_what_does_not_exist_is_refused(stored: Stored) -> None:
    with pytest.raises(UnknownName, match="there is no source 'nobody'"):
        await stored.diff("nobody", "posts_by_id")
    with pytest.raises(BadInput, match="api23 has no operation 'x'; it has: comments_by_post"):
        await stored.diff("api23", "x")
    for wrong in ({"last": 0}, {"last": 1_000_001}, {"threshold": -0.1}, {"threshold": 1.5}):
        with pytest.raises(BadInput):
            await stored.diff(*TIKTOK, **wrong)
    with pytest.raises(NotFound, match="nothing was compared"):
        await stored.diff(*TIKTOK)
