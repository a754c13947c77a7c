"""Sums as text: the format of Prometheus 0.0.4, or OpenMetrics 1.0. Pure.

Histograms have classic buckets. Native histograms exist in neither text format; a scraper can make them of classic ones
(`convert_classic_histograms_to_nhcb`).
"""

from collections.abc import Iterable, Iterator

from beat_actors.observe.counts import Sum, cumulative
from beat_actors.observe.families import FAMILIES, Family

PLAIN = "text/plain; version=0.0.4; charset=utf-8"
OPEN = "application/openmetrics-text; version=1.0.0; charset=utf-8"
ESCAPED = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})


def content_type(accept: str | None) -> str:
    """The format that a caller's Accept asks for."""
    return OPEN if "application/openmetrics-text" in (accept or "") else PLAIN


def exposition(sums: Iterable[Sum], media: str) -> str:
    """All families that this release knows, in the order of their declaration. Of a family without a value only its type is written."""
    by_name: dict[str, list[Sum]] = {}
    for one in sums:
        by_name.setdefault(one.name, []).append(one)
    lines: list[str] = []
    for family in FAMILIES.values():
        lines += _family(family, by_name.get(family.name, []), is_open=media == OPEN)
    if media == OPEN:
        lines.append("# EOF")
    return "\n".join(lines) + "\n"


def _family(family: Family, sums: list[Sum], *, is_open: bool) -> Iterator[str]:
    name = family.name.removesuffix("_total") if is_open and family.kind == "counter" else family.name
    yield f"# HELP {name} {family.told}"
    yield f"# TYPE {name} {family.kind}"
    if is_open and name.endswith("_seconds"):
        yield f"# UNIT {name} seconds"
    for one in sorted(sums, key=lambda one: one.labels):
        if len(one.labels) != len(family.labels):
            continue  # another release had other labels
        labels = [f'{key}="{value.translate(ESCAPED)}"' for key, value in zip(family.labels, one.labels, strict=True)]
        if family.kind == "histogram":
            yield from _histogram(family, labels, one)
        else:
            yield f"{family.name}{_braced(labels)} {_number(one.value)}"


def _histogram(family: Family, labels: list[str], one: Sum) -> Iterator[str]:
    counts = cumulative(family.bounds, one.buckets or {})
    for bound, count in zip([*map(repr, family.bounds), "+Inf"], counts, strict=True):
        le = f'le="{bound}"'
        yield f"{family.name}_bucket{_braced([*labels, le])} {count}"
    yield f"{family.name}_sum{_braced(labels)} {_number(one.value)}"
    yield f"{family.name}_count{_braced(labels)} {counts[-1]}"


def _braced(labels: list[str]) -> str:
    return f"{{{','.join(labels)}}}" if labels else ""


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(value)
