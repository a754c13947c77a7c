"""A long backlog of pictures beside requests for profiles: `make backlog`.

Parts, all with a process that uploads as in production, an origin of pictures of 40 kB, and a strict S3 in memory:

- drain: 100,000 pictures of all classes. Requests for profiles come at an even rate, while uploads are paused and while they run, in turn.
- order: a backlog of which not all can be saved, beside what an oracle and what first in first out would save with uploads that end at the same moments.
- same: many assets of few pictures, and the PUTs that the bucket got for them.
- slow: the bucket says SlowDown to half of the PUTs for a while. Then some PUTs hang, or their connections break.
- down: the bucket is away.
"""

import argparse
import asyncio
import logging
import random
import statistics
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import psutil
import psycopg
import structlog

from beat_actors.engine import Engine
from beat_actors.requests import intake
from beat_actors.requests.intake import NewRequest
from bench.contender import handle
from bench.picture_stack import PictureStack, picture_stack, settings_of, warmed

PROFILES = 200
DAY = 86_400.0
EVERY = 1.0
"""Seconds between two looks at memory and order."""
TOOK = "SELECT extract(epoch FROM scraped_at - created_at)::float8 FROM scrape_request_log WHERE status = 'COMPLETE' AND created_at BETWEEN to_timestamp(%(since)s) AND to_timestamp(%(until)s)"
OPEN_BETWEEN = "SELECT count(*)::int FROM scrape_request_log WHERE status <> 'COMPLETE' AND created_at BETWEEN to_timestamp(%(since)s) AND to_timestamp(%(until)s)"
OVERTAKEN = """SELECT EXISTS (SELECT FROM asset_log WHERE status = 'PENDING' AND class = 0)
    AND EXISTS (SELECT FROM asset_log WHERE status = 'PROCESSING' AND class > 0)"""
"""Whether a picture of another class was begun while the picture of a profile waited."""
HELD = "SELECT 90 - extract(epoch FROM min(lease_until) - clock_timestamp())::float8 FROM asset_log WHERE status = 'PROCESSING'"
"""Seconds since the oldest upload in flight was claimed, up to 30: then its lease of 90 s is renewed."""
IN_FLIGHT = "SELECT EXISTS (SELECT FROM asset_log WHERE status = 'PROCESSING')"
AVATARS = "SELECT EXISTS (SELECT FROM asset_log WHERE status <> 'COMPLETE' AND class = 0)"
SAVED = "SELECT count(*) FILTER (WHERE stored_at <= deadline)::int, count(*) FILTER (WHERE stored_at <= deadline AND class = 0)::int FROM asset_log"
MEASURED = "SELECT count(stored_at)::float8 / nullif(extract(epoch FROM max(stored_at) - min(observed_at))::float8, 0) FROM asset_log"
MOMENTS = """SELECT extract(epoch FROM stored_at - min(observed_at) OVER ())::float8 FROM asset_log WHERE stored_at IS NOT NULL ORDER BY stored_at"""
"""When the uploads ended, in seconds since the backlog was there."""


@dataclass
class Watch:
    """Looks at the process that uploads, and at the order, while the block runs."""

    made: PictureStack
    resident: list[int] = field(default_factory=list)
    looks: int = 0
    overtaken: int = 0
    held: float = 0.0
    _stopped: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> "Watch":
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        with psycopg.connect(self.made.setup.database_url, autocommit=True) as connection:
            while not self._stopped.wait(EVERY):
                try:
                    self.resident.append(self.made.memory())
                except (psutil.Error, ValueError):  # it has just ended
                    continue
                self.looks += 1
                self.overtaken += connection.execute(OVERTAKEN).fetchone() == (True,)
                (held,) = connection.execute(HELD).fetchone() or (None,)
                self.held = max(self.held, held or 0.0)

    def memory(self) -> str:
        """At some moments, and at most."""
        of = [self.resident[min(int(len(self.resident) * share), len(self.resident) - 1)] for share in (0.2, 0.6, 1.0)]
        shown = ", ".join(f"{one / 1e6:.0f}" for one in of)
        return f"{shown} MB resident after 20, 60 and 100 % of it, at most {max(self.resident) / 1e6:.0f} MB"


@dataclass
class Visits:
    """Requests for profiles at an even rate, from a thread, until the block ends."""

    made: PictureStack
    rate: float
    unanswered: int = 0
    _stopped: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> "Visits":
        self._since = time.time()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._stopped.set()
        self._thread.join()
        times = Span(self._since, time.time())._asdict()
        until(lambda: not self.made.rows(OPEN_BETWEEN, times)[0][0], 30.0)
        (self.unanswered,) = self.made.rows(OPEN_BETWEEN, times)[0]

    def within(self, spans: Sequence["Span"]) -> list[float]:
        """The seconds that each took which was sent in one of these spans."""
        return [float(seconds) for one in spans for (seconds,) in self.made.rows(TOOK, one._asdict())]

    async def _run(self) -> None:
        beat = Engine.start(settings_of(self.made.setup), name="bench")
        began, sent = time.monotonic(), 0
        try:
            while not self._stopped.is_set():
                wanted = {"handle": handle(sent % PROFILES)}
                await intake.accept(
                    beat.database, [NewRequest("instagram", "refresh_profile_by_handle", wanted, force=True)]
                )
                await self.made.mailbox.wake("instagram")
                sent += 1
                await asyncio.sleep(max(0.0, began + sent / self.rate - time.monotonic()))
        finally:
            await beat.close()


def quantile(values: Sequence[float], share: float) -> float:
    return sorted(values)[min(int(len(values) * share), len(values) - 1)] if values else float("nan")


def shown(name: str, values: Sequence[float], unanswered: int) -> str:
    p50, p95 = (quantile(values, share) * 1000 for share in (0.5, 0.95))
    late = f", {unanswered} not answered" if unanswered else ""
    return f"requests for profiles, {name}: p50 {p50:.0f} ms, p95 {p95:.0f} ms (of {len(values)}){late}"


def drain(made: PictureStack, given: argparse.Namespace) -> None:
    """Uploads are paused and go on in turn, so that another load on the machine falls on requests with and without them."""
    chance = random.Random(7)
    made.fill(
        [chance.randrange(4) for _ in range(given.rows)], [DAY + chance.random() * DAY for _ in range(given.rows)]
    )
    puts, cpu, seconds, avatars = made.bucket.counts()["stored"], made.cpu(), 0.0, 0.0
    spans: dict[bool, list[Span]] = {False: [], True: []}
    made.pause(paused=True)
    with Watch(made) as watch, Visits(made, given.rate) as visits:
        while made.is_busy:
            spans[False].append(spent(lambda: time.sleep(given.seconds)))
            made.pause(paused=False)
            made.wake()
            spans[True].append(spent(lambda: until(lambda: not made.is_busy, given.seconds)))
            began = time.monotonic()
            made.pause(paused=True)
            until(lambda: not made.rows(IN_FLIGHT)[0][0], 60.0)
            seconds += spans[True][-1].seconds + time.monotonic() - began
            avatars = avatars or (0.0 if made.rows(AVATARS)[0][0] else seconds)
        cpu = made.cpu() - cpu
    made.pause(paused=False)
    stored, share = made.bucket.counts()["stored"] - puts, cpu / given.rows * 1000
    print(
        f"backlog of {given.rows:,} pictures: {given.rows / seconds:,.0f}/s, {stored:,} stored, {share:.2f} ms CPU each; {made.states()}"
    )
    print(f"the process that uploads: {watch.memory()}")
    print(
        f"pictures of profiles: all stored after {avatars:.0f} of {seconds:.0f} s; another class was begun before in {watch.overtaken} of {watch.looks} looks"
    )
    took = {uploads: visits.within(each) for uploads, each in spans.items()}
    print(shown("uploads paused", took[False], visits.unanswered))
    print(shown("beside uploads", took[True], 0))
    pairs = zip(spans[False], spans[True], strict=True)
    ratios = [quantile(visits.within([on]), 0.95) / quantile(visits.within([off]), 0.95) for off, on in pairs]
    print(
        f"ratio p95 beside/without uploads {quantile(took[True], 0.95) / quantile(took[False], 0.95):.2f}, median of {len(ratios)} pairs "
        f"{statistics.median(ratios):.2f}",
        flush=True,
    )
    made.clear()


class Span(NamedTuple):
    """Seconds since 1970."""

    since: float
    until: float

    @property
    def seconds(self) -> float:
        return self.until - self.since


def spent(work: Callable[[], object]) -> Span:
    since = time.time()
    work()
    return Span(since, time.time())


def until(ended: Callable[[], bool], seconds: float) -> None:
    """Wait until it has ended, for so many seconds at most."""
    ends = time.monotonic() + seconds
    while not ended() and time.monotonic() < ends:
        time.sleep(0.5)


def order(made: PictureStack, given: argparse.Namespace) -> None:
    """A tenth pictures of profiles; previews of posts that live for up to 108 hours, stories for up to 24. The hours are scaled so that `share` of the
    backlog can be uploaded until the last picture dies."""
    chance = random.Random(11)
    made.allow(given.at_once)
    rate = pace(made)
    hour = given.share * given.mixed / rate / 108
    classes = chance.choices((0, 1, 2, 3), (10, 50, 25, 15), k=given.mixed)
    lives = [chance.uniform(-0.05, 1) * (108, 108, 24, 24)[of_class] * hour for of_class in classes]
    made.fill(classes, lives)
    made.wake()
    made.until_idle()
    saved, avatars = made.rows(SAVED)[0]
    (measured,) = made.rows(MEASURED)[0]
    slots = [float(seconds) for (seconds,) in made.rows(MOMENTS)]
    slots += [slots[-1] + (n + 1) / measured for n in range(given.mixed - len(slots))]
    best, free = (oracle(classes, lives, slots, avatars_first=first) for first in (True, False))
    fifo = sum(slot <= life for slot, life in zip(slots, lives, strict=True))
    wanted = sum(of_class == 0 and life > 0 for of_class, life in zip(classes, lives, strict=True))
    print(
        f"mixed backlog of {given.mixed:,} pictures, {measured:.0f}/s, the last one dies after {108 * hour:.0f} s: saved in time {saved:,}, "
        f"{avatars:,} of {wanted:,} of profiles; an oracle {best:,}, without classes {free:,}; first in first out {fifo:,}"
    )
    print(f"ratio saved/oracle {saved / best:.3f}, first in first out/oracle {fifo / best:.3f}", flush=True)
    made.allow(None)
    made.clear()


def pace(made: PictureStack) -> float:
    """Uploads a second, of a short backlog."""
    count = 2000
    made.fill([0] * count, [DAY] * count)
    made.wake()
    made.until_idle()
    (rate,) = made.rows(MEASURED)[0]
    made.clear()
    return float(rate)


def oracle(classes: Sequence[int], lives: Sequence[float], slots: Sequence[float], *, avatars_first: bool) -> int:
    """The most that can be saved by uploads that end at these moments: the earliest deadline that can still be met comes next; of pictures of profiles
    alone at first."""
    saved = 0
    for chosen in ((0,), (1, 2, 3)) if avatars_first else ((0, 1, 2, 3),):
        for life in sorted(life for of_class, life in zip(classes, lives, strict=True) if of_class in chosen):
            saved += slots[saved] <= life
    return saved


def same(made: PictureStack, given: argparse.Namespace) -> None:
    count, before = given.same, made.bucket.counts()
    made.fill([n % 4 for n in range(count)], [DAY] * count, pictures=count // 10)
    made.wake()
    made.until_idle()
    after = made.bucket.counts()
    puts, stored = after["puts"] - before["puts"], after["stored"] - before["stored"]
    print(
        f"{count:,} assets of {count // 10:,} pictures: {puts:,} PUTs, {stored:,} objects; {made.states()}", flush=True
    )
    made.clear()


def slow(made: PictureStack, given: argparse.Namespace) -> None:
    """Each picture of its own, more than are stored meanwhile."""
    made.fill([n % 4 for n in range(given.rows)], [DAY] * given.rows)
    made.wake()
    before = rate_of(made, 15.0, skip=5.0)
    began = made.bucket.counts()
    made.bucket.order(slow_down=0.5)
    time.sleep(given.faults)
    during = made.bucket.counts()
    made.bucket.order()
    time.sleep(10.0)
    again = rate_of(made, 5.0)
    puts, asked = during["puts"] - began["puts"], during["asked"] - began["asked"]
    print(
        f"SlowDown for half of the PUTs for {given.faults:.0f} s: {puts:,} PUTs for {asked:,} objects, {puts / asked:.2f} for each; "
        f"rate before {before:.0f}/s, ten seconds after {again:.0f}/s"
    )
    for fault in ("hang", "reset"):
        made.bucket.order(**{fault: 0.2})
        with Watch(made) as watch:
            time.sleep(20.0)
            made.bucket.order()
            time.sleep(15.0)
        print(f"{fault} for a fifth of the PUTs for 20 s: an upload was in flight for {watch.held:.1f} s at most")
    counts = made.bucket.counts()
    made.until_idle()
    hurry(made)
    ended = made.bucket.counts()
    print(f"hanging PUTs: the client waited {counts['longest_hang']:.1f} s at most")
    new = ended["stored"] - began["stored"]
    print(
        f"requests an object over all of it {(ended['puts'] - began['puts']) / new:.2f}; {made.states()}, failed {failed(made)}",
        flush=True,
    )
    made.clear()


def down(made: PictureStack, given: argparse.Namespace) -> None:
    made.fill([n % 4 for n in range(given.rows // 4)], [DAY] * (given.rows // 4))
    made.wake()
    rate_of(made, 5.0)
    made.bucket.stop()
    time.sleep(given.down)
    states = made.states()
    made.bucket.start()
    began = time.monotonic()
    stored = made.bucket.counts()["stored"]
    while made.bucket.counts()["stored"] == stored and made.is_busy:
        time.sleep(0.1)
    seconds = time.monotonic() - began
    made.until_idle()
    hurry(made)
    print(
        f"the bucket away for {given.down:.0f} s: then {states}; the first picture stored {seconds:.1f} s after it is back; at the end "
        f"{made.states()}, failed {failed(made)}",
        flush=True,
    )
    made.clear()


def rate_of(made: PictureStack, seconds: float, *, skip: float = 0.0) -> float:
    """Objects a second that the bucket stores now."""
    time.sleep(skip)
    before = made.bucket.counts()["stored"]
    time.sleep(seconds - skip)
    return float(made.bucket.counts()["stored"] - before) / (seconds - skip)


def hurry(made: PictureStack) -> None:
    """Let what waits for its next attempt have it now, until all is done."""
    while made.rows("SELECT count(*)::int FROM asset_log WHERE status IN ('PENDING', 'PROCESSING', 'WAITING')") != [
        (0,)
    ]:
        made.rows("UPDATE asset_log SET not_before = now() WHERE status = 'WAITING'")
        time.sleep(0.5)


def failed(made: PictureStack) -> int:
    count: int = made.rows(
        "SELECT count(*)::int FROM asset_log WHERE status IN ('FAILED', 'REFETCH', 'EXPIRED', 'GONE')"
    )[0][0]
    return count


PARTS: dict[str, Callable[[PictureStack, argparse.Namespace], None]] = {
    "drain": drain,
    "order": order,
    "same": same,
    "slow": slow,
    "down": down,
}
DELAY = {"order": 0.1}
"""Seconds until the origin answers; 0 in other parts."""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", default=",".join(PARTS), help="parts, with commas")
    parser.add_argument("--rows", type=int, default=100_000, help="pictures of the backlog")
    parser.add_argument("--rate", type=float, default=10.0, help="requests for profiles a second")
    parser.add_argument(
        "--seconds", type=float, default=20.0, help="for which uploads run, and for which they are paused"
    )
    parser.add_argument(
        "--limit", type=int, default=600, help="BEAT_ASSET_UPLOADS_PER_SECOND while the backlog drains; 0: not set"
    )
    parser.add_argument("--mixed", type=int, default=40_000, help="pictures of the backlog that cannot all be saved")
    parser.add_argument("--share", type=float, default=0.6, help="of them that can be uploaded until the last one dies")
    parser.add_argument("--at-once", type=int, default=20, help="uploads in flight in the part `order`")
    parser.add_argument("--same", type=int, default=10_000, help="assets of a tenth as many pictures")
    parser.add_argument("--faults", type=float, default=60.0, help="seconds of SlowDown")
    parser.add_argument("--down", type=float, default=60.0, help="seconds for which the bucket is away")
    given = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    print(f"load of the machine before: {psutil.getloadavg()[0]:.1f}", flush=True)
    for part in given.only.split(","):
        limit = given.limit if part == "drain" else 0
        with picture_stack(profiles=PROFILES, delay=DELAY.get(part, 0.0), limit=limit) as made:
            warmed(made, PROFILES)
            PARTS[part](made, given)


if __name__ == "__main__":
    main()
