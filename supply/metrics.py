"""`python -m supply.metrics` writes docs/metrics.md from the declarations of the metrics; `--check` fails where the page is another."""

import sys
from collections.abc import Iterator

from beat_actors.observe.families import FAMILIES, ORIGINS, Family
from supply.lock import ROOT

PAGE = ROOT / "docs" / "metrics.md"
HEAD = """# Metrics

This page is generated from `beat_actors/observe/families.py` (`python -m supply.metrics`). [operations.md](operations.md#metrics) says how to scrape
them, and which rules and dashboards there are.

`GET /metrics` answers for the whole installation, whichever process of the API is asked. The names follow the conventions of Prometheus: base units, and
`_total` for counters. No label holds a handle, an id, a key or a text of a provider. No counter decreases while the database lives, whichever
processes die; after the database was restored from a backup, counters may begin lower, which Prometheus takes for a restart.

The format is the text format of Prometheus 0.0.4. With `Accept: application/openmetrics-text` it is OpenMetrics 1.0, which Prometheus asks for.
Histograms have classic buckets. Neither text format has native histograms; Prometheus 3 makes them of classic ones if
`convert_classic_histograms_to_nhcb` is set.
"""


def page() -> str:
    """The page."""
    return HEAD + "".join(
        _section(told, [one for one in FAMILIES.values() if one.origin == origin]) for origin, told in ORIGINS.items()
    )


def _section(told: str, families: list[Family]) -> str:
    return "\n".join(
        [
            "",
            f"## {_title(families[0])}",
            "",
            told,
            "",
            "| metric | type | labels | meaning |",
            "|---|---|---|---|",
            *_rows(families),
            "",
        ]
    )


def _title(family: Family) -> str:
    return {
        "processes": "Counted by processes",
        "cycles": "Counted by dispatch cycles",
        "events": "Counted from the log of events",
        "traces": "Counted by the exporter of traces",
        "state": "Measured by the scheduler",
        "rows": "Read from rows",
    }[family.origin]


def _rows(families: list[Family]) -> Iterator[str]:
    for one in families:
        labels = ", ".join(f"`{label}`" for label in one.labels)
        yield f"| `{one.name}` | {one.kind} | {labels} | {one.told} |"


def main() -> int:
    made = page()
    if "--check" not in sys.argv:
        PAGE.write_text(made)
        return 0
    if not PAGE.exists() or PAGE.read_text() != made:
        print("docs/metrics.md is not what the metrics declare: python -m supply.metrics", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
