"""How pages for operators say numbers, lists and spans of time. It loads nothing: the command line uses it over the API, too."""

import re
from collections.abc import Sequence
from datetime import timedelta

COMMAND = re.compile(r"`(beat [^`]+)`")


def command_in(text: str) -> str | None:
    """The first command of Beat that a text names."""
    found = COMMAND.search(text)
    return found[1] if found else None


def listed(names: Sequence[str]) -> str:
    """The first four of these, and how many there are more."""
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")


def number(count: int, noun: str) -> str:
    """So many of these: 1 request, 1,000 requests."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def lasting(span: timedelta) -> str:
    """How long, in one unit."""
    seconds = max(span.total_seconds(), 0.0)
    for least, size, unit in ((172_800, 86_400, "d"), (7200, 3600, "h"), (120, 60, "min")):
        if seconds >= least:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
