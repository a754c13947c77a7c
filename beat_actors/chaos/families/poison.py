"""F3: a payload or a record kills each worker that reads or writes it."""

from beat_actors.chaos.scene import Scene
from beat_actors.chaos.waiting import until


async def poison_parse(scene: Scene) -> None:
    """A payload of one source kills each worker that parses it. It must be quarantined, and the next source must answer."""
    marked = scene.dice.sample([wanted.handle for wanted in scene.load.wanted], 2)
    scene.rig.failpoints.arm(*(f"ingest.parse~graphapi+{handle}=kill" for handle in marked))
    most = scene.rig.settings().stage_attempts
    await until(lambda: len(scene.hits()) >= 2, within=scene.timing.deadline, what="no poison was parsed")
    await scene.drained()
    hits = scene.hits()
    scene.extra["deaths"] = len(hits)
    scene.extra_calls = len(marked)
    for handle in marked:
        tries = sum(1 for hit in hits if handle in hit.armed)
        scene.complain(tries > most, f"{handle} killed {tries} workers, and {most} tries are allowed")
    _nobody_else_quarantined(scene, len(marked))


async def poison_write(scene: Scene) -> None:
    """A record kills each worker that writes it. No other source can help, so its request must fail, and no other request."""
    marked = scene.count("SELECT last_value AS n FROM scrape_request_log_id_seq") + scene.dice.randint(5, 20)
    scene.rig.failpoints.arm(f"process.write~{marked}=kill")
    scene.failed = 1
    # The first write is a part of the only try of `ingest`, which writes at once what it has read. All others are tries of `process`.
    most = 1 + scene.rig.settings().stage_attempts
    await until(lambda: len(scene.hits()) >= 1, within=scene.timing.deadline, what="no poison was written")
    await scene.drained()
    scene.extra["deaths"] = len(scene.hits())
    scene.complain(len(scene.hits()) > most, f"it killed {len(scene.hits())} workers, and {most} tries are allowed")
    _nobody_else_quarantined(scene, 1)


def _nobody_else_quarantined(scene: Scene, poisoned: int) -> None:
    found = scene.count("SELECT count(DISTINCT fetch_id) AS n FROM quarantine WHERE kind = 'poison'")
    scene.extra["quarantined"] = found
    scene.complain(found != poisoned, f"{found} fetches were quarantined for {poisoned} poisoned")
