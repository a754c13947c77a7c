"""Draws docs/performance.svg from bench/results.json: `python -m bench.chart`. A bar is a median, the line on it the slowest to the fastest run."""

import json
from collections.abc import Iterator, Mapping
from html import escape
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results.json"
"""Written by bench/compare.py."""
CHART = Path(__file__).parent.parent / "docs" / "performance.svg"
WIDTH, ROW, BAR, TOP = 760, 36, 20, 56
LABEL, VALUE = 180, 190
"""Pixels left of the bars for names, and right of them for figures."""
BEAT, OTHER = "#2563eb", "#94a3b8"


def draw(report: Mapping[str, Any]) -> str:
    """`report`: what `bench.compare` writes. The fastest comes first."""
    contenders = report["contenders"]
    ordered = sorted(contenders.items(), key=lambda item: -item[1]["median"]["scrapes_per_second"])
    most = max(run["scrapes_per_second"] for _, each in ordered for run in each["runs"])
    height = TOP + ROW * len(ordered) + 12
    return "\n".join(
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}" '
            'font-family="system-ui, sans-serif" font-size="13" fill="#1e293b">',
            f'<rect width="{WIDTH}" height="{height}" rx="8" fill="#ffffff"/>',
            '<text x="16" y="24" font-size="15" font-weight="600">Scrapes a second, and CPU for each</text>',
            f'<text x="16" y="42" font-size="11" fill="#64748b">higher is better; upstream: {escape(report["upstream"])}</text>',
            *(line for place, (name, each) in enumerate(ordered) for line in _row(place, name, each, most)),
            "</svg>\n",
        )
    )


def _row(place: int, name: str, each: Mapping[str, Any], most: float) -> Iterator[str]:
    scale = (WIDTH - LABEL - VALUE) / most
    median, rates = each["median"], [run["scrapes_per_second"] for run in each["runs"]]
    top = TOP + ROW * place
    middle = top + BAR / 2
    rate, low, high = median["scrapes_per_second"], LABEL + min(rates) * scale, LABEL + max(rates) * scale
    weight = ' font-weight="600"' if name == "beat" else ""
    yield f'<text x="{LABEL - 10}" y="{middle + 4}" text-anchor="end"{weight}>{escape(name)}</text>'
    colour = BEAT if name == "beat" else OTHER
    yield f'<rect x="{LABEL}" y="{top}" width="{rate * scale:.1f}" height="{BAR}" rx="3" fill="{colour}"/>'
    yield f'<path d="M{low:.1f} {middle}H{high:.1f}M{low:.1f} {middle - 4}v8M{high:.1f} {middle - 4}v8" stroke="#0f172a" fill="none"/>'
    yield f'<text x="{high + 10:.1f}" y="{middle + 4}"{weight}>{rate:,.0f}/s · {median["cpu_ms"]:.2f} ms CPU</text>'


def main() -> None:
    CHART.write_text(draw(json.loads(RESULTS.read_text())))
    print(CHART)


if __name__ == "__main__":
    main()
