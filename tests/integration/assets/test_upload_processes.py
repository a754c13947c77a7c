"""Processes that upload, killed, stopped and short of descriptors."""

import asyncio
import os
import signal
from pathlib import Path

import psutil
import pytest

from actors.mailbox import Mailbox
from actors.parent import YIELDS
from beat_actors.database import Database
from beat_actors.failpoints import pairs
from beat_actors.failpoints.armed import SharedRegister
from beat_actors.process_alerts import processes_in_trouble
from beat_actors.settings import Settings
from tests.integration.assets.origins import Pictures
from tests.integration.assets.processes import allow_descriptors, environment, started
from tests.integration.assets.rows import asset, eventually, insert, run
from tests.integration.assets.world import check_all, until
from tests.strict_s3 import StrictS3

pytestmark = pytest.mark.slow


@pytest.mark.exhaustive
@pytest.mark.timeout(400)
async def test_s7_7_and_s7_8_killed_at_each_step_every_complete_picture_is_in_the_bucket(
    upload_settings: Settings, database_url: str, bucket: StrictS3, origin: Pictures, tmp_path: Path
) -> None:
    insert(database_url, [asset(f"a{n}", n % 4, url=f"https://cdn.example.com/p/{n}.jpg") for n in range(200)])
    armed = SharedRegister(tmp_path / "points")
    points = pairs("upload")
    armed.arm(*(f"{point}=kill@{nth}" for point in points for nth in ((1, 3) if "after_c" in point else (5, 60))))
    env = environment(upload_settings, bucket, BEAT_FAILPOINTS=f"@{tmp_path / 'points'}", BEAT_ASSET_UPLOADS="64")
    async with started(tmp_path / "log", env):

        def complete() -> bool:
            # The leases of the dead, and pauses: a test does not wait for them.
            late = "status = 'PROCESSING' AND lease_until < now() + interval '85 seconds'"
            run(database_url, f"UPDATE asset_log SET lease_until = now() WHERE {late}")
            run(database_url, "UPDATE asset_log SET not_before = now() WHERE status = 'WAITING'")
            return run(database_url, "SELECT count(*) FROM asset_log WHERE status <> 'COMPLETE'") == [(0,)]

        await eventually(complete, 200)
    fired = [hit for hit in armed.hits() if hit.fired]
    assert {hit.point for hit in fired} == set(points)
    check_all(database_url, bucket)
    assert len(bucket.objects.stored) == 200  # nothing was stored that no asset has: each is found again


async def test_s7_4_a_process_with_few_descriptors_has_fewer_uploads_and_says_so(
    upload_settings: Settings, database_url: str, bucket: StrictS3, origin: Pictures, tmp_path: Path
) -> None:
    insert(database_url, [asset(f"a{n}", url=f"https://cdn.example.com/p/{n}.jpg") for n in range(1500)])
    origin.holds.clear()
    env = environment(upload_settings, bucket, BEAT_ASSET_MAX_PER_HOST="5000")
    async with started(tmp_path / "log", env, descriptors=1024) as uploads:
        await uploads.until_said("uploads_lowered")
        assert "it has 576 uploads in flight and not 5000" in uploads.log.read_text()
        told = "SELECT troubles->>'descriptors' FROM process WHERE name = 'uploads'"
        await eventually(lambda: "ulimit -n" in str(run(database_url, told)))
        await eventually(lambda: origin.under_way == 576)
        assert run(database_url, "SELECT count(*) FROM asset_log WHERE status = 'PROCESSING'") == [(576,)]
        origin.holds.set()
        await until(database_url, "status = 'COMPLETE'")
        assert "Too many open files" not in uploads.log.read_text()


async def test_a_process_whose_key_the_bucket_refuses_says_so_until_it_stores_again(
    upload_settings: Settings, database_url: str, bucket: StrictS3, tmp_path: Path
) -> None:
    insert(database_url, [asset(f"a{n}", url=f"https://cdn.example.com/p/{n}.jpg") for n in range(30)])
    right, bucket.keys = bucket.keys, {"another": "key"}
    env = environment(upload_settings, bucket)
    right_env = {"AWS_ACCESS_KEY_ID": "strict", "AWS_SECRET_ACCESS_KEY": "strict-secret"}
    own = Database(upload_settings, name="test")
    async with started(tmp_path / "log", env | right_env):
        reported = "SELECT troubles->>'bucket' IS NOT NULL FROM process WHERE name = 'uploads'"
        await eventually(lambda: run(database_url, reported) == [(True,)])
        (alert,) = await processes_in_trouble(own)
        assert (alert.key, "beat-pictures" in alert.cause) == ("process:bucket", True)
        bucket.keys = right
        await until(database_url, "status = 'COMPLETE'")
        await eventually(lambda: run(database_url, reported) == [(False,)])
        assert await processes_in_trouble(own) == []
    await own.close()


async def test_s7_6_a_stopped_process_gives_back_what_it_has_not_finished(
    upload_settings: Settings, database_url: str, bucket: StrictS3, origin: Pictures, tmp_path: Path
) -> None:
    insert(database_url, [asset(f"a{n}", url=f"https://cdn.example.com/p/{n}.jpg") for n in range(30)])
    origin.holds.clear()
    async with started(tmp_path / "log", environment(upload_settings, bucket)) as uploads:
        await eventually(lambda: origin.under_way == 30)
        os.kill(uploads.process.pid, signal.SIGTERM)
        origin.holds.set()
        assert await asyncio.to_thread(uploads.process.wait, 60) == 0
    assert run(database_url, "SELECT status, count(*)::int FROM asset_log GROUP BY 1") == [("COMPLETE", 30)]


async def test_s7_6_a_message_wakes_a_process_that_sleeps(
    upload_settings: Settings, database_url: str, bucket: StrictS3, origin: Pictures, tmp_path: Path
) -> None:
    async with started(tmp_path / "log", environment(upload_settings, bucket)) as uploads:
        await uploads.until_said("worker_ready")
        mailbox = Mailbox(upload_settings)
        insert(database_url, [asset("a", url="https://cdn.example.com/p/1.jpg")])
        assert await mailbox.wake("assets")
        await until(database_url, "status = 'COMPLETE'")
        mailbox.close()
        # It lets other processes of its host have the CPU first.
        (worker,) = psutil.Process(uploads.process.pid).children()
        assert worker.nice() == min(os.nice(0) + YIELDS, 19)
    assert origin.asked.total() == 1


@pytest.mark.exhaustive
@pytest.mark.timeout(300)
async def test_s7_4_five_thousand_uploads_are_in_flight_within_bounds(
    upload_settings: Settings, database_url: str, bucket: StrictS3, origin: Pictures, tmp_path: Path
) -> None:
    """50 workers x 100: descriptors, connections to the database, and memory while all of them wait for their origins, and afterwards."""
    allow_descriptors(12_000)
    rows = [asset(f"a{n}", n % 4, url=f"https://cdn{n % 50}.example.com/p/{n % 3000}.jpg") for n in range(6000)]
    insert(database_url, rows)
    origin.holds.clear()
    async with started(
        tmp_path / "log", environment(upload_settings, bucket, BEAT_ASSET_MAX_PER_HOST="200"), descriptors=11_000
    ) as uploads:
        await uploads.until_said("worker_ready")
        (worker,) = psutil.Process(uploads.process.pid).children()
        await eventually(lambda: origin.under_way == 5000, 120)
        peaks = [worker.memory_info().rss]
        connections = "SELECT count(*)::int FROM pg_stat_activity WHERE application_name = 'beat uploads' AND datname = current_database()"
        assert run(database_url, "SELECT count(*)::int FROM asset_log WHERE status = 'PROCESSING'") == [(5000,)]
        assert worker.num_fds() <= 11_000
        assert run(database_url, connections)[0][0] <= 10
        origin.holds.set()

        def complete() -> bool:
            peaks.append(worker.memory_info().rss)
            return run(database_url, "SELECT count(*) FROM asset_log WHERE status <> 'COMPLETE'") == [(0,)]

        await eventually(complete, 200)
        assert run(database_url, connections)[0][0] <= 10
    print(f"at most {max(peaks) / 1e6:.0f} MB resident")
    assert max(peaks) <= 400e6
    check_all(database_url, bucket)
