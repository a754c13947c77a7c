"""What publishing costs the scrapes: `make publishing`.

The whole engine of `bench.engine` makes the same scrapes without a publisher, beside a publisher whose sink is up, and beside one whose sink is down, in
turn. The sinks that are up are the stream of the same Valkey that carries the work and, where BEAT_TEST_RABBITMQ names a `rabbitmq-server`, a quorum
queue. The sinks that are down are a port where nobody listens and, with RabbitMQ, the same node while it is frozen.

The publisher, PostgreSQL and RabbitMQ have their CPU time from the same cores as the workers, so rates compare the machine as a whole. The CPU time of the
workers and of PostgreSQL says what the scrapes themselves cost; PostgreSQL's has the publisher's reading of the log in it.
"""

import argparse
import asyncio
import contextlib
import json
import logging
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import psutil
import psycopg
import structlog
from psycopg import sql

from beat_actors.database import migrate
from beat_actors.local.home import Home, temporary_home
from beat_actors.local.servers import PostgresServer, ValkeyServer, running
from bench import engine
from bench.beat import TIMES
from bench.contender import RunFailed, handle
from bench.events import EXCHANGE, flushed, queue_on, settled
from bench.meter import Meter
from bench.upstream import upstream
from tests import rabbitmq

HANDLES = 2000
TEMPLATE, DATABASE, SINK = "template_beat", "bench", "bench"
DRAINED = 60.0
"""Seconds until a publisher has sent what was accepted, or says that its sink is down."""
STATE = "SELECT seq, trouble FROM event_sink WHERE name = %s AND holder IS NOT NULL"
LAST = "SELECT count(*) FROM event"
NONE, UP, DOWN = "no publisher", "sink up", "sink down"


@dataclass(frozen=True)
class Mode:
    """`url`: of the sink; empty without a publisher. `node`: RabbitMQ, which is frozen where the sink is down."""

    name: str
    url: str = ""
    down: bool = False
    node: rabbitmq.RabbitMQ | None = None


class Cost(NamedTuple):
    """Of one run: scrapes a second, milliseconds of CPU time a scrape of the workers, of PostgreSQL and of the publisher."""

    rate: float
    workers: float
    postgres: float
    publisher: float


@dataclass(frozen=True)
class Bench:
    postgres: PostgresServer
    valkey: ValkeyServer
    upstream_url: str
    server: psutil.Process
    count: int

    def run(self, mode: Mode) -> Cost:
        """Raises `RunFailed` for scrapes that fail, and for a sink that is not as the mode says."""
        flushed(self.valkey)
        setup = engine.Setup(self.postgres.url_of(DATABASE), self.valkey.url, self.upstream_url)
        with (
            self._database(),
            psycopg.connect(setup.database_url, autocommit=True) as connection,
            frozen(mode),
            publishing(setup, mode) as publisher,
        ):
            asyncio.run(engine.prepare(setup, [handle(n) for n in range(HANDLES)], self.count))
            if publisher:
                settle(connection, mode)
            before, used = settled(self.server), _cpu(publisher)
            with Meter() as meter, engine.working(setup):
                engine.until_done(connection)
                postgres, publishers = settled(self.server) - before, _cpu(publisher) - used
            started, ended = connection.execute(TIMES).fetchone() or (0.0, 0.0)
            if publisher:
                settle(connection, mode)
            return Cost(
                self.count / (ended - started),
                meter.cpu(started, ended) * 1000 / self.count,
                postgres * 1000 / self.count,
                publishers * 1000 / self.count,
            )

    @contextmanager
    def _database(self) -> Iterator[None]:
        """A fresh one for each run."""
        with psycopg.connect(self.postgres.url_of("postgres"), autocommit=True) as admin:
            name, template = sql.Identifier(DATABASE), sql.Identifier(TEMPLATE)
            admin.execute(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(name, template))
            try:
                yield
            finally:
                admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(name))
                admin.execute("CHECKPOINT")


@contextmanager
def rabbit(home: Home) -> Iterator[rabbitmq.RabbitMQ | None]:
    binary = os.environ.get("BEAT_TEST_RABBITMQ")
    if not binary:
        yield None
        return
    with rabbitmq.running(home, Path(binary)) as node:
        yield node


@contextmanager
def frozen(mode: Mode) -> Iterator[None]:
    if mode.node is None or not mode.down:
        yield
        return
    mode.node.freeze()
    try:
        yield
    finally:
        mode.node.thaw()


@contextmanager
def publishing(setup: engine.Setup, mode: Mode) -> Iterator[subprocess.Popen[bytes] | None]:
    """A publisher in a process of its own, as in production."""
    if not mode.url:
        yield None
        return
    sinks = {SINK: {"url": mode.url, "begin": "start"}}
    env = {**setup.env(), "BEAT_EVENT_SINKS": json.dumps(sinks)}
    process = subprocess.Popen(
        (sys.executable, "-m", "actors.publish"),
        env=env,
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield process
    finally:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(30)
        process.kill()


def settle(connection: psycopg.Connection, mode: Mode) -> None:
    """Wait until a sink that is up has all events, and one that is down is known to be. Raises `RunFailed`."""
    (last,) = connection.execute(LAST).fetchone() or (0,)
    ends, found = time.monotonic() + DRAINED, None
    while time.monotonic() < ends:
        found = connection.execute(STATE, (SINK,)).fetchone()
        if found and (found == (0, "unreachable") if mode.down else found == (last, None)):
            return
        time.sleep(0.1)
    raise RunFailed(f"{mode.name}: the sink is at {found} of {last} events")


def _cpu(process: subprocess.Popen[bytes] | None) -> float:
    if process is None:
        return 0.0
    times = psutil.Process(process.pid).cpu_times()
    return float(times.user + times.system)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.publishing", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--count", type=int, default=3000, help="scrapes in each run (default: 3000)")
    parser.add_argument("--rounds", type=int, default=5, help="runs of each, in turn (default: 5)")
    options = parser.parse_args(arguments)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    with temporary_home() as home, rabbit(home) as node:
        postgres, valkey, answers = PostgresServer.at(home), ValkeyServer.at(home), upstream(home, HANDLES)
        modes = [Mode(NONE), Mode(UP, "redis:"), Mode(DOWN, f"redis://127.0.0.1:{home.port('nobody')}", down=True)]
        if node is not None:
            asyncio.run(queue_on(node))
            url = f"{node.url()}?exchange={EXCHANGE}"
            modes += [Mode(f"{UP}, RabbitMQ", url), Mode(f"{DOWN}, RabbitMQ", url, down=True, node=node)]
        with running(home, postgres, valkey, answers):
            with psycopg.connect(postgres.url_of("postgres"), autocommit=True) as admin:
                admin.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(TEMPLATE)))
                server = psutil.Process(admin.info.backend_pid).parent()
                assert server is not None, "a server on this machine"
            migrate.upgrade(postgres.url_of(TEMPLATE))
            bench = Bench(postgres, valkey, f"http://127.0.0.1:{answers.port}", server, options.count)
            costs: dict[str, list[Cost]] = {mode.name: [] for mode in modes}
            for number in range(options.rounds):
                for mode in modes if number % 2 == 0 else modes[::-1]:
                    costs[mode.name].append(cost := bench.run(mode))
                    print(f"{number + 1}: {line(mode.name, cost)}", flush=True)
    report(costs)


def line(name: str, cost: Cost) -> str:
    return (
        f"{name:20} {cost.rate:6.0f} scrapes/s, CPU a scrape: workers {cost.workers:.2f} ms, "
        f"PostgreSQL {cost.postgres:.2f} ms, publisher {cost.publisher:.2f} ms"
    )


def report(costs: dict[str, list[Cost]]) -> None:
    print("medians:")
    for name, of in costs.items():
        print(line(name, Cost(*(statistics.median(values) for values in zip(*of, strict=True)))))
    bases = {name: NONE if name.startswith(UP) else name.replace(DOWN, UP) for name in costs if name != NONE}
    for name, base in bases.items():
        pairs = list(zip(costs[name], costs[base], strict=True))
        rate = statistics.median(one.rate / other.rate for one, other in pairs)
        cpu = statistics.median((one.workers + one.postgres) / (other.workers + other.postgres) for one, other in pairs)
        print(f"ratio {name}/{base} {rate:.2f} (scrapes/s), {cpu:.2f} (CPU of workers and PostgreSQL)")


if __name__ == "__main__":
    main()
