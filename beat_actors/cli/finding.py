"""What `beat doctor` finds."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """`mend` is what to do; empty where all is well."""

    check: str
    said: str
    mend: str = ""
