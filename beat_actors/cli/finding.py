"""A finding of `beat doctor`."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """`found`: the state of what was checked. `fix`: what to do; empty if nothing is wrong."""

    check: str
    found: str
    fix: str = ""
