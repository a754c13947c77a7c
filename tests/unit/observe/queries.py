"""Which metrics and labels a query of Prometheus names."""

import re
from collections.abc import Iterator

from beat_actors.observe.families import FAMILIES, Family

NAME = re.compile(r"\b(beat[a-z0-9_]*(?::[a-z0-9_:]+)?)(\{[^}]*\})?")
GROUPED = re.compile(r"\b(?:by|on|without|ignoring) \(([^)]*)\)")
LABEL = re.compile(r"([a-z_]+)\s*(?:=~|!~|!=|=)\s*\"")
TEXT = re.compile(r'"(?:[^"\\]|\\.)*"')
PARTS = ("_bucket", "_sum", "_count")


def family_of(name: str) -> Family | None:
    """The family of a series of this name."""
    for part in PARTS:
        whole = name.removesuffix(part)
        if whole != name and whole in FAMILIES and FAMILIES[whole].kind == "histogram":
            return FAMILIES[whole]
    found = FAMILIES.get(name)
    return None if found is not None and found.kind == "histogram" else found


def labels_of(name: str) -> set[str]:
    family = family_of(name)
    assert family is not None
    return {*family.labels} | ({"le"} if name.endswith("_bucket") else set())


def faults(query: str, recorded: dict[str, str]) -> Iterator[str]:
    """What of a query does not exist. `recorded`: the query of each recorded series."""
    known = set[str]()
    for name, selector in NAME.findall(query):
        if name in recorded:
            known |= _labels_in(recorded[name], recorded)
            continue
        if family_of(name) is None:
            yield f"there is no metric {name}"
            continue
        known |= labels_of(name)
        yield from (f"{name} has no label {label}" for label in LABEL.findall(selector) if label not in labels_of(name))
    for labels in GROUPED.findall(TEXT.sub('""', query)):
        for label in filter(None, (one.strip() for one in labels.split(","))):
            if label not in known:
                yield f"no metric of the query has the label {label}"


def _labels_in(query: str, recorded: dict[str, str]) -> set[str]:
    """The labels by which a recorded query groups."""
    return {one.strip() for labels in GROUPED.findall(query) for one in labels.split(",")} - {""}
