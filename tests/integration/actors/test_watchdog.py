"""A worker that cannot do its work ends; one that can is left alone."""

import threading
import time

import pytest
from dramatiq.asyncio import get_event_loop_thread
from structlog.testing import capture_logs

from actors import watchdog
from actors.broker import WakeUps
from actors.watchdog import UNHEALTHY, Watchdog, ailment
from tests.integration.actors.conftest import Post, until


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watchdog, "EVERY", 0.05)
    monkeypatch.setattr(watchdog, "LAG", 0.5)


def test_a_worker_at_work_has_no_ailment(post: Post) -> None:
    ended: list[int] = []
    post.broker.add_middleware(Watchdog(ended.append))
    with post.working() as worker:
        for n in range(1, 50):
            post.send(n)
        until(lambda: len(post.arrived) == 49, "the work is done")
        assert ailment(worker) is None
    time.sleep(0.2)  # and it is none to have been stopped
    assert ended == []


def test_a_worker_that_fetches_no_more_ends(post: Post) -> None:
    ended: list[int] = []
    post.broker.add_middleware(Watchdog(ended.append))
    with post.working() as worker:
        consumer = worker.consumers["ingest"]
        consumer.stop()
        consumer.join(5)
        assert ailment(worker) == ("no consumer reads ingest any more", [])
        until(lambda: ended == [UNHEALTHY], "it ends")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_worker_that_listens_for_no_wake_ups_ends(post: Post, monkeypatch: pytest.MonkeyPatch) -> None:
    def falls_over(_wake_ups: WakeUps, _queue: str | None) -> None:
        raise RuntimeError("not an error of Redis")

    ended: list[int] = []
    post.broker.add_middleware(Watchdog(ended.append))
    with post.working() as worker:
        assert ailment(worker) is None
        monkeypatch.setattr(WakeUps, "wake", falls_over)
        post.send(1)
        until(lambda: ended == [UNHEALTHY], "it ends")
        assert ailment(worker) == ("nothing listens for wake-ups any more", [])


def test_an_event_loop_that_is_stuck_ends_the_worker_and_a_pause_does_not(post: Post) -> None:
    ended: list[int] = []
    post.broker.add_middleware(Watchdog(ended.append))
    with post.working() as worker:
        loop = get_event_loop_thread()
        assert loop is not None
        loop.loop.call_soon_threadsafe(time.sleep, 0.7)
        until(lambda: ailment(worker) is None, "it is well again")
        assert ended == []
        release = threading.Event()

        def stuck() -> None:
            release.wait(20)

        with capture_logs() as logs:
            loop.loop.call_soon_threadsafe(stuck)
            until(lambda: ended == [UNHEALTHY], "it ends")
            release.set()
        unhealthy = [line for line in logs if line["event"] == "unhealthy"]
        assert unhealthy
        assert all(any(call.endswith(" stuck") for call in line["at"]) for line in unhealthy)


def test_a_master_that_is_gone_takes_its_workers_along(post: Post, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[int, int]] = []
    guard = Watchdog(told.append)
    monkeypatch.setattr("actors.watchdog.os.getppid", lambda: 1)
    monkeypatch.setattr("actors.watchdog.os.kill", lambda pid, number: told.append((pid, number)))
    post.broker.add_middleware(guard)
    with post.working():
        until(lambda: len(told) == 1, "it asks itself to stop")
