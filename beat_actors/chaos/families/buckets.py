"""F11: the bucket of pictures is down, frozen, slow or full, wants fewer requests, or says that it has stored what it has not."""

import asyncio
import os
import subprocess
import sys
import time

import msgspec

from beat_actors.chaos.bucket import BucketProxy
from beat_actors.chaos.pictures import OBJECTS, key_of
from beat_actors.chaos.scene import Scene
from beat_actors.chaos.surveying import over
from beat_actors.chaos.waiting import ChaosError, until

SLOWEST = 6.0
"""Seconds of a slow answer, at most."""
REFUSED = 0.5
"""The share of the PUTs that a bucket refuses that wants fewer."""
COMMAND = "from beat_actors.cli import main; raise SystemExit(main())"
YOUNG = 65.0
"""Seconds after which the check looks at a row: until then its object may be on its way."""
STORED_SINCE = "SELECT count(*) AS n FROM asset_log WHERE stored_at > to_timestamp(%s)"


async def s3_down(scene: Scene) -> None:
    """Kill S3, and keep it down for a while."""
    await scene.pause(0.2, 0.8)
    await asyncio.to_thread(scene.rig.hold, "s3")
    await _met(scene, "unanswered", scene.timing.outage)
    await asyncio.to_thread(scene.rig.release, "s3")
    scene.heal()
    await _recovered(scene)


async def s3_hung(scene: Scene) -> None:
    """Freeze S3: the kernel accepts its connections, and nothing answers."""
    await scene.pause(0.2, 0.8)
    with scene.rig.frozen("s3"):
        await _met(scene, "unanswered", scene.timing.outage)
    scene.heal()
    await _recovered(scene)


async def s3_slow(scene: Scene) -> None:
    """Every answer to a PUT takes seconds."""
    proxy = _proxy(scene)
    proxy.fail("slow", delay=SLOWEST)
    await _met(scene, "slow", scene.timing.outage)
    proxy.heal()
    scene.heal()


async def s3_full(scene: Scene) -> None:
    """S3 answers 507 to every PUT, and has room again later."""
    proxy = _proxy(scene)
    proxy.fail("full")
    await _met(scene, "full", scene.timing.outage)
    proxy.heal()
    scene.heal()
    await _recovered(scene)


async def s3_slow_down(scene: Scene) -> None:
    """S3 answers 503 SlowDown to every second PUT. Beat sends fewer, and not many more than there are objects."""
    proxy = _proxy(scene)
    proxy.fail("slow_down", rate=REFUSED)
    await _met(scene, "slow_down", scene.timing.outage)
    proxy.heal()
    scene.heal()


async def s3_lying(scene: Scene) -> None:
    """S3 says of half of the PUTs, with the right checksum, that it has stored the object, and has stored nothing. No PUT shows that. The check of
    rows and bucket finds each of these objects, and their pictures are uploaded again."""
    proxy = _proxy(scene)
    proxy.fail("unstored", rate=REFUSED)
    await _met(scene, "unstored", scene.timing.outage)
    proxy.heal()
    scene.heal()
    await over(scene)
    await asyncio.sleep(YOUNG)
    there = set(await asyncio.to_thread(scene.rig.bucket.keys))
    contents = await asyncio.to_thread(scene.rig.rows_of, OBJECTS)
    lacking = sum(key_of(content) not in there for content in contents)
    found = await asyncio.to_thread(_check, scene)
    scene.extra |= {"lies": len(proxy.lies), "found": found.missing}
    scene.complain(not lacking, "the bucket lied, and has every object")
    scene.complain(
        found.missing != lacking, f"the bucket has not stored {lacking} objects, and the check found {found.missing}"
    )


class _Checked(msgspec.Struct):
    """What `beat assets check` says. `missing`: rows without an object."""

    missing: int


def _check(scene: Scene) -> _Checked:
    """Compare rows and bucket as an operator does. Raises `ChaosError`."""
    env = {**os.environ, **scene.rig.stack.env}
    argv = (sys.executable, "-c", COMMAND, "assets", "check", "--anew", "--many", "--json")
    place, most = scene.rig.stack.home.path, scene.timing.deadline
    done = subprocess.run(argv, env=env, cwd=place, capture_output=True, check=False, timeout=most)  # noqa: S603
    try:
        return msgspec.json.decode(done.stdout, type=_Checked)
    except msgspec.DecodeError:
        raise ChaosError(f"`beat assets check` ended with {done.returncode}: {done.stderr.decode()[-500:]}") from None


async def _met(scene: Scene, failure: str, seconds: float) -> None:
    """Wait so long, and until some PUTs met the failure. Raises `ChaosError` where none did."""
    ends = time.monotonic() + seconds
    proxy = _proxy(scene)
    await until(lambda: proxy.done[failure] > 0, within=scene.timing.deadline, what=f"no PUT met the failure {failure}")
    await asyncio.sleep(max(0.0, ends - time.monotonic()))
    scene.extra["failed_puts"] = proxy.done[failure]


async def _recovered(scene: Scene) -> None:
    """Wait for the first picture that is stored after the fault, and note how long that took."""
    healed = scene.healed_at or time.time()
    await until(
        lambda: scene.count(STORED_SINCE, healed) > 0,
        within=scene.timing.deadline,
        what="nothing was uploaded after the fault",
    )
    scene.recovered_s = time.time() - healed


def _proxy(scene: Scene) -> BucketProxy:
    assert scene.rig.bucket_proxy is not None
    return scene.rig.bucket_proxy
