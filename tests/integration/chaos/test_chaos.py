"""The harness must be able to fail: it is given real defects, and has to see them."""

import asyncio
from pathlib import Path

import aiohttp
import pytest

from beat_actors.chaos import FAULTS, Fault, Rig, Timing, rehearse
from beat_actors.chaos.scene import Scene
from beat_actors.chaos.waiting import until
from beat_actors.cli.app import invoke

pytestmark = pytest.mark.timeout(240)

QUICK = Timing(lease=3.0, pause=7.0, outage=2.0, lock=2.0, storm=3.0, window=1.0, patience=40.0)
NO_FENCE = """
import beat_actors.pipeline.process as process
process.DONE = process.DONE.replace("AND f.fence = n.fence AND f.stage = 'INGESTED'", "")
assert "fence =" not in process.DONE
"""


async def nothing(_scene: Scene) -> None:
    """A day like any other."""


async def lose_a_row(scene: Scene) -> None:
    """What no fault may do, done by hand."""
    await until(lambda: scene.ended() == len(scene.load.wanted), within=30, what="it did not end")
    scene.rig.run("DELETE FROM scrape_request_log WHERE id = (SELECT min(id) FROM scrape_request_log)")


async def call_behind_its_back(scene: Scene) -> None:
    """An upstream call that no lease was given for."""
    url = f"{scene.rig.stack.simulator.url}/lama/a1/user?username=creator_000001"
    async with aiohttp.ClientSession() as http, http.get(url, headers={"x-access-key": "stolen"}) as response:
        assert response.status == 200


CALM = Fault("calm", "-", "nothing", nothing, requests=20)
LOSS = Fault("loss", "-", "a row is deleted", lose_a_row, requests=20)
STOLEN = Fault("stolen", "-", "a call without a lease", call_behind_its_back, requests=20)


def test_it_sees_what_is_wrong_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Through the command: a clean run, a lost row, an unbooked call; and a matrix goes on where it was stopped."""
    monkeypatch.setattr("beat_actors.cli.chaos.FAULTS", (CALM, LOSS, STOLEN))
    monkeypatch.setattr("beat_actors.cli.chaos.FULL", QUICK)
    keep = ["--keep", str(tmp_path / "runs.jsonl")]
    assert invoke(["chaos", "--seeds", "1", "--only", "calm,loss,stolen", *keep]) == 1
    clean, lost, stolen = capsys.readouterr().out.splitlines()[:3]
    assert "fault=calm seed=0 accepted=20 done=20" in clean
    assert "verdict=ok" in clean
    assert "accepted=20 done=19" in lost
    assert "lost=1 dup=0 nonterminal=0" in lost
    assert "unbooked=1" in stolen
    assert "lost=0" in stolen
    assert invoke(["chaos", "--seeds", "1", "--only", "calm", *keep]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "",
        "1 runs kept every promise, 0 of them late; 0 did not, 0 were skipped",
    ]


def test_it_sees_a_statement_without_its_fence(tmp_path: Path) -> None:
    """A worker that was frozen wakes up, and writes what another has written meanwhile."""
    (tmp_path / "sitecustomize.py").write_text(NO_FENCE)
    (pause,) = [fault for fault in FAULTS if fault.name == "pause.process"]
    after_claim = 0
    with Rig.running(QUICK, worker_env={"PYTHONPATH": str(tmp_path)}) as rig:
        card = asyncio.run(rehearse(rig, pause, after_claim))
    assert card.extra["point"] == "process.after_claim"
    assert card.findings.dup > 0
    assert "verdict=BROKEN" in card.line()
