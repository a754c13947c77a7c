"""The harness must be able to fail: it is given real defects, and has to see them."""

import asyncio
import contextlib
import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from beat_actors.chaos import FAULTS, Fault, Rig, Timing, rehearse
from beat_actors.chaos.families.processes import STEP_BY_STEP
from beat_actors.chaos.families.uploads import with_pictures
from beat_actors.chaos.layout import Layout
from beat_actors.chaos.published import STREAM
from beat_actors.chaos.scene import Scene
from beat_actors.chaos.surveying import over
from beat_actors.chaos.waiting import until
from beat_actors.cli.app import invoke
from beat_actors.local.errors import LocalError

pytestmark = pytest.mark.timeout(480)

QUICK = Timing(lease=3.0, pause=7.0, outage=2.0, lock=2.0, storm=3.0, window=1.0, deadline=90.0)
NO_FENCE = """
from beat_actors.fetches.completion import WRITTEN
WRITTEN.sent = WRITTEN.sent.replace(b"AND f.fence = n.fence AND f.stage = 'INGESTED'", b"")
assert b"fence =" not in WRITTEN.sent
"""
TWICE = "SELECT fetch_id FROM profile_log GROUP BY fetch_id, profile_id HAVING count(*) > 1"


async def nothing(_scene: Scene) -> None:
    """A day like any other."""


async def lose_a_row(scene: Scene) -> None:
    """What no fault may do, done by hand."""
    await until(lambda: scene.ended() == len(scene.load.wanted), within=scene.timing.deadline, what="it did not end")
    scene.rig.run("DELETE FROM scrape_request_log WHERE id = (SELECT min(id) FROM scrape_request_log)")


async def lose_an_entry(scene: Scene) -> None:
    """An event that the sink has confirmed vanishes from the stream."""
    await until(lambda: scene.ended() == len(scene.load.wanted), within=scene.timing.deadline, what="it did not end")
    stream = scene.rig.valkey()
    await until(lambda: stream.xlen(STREAM) > 1, within=scene.timing.deadline, what="nothing was published")
    first: Any = stream.xrange(STREAM, count=1)
    stream.xdel(STREAM, first[0][0])


async def call_behind_its_back(scene: Scene) -> None:
    """An upstream call that no lease was given for."""
    url = f"{scene.rig.stack.simulator.url}/lama/a2/user?username=creator_000001"
    async with aiohttp.ClientSession() as http, http.get(url, headers={"x-access-key": "stolen"}) as response:
        assert response.status == 200


async def wake_a_zombie(scene: Scene) -> None:
    """A worker is frozen while it holds work, and wakes up when others have done all of it."""
    scene.rig.failpoints.arm(f"process.after_claim=pause:{scene.timing.deadline}@1", *STEP_BY_STEP["process"])
    (hit,) = await scene.fired(1)
    await until(lambda: scene.ended() == len(scene.load.wanted), within=scene.timing.deadline, what="it did not end")
    os.kill(hit.pid, signal.SIGCONT)
    await until(lambda: bool(scene.rig.rows(TWICE)), within=scene.timing.deadline, what="the zombie wrote nothing")


CALM = Fault("calm", "-", "nothing", nothing, requests=20)
LOSS = Fault("loss", "-", "a row is deleted", lose_a_row, requests=20)
GAP = Fault("gap", "-", "an entry of the stream is deleted", lose_an_entry, requests=20)
STOLEN = Fault("stolen", "-", "a call without a lease", call_behind_its_back, requests=20)
ZOMBIE = Fault("zombie", "-", "a frozen worker wakes up too late", wake_a_zombie, requests=20)


@pytest.mark.exhaustive
def test_it_sees_what_is_wrong_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Through the command: a clean run, a lost row, a lost entry of the stream, an unaccounted call; and a matrix goes on where it was stopped."""
    monkeypatch.setattr("beat_actors.cli.chaos.FAULTS", (CALM, LOSS, GAP, STOLEN))
    monkeypatch.setattr("beat_actors.cli.chaos.FULL", QUICK)
    keep = ["--keep", str(tmp_path / "runs.jsonl")]
    assert invoke(["chaos", "--seeds", "1", "--only", "calm,loss,gap,stolen", *keep]) == 1
    clean, lost, gap, stolen = capsys.readouterr().out.splitlines()[:4]
    assert "fault=calm seed=0 accepted=20 done=20" in clean
    assert "verdict=ok" in clean
    assert "accepted=20 done=19" in lost
    assert "lost=1 dup=0 nonterminal=0" in lost
    assert "accepted=20 done=20" in gap
    assert "lost=1 dup=0 nonterminal=0" in gap
    assert "unaccounted=1" in stolen
    assert "lost=0" in stolen
    assert invoke(["chaos", "--seeds", "1", "--only", "calm", *keep]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "",
        "1 runs kept every promise, 0 of them late; 0 did not, 0 were skipped",
    ]


@pytest.mark.exhaustive
def test_it_sees_a_statement_without_its_fence(tmp_path: Path) -> None:
    """A worker that was frozen wakes up, and writes what another has written meanwhile."""
    (tmp_path / "sitecustomize.py").write_text(NO_FENCE)
    with Rig.running(QUICK, worker_env={"PYTHONPATH": str(tmp_path)}) as rig:
        report = asyncio.run(rehearse(rig, ZOMBIE, 0))
    assert report.findings.dup > 0
    assert "verdict=BROKEN" in report.line()


def test_a_stack_that_does_not_start_is_a_failure_and_ends_no_other_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    @contextlib.contextmanager
    def running(*_arguments: object, **_options: object) -> Iterator[Rig]:
        raise LocalError("postgres did not start")
        yield

    monkeypatch.setattr("beat_actors.cli.chaos.FAULTS", (CALM,))
    monkeypatch.setattr("beat_actors.cli.chaos.Rig.running", running)
    assert invoke(["chaos", "--seeds", "2", "--only", "calm"]) == 1
    said = capsys.readouterr()
    for run in ("calm 0", "calm 1"):
        assert f"{run} could not be held" in said.err
    assert "postgres did not start" in said.err
    assert "0 runs kept every promise, 0 of them late; 2 did not" in said.out


async def upload(scene: Scene) -> None:
    """Pictures are uploaded as on any other day."""


async def overwrite_an_object(scene: Scene) -> None:
    """An object gets other bytes behind the back of its row."""
    await over(scene)
    bucket = scene.rig.bucket
    bucket.put(bucket.keys()[0], b"no picture")


async def delete_an_object(scene: Scene) -> None:
    await over(scene)
    bucket = scene.rig.bucket
    bucket.delete(bucket.keys()[0])


async def add_an_orphan(scene: Scene) -> None:
    """Nothing was killed, so every object must have its row."""
    await over(scene)
    scene.rig.bucket.put(f"ab/ab/{'ab' * 32}", b"a picture of nobody")


async def give_one_up(scene: Scene) -> None:
    await over(scene)
    scene.rig.run(
        "UPDATE asset_log SET status = 'FAILED', failure = 'html: a page' WHERE id = (SELECT min(id) FROM asset_log)"
    )


async def swap_two(scene: Scene) -> None:
    """An asset gets the picture of another one."""
    await over(scene)
    scene.rig.run("""
        UPDATE asset_log SET content = (SELECT max(content) FROM asset_log) WHERE content = (SELECT min(content) FROM asset_log)
    """)


DEFECTS = {
    upload: "",
    overwrite_an_object: "has bytes with the SHA-256",
    delete_an_object: "the bucket has no object",
    add_an_orphan: "1 objects without a row, and 0 uploads were in flight",
    give_one_up: "is FAILED (html: a page), and its origin has the picture",
    swap_two: "and its origin has",
}


@pytest.mark.exhaustive
def test_it_sees_what_is_wrong_with_pictures() -> None:
    """Every defect is the only one of its run, and the run without a defect is clean."""
    with Rig.running(QUICK, layout=Layout.PICTURES) as rig:
        for defect, said in DEFECTS.items():
            fault = Fault(
                defect.__name__,
                "-",
                said,
                partial(with_pictures, fault=defect),
                requests=4,
                layout=Layout.PICTURES,
            )
            report = asyncio.run(rehearse(rig, fault, 0))
            if said:
                assert any(said in broken for broken in report.broken), (defect.__name__, report.broken)
            else:
                assert report.broken == []
                assert int(str(report.extra["stored"])) > 0


NO_GATE = """
from beat_actors.trust.gate import Gate
Gate.judge_read = lambda self, read, *how: [self.accepted for _ in read]
"""


@pytest.mark.exhaustive
def test_it_sees_false_values_that_are_served(tmp_path: Path) -> None:
    """Without the gate all that a source says is written."""
    (tmp_path / "sitecustomize.py").write_text(NO_GATE)
    corrupt = next(fault for fault in FAULTS if fault.name == "corrupt")
    with Rig.running(QUICK, worker_env={"PYTHONPATH": str(tmp_path)}) as rig:
        report = asyncio.run(rehearse(rig, replace(corrupt, requests=20), 2))
    assert report.findings.served_corrupt
    assert f"served_corrupt={report.findings.served_corrupt}" in report.broken
    assert any("is served with followers 0" in reason for reason in report.findings.reasons)
    assert (report.findings.lost, report.findings.nonterminal) == (0, 0)
