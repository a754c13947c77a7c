"""What the processes of a stack logged since some moment."""

import contextlib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

ERROR_FIELDS = ("service", "event", "logger", "message", "error", "exception")
LONGEST = 300
"""Characters of an error."""


@dataclass(frozen=True, slots=True)
class Mark:
    """Where each log ended when a run began."""

    ends: Mapping[Path, int]


def marked(directory: Path) -> Mark:
    """The ends of the logs in this directory."""
    return Mark({log: log.stat().st_size for log in directory.glob("*.log")})


def logged(directory: Path, event: str, since: Mark) -> list[dict[str, Any]]:
    """The lines of this event that any process wrote since then."""
    return [line for line in _lines(directory, since, event.encode()) if line.get("event") == event]


def errors(directory: Path, since: Mark) -> list[str]:
    """What processes logged as errors since then: each kind once, the most frequent one first."""
    kinds = Counter(
        " ".join(str(line[name]) for name in ERROR_FIELDS if name in line)[:LONGEST]
        for line in _lines(directory, since, b'"level"')
        if line.get("level") in ("error", "critical")
    )
    return [f"{count} x {kind}" for kind, count in kinds.most_common()]


def _lines(directory: Path, since: Mark, part: bytes) -> Iterator[dict[str, Any]]:
    """The lines of JSON that contain the part."""
    for log in sorted(directory.glob("*.log")):
        with log.open("rb") as file:
            file.seek(since.ends.get(log, 0))
            for text in file:
                if part in text:
                    with contextlib.suppress(msgspec.DecodeError):
                        line = msgspec.json.decode(text)
                        if isinstance(line, dict):
                            yield line
