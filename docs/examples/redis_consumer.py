"""A consumer of Beat's events in Redis Streams (Redis or Valkey, 7.0 or later) that applies each event once, whatever is killed and whenever.

    python redis_consumer.py redis://USER:PASSWORD@HOST/0 events.sqlite [NAME]

The stream holds each event once, but a consumer may read it more than once: after a crash, and after Redis lost its last writes. So the effect of an
event and its id are written in one transaction, and only then is the entry acknowledged. An event whose id is known has been applied.

**Beat limits the size of the stream, and deletes old entries even if nobody has read them.** If this consumer is too slow or stopped for too long,
it misses events. It notices that the stream begins behind the place that it had reached, and writes the gap into the table `missed`. Ask for a replay of these
events: it comes in the stream `beat:events:replay`, which this program reads too. A larger `max_bytes` of the sink gives more time.

Each running copy needs a NAME of its own, which it keeps over restarts. Several copies share the events, so their order is not kept: `effect` compares
`sequence`. Run it under a supervisor, such as systemd, that starts it again.

Replace `effect` by what your program does, in the same database. An effect elsewhere, such as a call of another service, needs that service to take
the event's id as an idempotency key.

Needs `redis` (redis-py 5 or newer).
"""

import json
import sqlite3
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import redis

STREAM = "beat:events"
REPLAYS = f"{STREAM}:replay"
GROUP = "example"
BATCH = 100
BLOCK = 2_000
"""Milliseconds to wait for new entries."""
IDLE = 60_000
"""Milliseconds after which an entry is taken over from a consumer that has not acknowledged it. More than the longest `effect`."""
ATTEMPTS = 20
"""Deliveries of an entry after which it is put aside, into the table `dead`."""
KEPT = 1_000_000
"""Ids that are remembered. Must be more than the events that may come again, which is at most what is replayed."""

TABLES = """
CREATE TABLE IF NOT EXISTS applied (id TEXT PRIMARY KEY, sequence TEXT NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS applied_by_sequence ON applied (sequence);
CREATE TABLE IF NOT EXISTS subject (subject TEXT PRIMARY KEY, sequence TEXT NOT NULL, type TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS effect (number INTEGER PRIMARY KEY, event TEXT NOT NULL, type TEXT NOT NULL, subject TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS dead (stream TEXT, entry TEXT, reason TEXT NOT NULL, PRIMARY KEY (stream, entry)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS missed (first INTEGER PRIMARY KEY, last INTEGER NOT NULL) WITHOUT ROWID;
"""

Fields = Mapping[str, str]
Entries = Iterable[tuple[str, Fields | None]]


class Malformed(Exception):
    """The entry is no event. It will never be one."""


@dataclass(frozen=True)
class Event:
    """`sequence`: 20 digits, so that it compares as text. Later events of one source have higher ones."""

    id: str
    type: str
    subject: str
    sequence: str
    data: Mapping[str, object]


def event_of(fields: Fields) -> Event:
    """A CloudEvent in either mode. Raises `Malformed`."""
    try:
        if "event" in fields:
            found = json.loads(fields["event"])
            data = found.get("data", {})
        else:
            found = fields
            # Data that are too large are not in the entry: read them at `dataref` of Beat's API.
            data = json.loads(fields["data"]) if fields["data"] else {}
        return Event(*(str(found[name]) for name in ("id", "type", "subject", "sequence")), data)
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise Malformed(f"{type(error).__name__}: {error}") from error


def effect(store: sqlite3.Connection, event: Event) -> None:
    """What this consumer is for. Raises if the event cannot be applied."""
    status = event.data["status"]
    store.execute("INSERT INTO effect (event, type, subject) VALUES (?, ?, ?)", (event.id, event.type, event.subject))
    # A replay, or another copy of this program, may bring an event after a later one of its subject: what is known then stays.
    store.execute(
        "INSERT INTO subject VALUES (?, ?, ?) ON CONFLICT (subject) DO UPDATE SET sequence = excluded.sequence, type = excluded.type "
        "WHERE subject.sequence < excluded.sequence",
        (event.subject, event.sequence, f"{event.type} {status}"),
    )


def apply(store: sqlite3.Connection, events: Iterable[Event]) -> None:
    """The effects of events and their ids, all or none; nothing for an event that was applied before."""
    store.execute("BEGIN IMMEDIATE")
    try:
        for event in events:
            if store.execute("INSERT OR IGNORE INTO applied VALUES (?, ?)", (event.id, event.sequence)).rowcount:
                effect(store, event)
                if int(event.sequence) % 1000 == 0:
                    store.execute("DELETE FROM applied WHERE sequence < ?", (f"{int(event.sequence) - KEPT:020d}",))
        store.execute("COMMIT")
    except BaseException:
        store.execute("ROLLBACK")
        raise


class Consumer:
    """One copy of the program, under a name of its own."""

    def __init__(self, client: redis.Redis, store: sqlite3.Connection, name: str) -> None:
        self.client, self.store, self.name = client, store, name

    def run(self) -> None:
        """Until the connection is lost or the group is gone."""
        self.join()
        self.own()
        due = 0.0
        while True:
            if time.monotonic() >= due:
                self.take_over()
                due = time.monotonic() + IDLE / 1000
            self.notice_trimming()
            found = self.client.xreadgroup(
                GROUP, self.name, {STREAM: ">", REPLAYS: ">"}, count=BATCH, block=BLOCK, noack=False
            )
            for stream, entries in found or []:
                if not self.handle(stream, entries):
                    time.sleep(0.1)
                    self.own()

    def join(self) -> None:
        """Make the group. From 0: it gets what the stream still has. After Redis was emptied, it gets what comes."""
        for stream in (STREAM, REPLAYS):
            try:
                self.client.xgroup_create(stream, GROUP, id="0", mkstream=True)
            except redis.ResponseError as error:
                if "BUSYGROUP" not in str(error):
                    raise

    def own(self) -> None:
        """What this consumer got before it crashed and has not acknowledged. Entries that cannot be applied yet are tried again until they can."""
        for stream in (STREAM, REPLAYS):
            after = "0"
            while True:
                ((_, entries),) = self.client.xreadgroup(GROUP, self.name, {stream: after}, count=BATCH)
                if not entries:
                    break
                if self.handle(stream, entries):
                    after = entries[-1][0]
                else:
                    time.sleep(0.5)

    def take_over(self) -> None:
        """What a consumer that has ended for good has left."""
        for stream in (STREAM, REPLAYS):
            start = "0-0"
            while True:
                start, entries, *_ = self.client.xautoclaim(stream, GROUP, self.name, IDLE, start, count=BATCH)
                if not self.handle(stream, entries):
                    break  # it is this consumer's own now
                if start == "0-0":
                    break

    def handle(self, stream: str, entries: Entries) -> bool:
        """Apply entries and acknowledge them, which is the last step: a crash before it brings them again. False if some have to be tried again."""
        events, done, all_done = list[Event](), list[str](), True
        for entry, fields in entries:
            done.append(entry)
            if not fields:
                continue  # delivered, and trimmed before it was acknowledged
            try:
                events.append(event_of(fields))
            except Malformed as error:
                self.put_aside(stream, entry, str(error))
        try:
            apply(self.store, events)
        except Exception:  # noqa: BLE001 - whatever `effect` raises: find out which event it is
            done, all_done = self.one_by_one(stream, entries)
        if done:
            self.client.xack(stream, GROUP, *done)
        return all_done

    def one_by_one(self, stream: str, entries: Entries) -> tuple[list[str], bool]:
        """The entries that need not come again, and whether these are all."""
        done, all_done = list[str](), True
        for entry, fields in entries:
            try:
                if fields:
                    apply(self.store, [event_of(fields)])
            except Malformed:
                pass  # put aside already
            except Exception as error:  # noqa: BLE001 - whatever `effect` raises
                (found,) = self.client.xpending_range(stream, GROUP, entry, entry, 1)
                if found["times_delivered"] < ATTEMPTS or isinstance(error, sqlite3.OperationalError):
                    all_done = False
                    continue
                self.put_aside(stream, entry, f"{type(error).__name__}: {error}")
            done.append(entry)
        return done, all_done

    def put_aside(self, stream: str, entry: str, reason: str) -> None:
        self.store.execute("INSERT OR IGNORE INTO dead VALUES (?, ?, ?)", (stream, entry, reason))

    def notice_trimming(self) -> None:
        """Write down what may have been deleted unread. Numbers of events that go to other places are in such a gap too."""
        (group,) = [one for one in self.client.xinfo_groups(STREAM) if one["name"] == GROUP]
        oldest = self.client.xinfo_stream(STREAM)["first-entry"]
        reached = int(group["last-delivered-id"].partition("-")[0])
        first = int(oldest[0].partition("-")[0]) if oldest else 0
        if reached and first > reached + 1:
            known = self.store.execute("INSERT OR IGNORE INTO missed VALUES (?, ?)", (reached + 1, first - 1)).rowcount
            if known:
                print(f"events {reached + 1} to {first - 1} were trimmed unread: ask for a replay", file=sys.stderr)


def main(url: str, path: str, name: str = "1") -> None:
    store = sqlite3.connect(path, isolation_level=None, timeout=5.0)
    store.execute("PRAGMA journal_mode = WAL")
    store.executescript(TABLES)
    client = redis.Redis.from_url(url, decode_responses=True, socket_timeout=BLOCK / 1000 + 5, socket_connect_timeout=5)
    while True:
        try:
            Consumer(client, store, name).run()
        except redis.RedisError as error:  # not there, or it loads its data, or it was emptied and the group is gone
            print(f"connecting again: {type(error).__name__}", file=sys.stderr)
        time.sleep(1.0)


if __name__ == "__main__":
    main(*sys.argv[1:])
