"""The metrics as Prometheus' own parser reads them."""

from collections.abc import Iterator
from typing import Any

from prometheus_client import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_open
from prometheus_client.parser import text_string_to_metric_families as read_plain

from beat_actors.database import Database
from beat_actors.observe.exposition import OPEN, PLAIN, exposition
from beat_actors.observe.metrics import read
from beat_actors.platforms.interface import Outcome

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]
"""By name and labels."""


async def scrape(database: Database, media: str = PLAIN) -> str:
    """The metrics now, and not what was read before."""
    return exposition(await read(database), media)


def families(text: str, media: str = PLAIN) -> list[Metric]:
    return list((read_open if media == OPEN else read_plain)(text))


def samples(text: str, media: str = PLAIN) -> Samples:
    return {
        (one.name, tuple(sorted(one.labels.items()))): one.value
        for family in families(text, media)
        for one in family.samples
    }


def of(found: Samples, name: str, **labels: str) -> float:
    """The sum of the samples with this name and at least these labels."""
    wanted = labels.items()
    return sum(value for (known, pairs), value in found.items() if known == name and wanted <= dict(pairs).items())


def counters(text: str) -> Iterator[tuple[Any, float]]:
    """The samples that must never decrease."""
    for family in families(text):
        if family.type in ("counter", "histogram"):
            for one in family.samples:
                yield (one.name, tuple(sorted(one.labels.items()))), one.value


def decreased(before: str, after: str) -> list[Any]:
    """The counters that are lower after than before, or gone."""
    now = dict(counters(after))
    return [key for key, value in counters(before) if now.get(key, -1.0) < value]


NOT_SENT = {Outcome.UNREACHED.value}
