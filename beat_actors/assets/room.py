"""How many uploads a process may have in flight: as many as it is allowed, and as its descriptors suffice for."""

import resource
from typing import NamedTuple

SPARE = 256
"""Descriptors for all else: the database, Redis, files."""
LEAST = 8


class Room(NamedTuple):
    """`uploads` in flight, with `puts` connections to the bucket, and `idle` connections to origins that are kept for a while. `lowered`: descriptors allow no more uploads; None where they suffice."""

    uploads: int
    puts: int
    idle: int
    lowered: str | None


def room(wanted: int, descriptors: int) -> Room:
    """An upload has one connection at a time: to its origin, then to the bucket. Pure."""
    puts = max(LEAST, min(512, wanted, descriptors // 8))
    idle = max(LEAST, min(512, descriptors // 16))
    most = max(LEAST, descriptors - SPARE - puts - idle)
    if most >= wanted:
        return Room(wanted, puts, idle, None)
    said = f"this process may open {descriptors} files (ulimit -n), so it has {most} uploads in flight and not {wanted}"
    return Room(most, puts, idle, said)


def descriptors() -> int:
    """How many descriptors this process may open, once it allowed itself all that the system allows it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY:
        hard = 1 << 20
    if soft < hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        except (OSError, ValueError):
            return soft
    return hard
