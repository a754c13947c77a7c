"""Beat compared with common alternatives: `make bench`.

All contenders do the same work (bench/contender.py says what, and what is timed) against the same PostgreSQL, Valkey and upstream on this
machine, in turns: a round is one run of each, and a figure is the median of the rounds. Prints a table and a line for each ratio, and
writes bench/results.json, of which bench/chart.py draws a picture.

CPU is that of the contender's processes while the clock runs, the servers apart; memory the highest sum of their resident sets. Bytes in
PostgreSQL: by how much the database grew. Bytes in Valkey: what was sent to it.
"""

import argparse
import json
import statistics
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass

import psycopg
import redis
from psycopg import sql

from beat_actors.local.home import temporary_home
from beat_actors.local.servers import PostgresServer, ValkeyServer, running
from bench.beat import Beat
from bench.chart import RESULTS
from bench.contender import Contender, RunFailed, World, check
from bench.meter import Meter
from bench.peer import PEERS
from bench.upstream import upstream

CONTENDERS: tuple[Contender, ...] = (Beat(), *PEERS)
HEAD = f"{'':22}{'scrapes/s':>10}{'min..max':>14}{'CPU ms':>9}{'MB':>7}{'Valkey B':>10}{'PostgreSQL B':>14}"


@dataclass(frozen=True)
class Figures:
    """One run. CPU milliseconds and bytes are for each scrape, megabytes are a peak."""

    scrapes_per_second: float
    cpu_ms: float
    memory_mb: float
    valkey_bytes: float
    postgres_bytes: float


class Arena:
    """The servers that all share, and a world for each run."""

    def __init__(self, postgres: PostgresServer, valkey: ValkeyServer, upstream_url: str) -> None:
        self._postgres = postgres
        self._valkey = valkey
        self._upstream_url = upstream_url
        self._templates: set[str] = set()

    def run(self, contender: Contender, count: int) -> Figures:
        """Raises `RunFailed`."""
        with self._database(contender) as database_url, redis.Redis.from_url(self._valkey.url) as valkey:
            valkey.flushall()
            received, size = _received(valkey), _size(database_url)
            with Meter() as meter:
                result = contender.run(World(database_url, self._valkey.url, self._upstream_url), count)
            check(result.written, count)
            return Figures(
                scrapes_per_second=count / (result.ended - result.started),
                cpu_ms=meter.cpu(result.started, result.ended) * 1000 / count,
                memory_mb=meter.peak / 1e6,
                valkey_bytes=(_received(valkey) - received) / count,
                postgres_bytes=(_size(database_url) - size) / count,
            )

    @contextmanager
    def _database(self, contender: Contender) -> Iterator[str]:
        """A fresh copy of the contender's template."""
        template, name = sql.Identifier(f"template_{contender.schema}"), sql.Identifier("bench")
        with psycopg.connect(self._postgres.url_of("postgres"), autocommit=True) as admin:
            if contender.schema not in self._templates:
                admin.execute(sql.SQL("CREATE DATABASE {}").format(template))
                contender.create_schema(self._postgres.url_of(f"template_{contender.schema}"))
                self._templates.add(contender.schema)
            admin.execute(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(name, template))
            try:
                yield self._postgres.url_of("bench")
            finally:
                admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(name))
                # What the last run left to write must not slow the next one.
                admin.execute("CHECKPOINT")


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    chosen = [each for each in CONTENDERS if not options.only or each.name in options.only]
    counts = {each.name: options.count or each.count for each in chosen}
    figures: dict[str, list[Figures]] = {each.name: [] for each in chosen}
    failed = False
    with temporary_home() as home:
        postgres, valkey, answers = PostgresServer.at(home), ValkeyServer.at(home), upstream(home, max(counts.values()))
        with running(home, postgres, valkey, answers):
            print(f"upstream: {answers.name}; rounds: {options.rounds}", flush=True)
            arena = Arena(postgres, valkey, f"http://127.0.0.1:{answers.port}")
            for number in range(options.rounds):
                for contender in chosen:
                    try:
                        one = arena.run(contender, counts[contender.name])
                    except RunFailed as error:
                        print(f"round {number + 1}  {contender.name:22} FAILED: {error}", flush=True)
                        failed = True
                        continue
                    figures[contender.name].append(one)
                    print(f"round {number + 1}  {contender.name:22}{one.scrapes_per_second:8.0f}/s", flush=True)
    medians = {name: _median(runs) for name, runs in figures.items() if runs}
    _print(figures, medians)
    RESULTS.write_text(json.dumps(_report(answers.name, counts, figures, medians), indent=1))
    return int(failed)


def _print(figures: dict[str, list[Figures]], medians: dict[str, Figures]) -> None:
    print(f"\n{HEAD}")
    for name, median in medians.items():
        rates = [run.scrapes_per_second for run in figures[name]]
        print(
            f"{name:22}{median.scrapes_per_second:10.0f}{f'{min(rates):.0f}..{max(rates):.0f}':>14}{median.cpu_ms:9.2f}"
            f"{median.memory_mb:7.0f}{median.valkey_bytes:10.0f}{median.postgres_bytes:14.0f}"
        )
    for name, median in medians.items():
        if "beat" in medians and name != "beat":
            print(f"ratio beat/{name} {medians['beat'].scrapes_per_second / median.scrapes_per_second:.2f}")


def _report(
    upstream_name: str, counts: dict[str, int], figures: dict[str, list[Figures]], medians: dict[str, Figures]
) -> dict[str, object]:
    contenders = {
        name: {"count": counts[name], "median": asdict(median), "runs": [asdict(run) for run in figures[name]]}
        for name, median in medians.items()
    }
    return {"upstream": upstream_name, "contenders": contenders}


def _median(runs: Sequence[Figures]) -> Figures:
    return Figures(*(statistics.median(values) for values in zip(*(asdict(run).values() for run in runs), strict=True)))


def _received(valkey: redis.Redis) -> int:
    return int(valkey.info("stats")["total_net_input_bytes"])


def _size(database_url: str) -> int:
    with psycopg.connect(database_url) as connection:
        row = connection.execute("SELECT pg_database_size(current_database())").fetchone()
    assert row is not None
    return int(row[0])


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.compare", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5, help="runs of each contender (default: 5)")
    parser.add_argument("--count", type=int, help="scrapes in each run; default: what takes each some seconds")
    parser.add_argument("--only", type=lambda text: text.split(","), help="names, with commas between them")
    options = parser.parse_args(arguments)
    unknown = set(options.only or ()) - {each.name for each in CONTENDERS}
    if unknown:
        parser.error(
            f"no such contender: {', '.join(sorted(unknown))}; there are {', '.join(each.name for each in CONTENDERS)}"
        )
    return options


if __name__ == "__main__":
    sys.exit(main())
