"""Uploads from end to end: rows, an origin, and a bucket that compares what it is sent with signatures and checksums."""

import contextlib
import hashlib

import pytest

from beat_actors.assets.serving.places import key_of
from beat_actors.database import Database
from beat_actors.settings import Settings
from tests.integration.assets.origins import Pictures, picture
from tests.integration.assets.rows import all_of, asset, eventually, insert, run
from tests.integration.assets.world import check_all, until, uploading
from tests.pictures import drawn, encoded
from tests.strict_s3 import StrictS3
from tests.strict_s3.objects import Stored
from tests.videos import video


def stored(bucket: StrictS3) -> dict[str, bytes]:
    return {key: one.body for key, one in bucket.objects.stored.items()}


async def test_s7_3_a_picture_is_stored_under_its_hash_and_the_row_is_complete(
    upload_settings: Settings, database: Database, database_url: str, bucket: StrictS3
) -> None:
    insert(database_url, [asset("a", url="https://cdn.example.com/p/1.jpg?oe=1")])
    async with uploading(upload_settings, database):
        await until(database_url, "status = 'COMPLETE'")
    content = hashlib.sha256(picture(1)).digest()
    assert stored(bucket) == {key_of(content): picture(1)}
    assert all_of(database_url, "content, stored_at IS NOT NULL, changed_at IS NOT NULL, attempts") == [
        (content, True, True, 0)
    ]
    assert run(database_url, "SELECT content, bytes, media_type, width, height, unused_since FROM asset_object") == [
        (content, len(picture(1)), "image/jpeg", 64, 48, None)
    ]


@pytest.mark.slow
@pytest.mark.parametrize("rows", [pytest.param(10_000, marks=pytest.mark.exhaustive), 1000])
async def test_s7_7_and_s7_8_rows_of_a_tenth_as_many_pictures_are_stored_once_each(
    upload_settings: Settings, database: Database, database_url: str, bucket: StrictS3, rows: int
) -> None:
    pictures = rows // 10
    insert(
        database_url,
        [asset(f"a{n}", n % 4, url=f"https://cdn{n % 3}.example.com/p/{n % pictures}.jpg?n={n}") for n in range(rows)],
    )
    async with uploading(upload_settings, database):
        await until(database_url, "status = 'COMPLETE'", 300.0)
    assert bucket.objects.counts.puts == pictures
    assert {key_of(hashlib.sha256(picture(n)).digest()) for n in range(pictures)} == stored(bucket).keys()
    requests, puts = run(database_url, "SELECT sum(requests)::int, sum(puts)::int FROM asset_usage")[0]
    assert (requests, puts) == (rows, pictures)


@pytest.mark.slow
async def test_s7_10_avatars_are_fetched_before_all_others(
    upload_settings: Settings, database: Database, database_url: str, origin: Pictures
) -> None:
    rows = [
        asset(f"a{n}", (n + 1) % 4, url=f"https://cdn.example.com/p/{n}.jpg", deadline=3600.0 + n) for n in range(400)
    ]
    insert(database_url, rows)
    async with uploading(upload_settings, database, slots=16):
        await until(database_url, "status = 'COMPLETE'")
    order = [int(path.rpartition("/")[2].partition(".")[0]) for path in origin.asked]
    # Uploads that were claimed together reach the origin in about their order.
    assert {(n + 1) % 4 for n in order[:90]} == {0}
    assert len(order) == 400


@pytest.mark.slow
async def test_s7_7_a_bucket_that_is_down_fails_nothing_and_stops_claims(
    upload_settings: Settings, database: Database, database_url: str, bucket: StrictS3, origin: Pictures
) -> None:
    insert(database_url, [asset(f"a{n}", url=f"https://cdn.example.com/p/{n}.jpg") for n in range(300)])
    bucket.faults.order(full=1.0)
    async with uploading(upload_settings, database, slots=32) as uploader:
        await eventually(lambda: uploader.storing.breaker.is_open and bucket.objects.counts.puts >= 4)
        # The probes alone reach the origin now.
        await eventually(lambda: uploader.in_flight <= 1)
        asked, puts = origin.asked.total(), bucket.objects.counts.puts
        assert asked <= 32 + 8
        assert run(database_url, "SELECT count(*) FROM asset_log WHERE status NOT IN ('PENDING', 'PROCESSING')") == [
            (0,)
        ]
        assert run(database_url, "SELECT max(attempts) <= 1 FROM asset_log") == [(True,)]
        bucket.faults.order()
        await until(database_url, "status = 'COMPLETE'")
        assert bucket.objects.counts.puts >= puts + 299
    assert len(bucket.objects.stored) == 300


async def test_an_object_that_is_damaged_is_stored_anew(
    upload_settings: Settings, database: Database, database_url: str, bucket: StrictS3
) -> None:
    insert(database_url, [asset(f"a{n}", url=f"https://cdn.example.com/p/{n}.jpg") for n in range(3)])
    keys = [key_of(hashlib.sha256(picture(n)).digest()) for n in range(3)]
    bucket.objects.stored[keys[0]] = Stored(b"", "0" * 32, {}, 0.0)
    bucket.objects.stored[keys[2]] = Stored(bytes(len(picture(2))), "0" * 32, {}, 0.0)
    bucket.objects.stored[keys[1]] = Stored(picture(1), "0" * 32, {}, 0.0)
    async with uploading(upload_settings, database):
        await until(database_url, "status = 'COMPLETE'")
    check_all(database_url, bucket)
    # The whole one has no row yet, so it is found a second time.
    counts = bucket.objects.counts
    assert (counts.existed, counts.stored, counts.puts) == (4, 2, 6)


@pytest.mark.parametrize("fault", ["slow_down", "reset", "lost", "conflict"])
async def test_s7_7_half_of_the_requests_fail_and_every_picture_is_stored_once(
    upload_settings: Settings, database: Database, database_url: str, bucket: StrictS3, fault: str
) -> None:
    insert(database_url, [asset(f"a{n}", url=f"https://cdn.example.com/p/{n}.jpg") for n in range(60)])
    bucket.faults.order(**{fault: 0.5})
    async with uploading(upload_settings, database, slots=32):
        await eventually(lambda: bucket.objects.counts.faults >= 10)
        bucket.faults.order()

        def complete() -> bool:
            run(database_url, "UPDATE asset_log SET not_before = now() WHERE status = 'WAITING'")
            return run(database_url, "SELECT count(*) FROM asset_log WHERE status <> 'COMPLETE'") == [(0,)]

        await eventually(complete)
    check_all(database_url, bucket)


async def test_s7_3_what_origins_say_decides(
    upload_settings: Settings, database: Database, database_url: str, origin: Pictures
) -> None:
    says = {
        "/over.jpg": (403, b"URL signature expired"),
        "/gone.jpg": (404, b""),
        "/busy.jpg": (503, b""),
        "/page.jpg": (200, b"<!DOCTYPE html><html></html>"),
        "/empty.jpg": (200, b""),
        "/cut.jpg": (200, picture(1)[:-40]),
        "/vi/abc/hqdefault.jpg": (200, encoded(drawn(120, 90), "JPEG")),
    }
    origin.says = lambda path: next((said for name, said in says.items() if name in path), None)
    insert(database_url, [asset(name, url=f"https://i.ytimg.com{name}") for name in says])
    run(database_url, "UPDATE asset_log SET content = 'last' WHERE entity_key = '/over.jpg'")
    async with uploading(upload_settings, database):
        await until(database_url, "status NOT IN ('PENDING', 'PROCESSING')")
    found = {
        row[0]: row[1:]
        for row in all_of(database_url, "entity_key, status, split_part(failure, ':', 1), not_before > now(), content")
    }
    assert found == {
        "/over.jpg": ("REFETCH", "expired", None, b"last"),
        "/gone.jpg": ("WAITING", "gone", True, None),
        "/busy.jpg": ("WAITING", "busy", True, None),
        "/page.jpg": ("FAILED", "html", None, None),
        "/empty.jpg": ("WAITING", "empty", True, None),
        "/cut.jpg": ("WAITING", "truncated", True, None),
        "/vi/abc/hqdefault.jpg": ("FAILED", "placeholder", None, None),
    }


async def test_s7_6_a_flow_is_paused_and_resumed_while_uploads_run(
    upload_settings: Settings, database: Database, database_url: str, origin: Pictures
) -> None:
    insert(database_url, [asset(f"a{n}", url=f"https://cdn.example.com/p/{n % 50}.jpg") for n in range(200)])
    run(
        database_url,
        "INSERT INTO flow_setting (platform, flow, workers, concurrency) VALUES ('assets', 'asset_upload_flow', 2, 5)",
    )
    origin.holds.clear()
    async with uploading(upload_settings, database, slots=100) as uploader:
        await eventually(lambda: origin.under_way == 10)
        assert uploader.in_flight == 10
        run(database_url, "UPDATE flow_setting SET concurrency = 20")
        await eventually(lambda: origin.under_way == 40)
        assert uploader.in_flight == 40
        # More than this process has slots for.
        run(database_url, "UPDATE flow_setting SET workers = 100, concurrency = 200")
        await eventually(lambda: origin.under_way == 100)
        assert uploader.in_flight == 100
        connections = "SELECT count(*)::int FROM pg_stat_activity WHERE application_name = 'beat test' AND datname = current_database()"
        assert run(database_url, connections)[0][0] <= 10
        run(database_url, "UPDATE flow_setting SET paused = true")
        origin.holds.set()
        await until(database_url, "status <> 'PROCESSING'")
        assert run(database_url, "SELECT count(*) FROM asset_log WHERE status = 'COMPLETE'") == [(100,)]
        run(database_url, "UPDATE flow_setting SET paused = false")
        uploader.wake()
        await until(database_url, "status = 'COMPLETE'")
    assert origin.most == 100


async def test_s7_8_a_host_that_answers_nobody_harms_its_own_pictures_alone(
    upload_settings: Settings, database: Database, database_url: str, origin: Pictures
) -> None:
    insert(
        database_url,
        [
            asset(f"a{n}", url=f"https://{'well' if n % 2 else 'busy'}.example.com/p/{n}.jpg", deadline=7200 + n)
            for n in range(100)
        ],
    )
    origin.says = lambda path: (503, b"") if "busy" in path else None
    async with uploading(upload_settings, database, slots=16):
        await until(database_url, "status = CASE WHEN url LIKE '%well%' THEN 'COMPLETE' ELSE 'WAITING' END")


async def test_a_slow_host_holds_twice_its_slots_and_not_all(
    upload_settings: Settings, database: Database, database_url: str, origin: Pictures
) -> None:
    narrow = upload_settings.model_copy(update={"asset_max_per_host": 2})
    rows = [asset(f"a{n}", url=f"https://slow.example.com/p/{n}.jpg", deadline=7200 + n) for n in range(200)]
    insert(database_url, rows + [asset(f"b{n}", 3, url=f"https://well{n}.example.com/p/{n}.jpg") for n in range(20)])
    origin.held = lambda path: "slow" in path
    origin.holds.clear()
    async with uploading(narrow, database, slots=16):
        await until(database_url, "url LIKE '%slow%' OR status = 'COMPLETE'")
        given_back = "SELECT count(*) > 0 FROM asset_log WHERE status = 'WAITING' AND attempts = 0 AND failure LIKE 'host busy: %'"
        assert run(database_url, given_back) == [(True,)]
        assert origin.most <= 2 + 16
        origin.holds.set()


async def test_a_host_that_blocks_this_process_sends_its_pictures_not_to_their_parents(
    upload_settings: Settings, database: Database, database_url: str, origin: Pictures
) -> None:
    insert(database_url, [asset(f"a{n}", url=f"https://cdn.example.com/p/{n}.jpg") for n in range(300)])
    origin.says = lambda _path: (403, b"")
    async with uploading(upload_settings, database, slots=16):
        await until(database_url, "status IN ('WAITING', 'REFETCH')")
    by_state = dict(run(database_url, "SELECT status, count(*)::int FROM asset_log GROUP BY 1"))
    assert by_state["REFETCH"] < 20
    assert origin.asked.total() < 40


async def test_what_is_in_flight_at_a_stop_is_finished_or_given_back(
    upload_settings: Settings, database: Database, database_url: str, origin: Pictures
) -> None:
    insert(database_url, [asset(f"a{n}", url=f"https://cdn.example.com/p/{n}.jpg") for n in range(20)])
    origin.holds.clear()
    async with uploading(upload_settings, database, slots=8) as uploader:
        await eventually(lambda: origin.under_way == 8)
        await uploader.close(0.1)
        assert set(all_of(database_url, "status, attempts, lease_until")) == {("PENDING", 0, None)}
        assert uploader.in_flight == 0


async def test_s7_7_processes_that_race_on_one_picture_store_one_object(
    upload_settings: Settings, database: Database, database_url: str, bucket: StrictS3
) -> None:
    insert(database_url, [asset(f"a{n}", url=f"https://cdn{n}.example.com/p/1.jpg") for n in range(50)])
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(5):
            own = Database(upload_settings, name="test")
            stack.push_async_callback(own.close)
            await stack.enter_async_context(uploading(upload_settings, own, slots=10))
        await until(database_url, "status = 'COMPLETE'")
    assert bucket.objects.counts.stored == len(bucket.objects.stored) == 1
    check_all(database_url, bucket)


async def test_s7_3_videos_are_stored_from_files_also_where_their_names_do_not_tell(
    upload_settings: Settings, database: Database, database_url: str, bucket: StrictS3, origin: Pictures
) -> None:
    film = video()
    origin.says = lambda path: (200, film) if "film" in path else None
    insert(
        database_url,
        [
            asset("named", 2, url="https://cdn.example.com/film.mp4?oe=1"),
            asset("other", 2, url="https://cdn.example.com/film/1"),
        ],
    )
    async with uploading(upload_settings, database):
        await until(database_url, "status = 'COMPLETE'")
    ((key, body),) = stored(bucket).items()
    assert key == key_of(hashlib.sha256(body).digest())
    assert run(database_url, "SELECT media_type, bytes FROM asset_object") == [("video/mp4", len(body))]
    assert origin.asked.total() == 3


@pytest.mark.exhaustive
async def test_s7_7_a_bucket_that_hangs_holds_no_upload_for_long_and_loses_none(
    upload_settings: Settings, database: Database, database_url: str, bucket: StrictS3
) -> None:
    insert(database_url, [asset(f"a{n}", url=f"https://cdn.example.com/p/{n}.jpg") for n in range(40)])
    bucket.faults.next(*["hang"] * 8)
    async with uploading(upload_settings, database, slots=16):
        await until(database_url, "status = 'COMPLETE'", 120.0)
    check_all(database_url, bucket)


@pytest.mark.exhaustive
async def test_s7_7_a_bucket_that_slows_down_gets_at_most_half_a_request_more_for_each_object(
    upload_settings: Settings, database: Database, database_url: str, bucket: StrictS3
) -> None:
    insert(database_url, [asset(f"a{n}", url=f"https://cdn.example.com/p/{n}.jpg") for n in range(600)])
    bucket.faults.order(rate=60)

    def complete() -> bool:
        run(database_url, "UPDATE asset_log SET not_before = now() WHERE status = 'WAITING'")
        return run(database_url, "SELECT count(*) FROM asset_log WHERE status <> 'COMPLETE'") == [(0,)]

    async with uploading(upload_settings, database, slots=200):
        await eventually(complete, 120)
    assert bucket.objects.counts.puts <= 1.5 * 600


async def test_s7_8_a_limit_of_the_day_stops_the_less_urgent_classes_first(
    upload_settings: Settings, database_url: str
) -> None:
    capped = upload_settings.model_copy(update={"asset_daily_requests": 100})
    run(
        database_url,
        "INSERT INTO asset_usage (day, account_id, class, requests) VALUES ((now() AT TIME ZONE 'UTC')::date, '', 0, 85)",
    )
    insert(database_url, [asset(f"a{n}", n, url=f"https://cdn.example.com/p/{n}.jpg") for n in range(4)])
    own = Database(capped, name="test")
    async with uploading(capped, own):
        await until(database_url, "status = CASE WHEN class = 3 THEN 'PENDING' ELSE 'COMPLETE' END")
    await own.close()
