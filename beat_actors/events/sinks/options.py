"""The options of a place, read strictly: a name that the sink does not know is an error, so that a misspelt limit is not ignored."""

import re
from collections.abc import Collection
from urllib.parse import SplitResult, urlsplit, urlunsplit

from beat_actors.errors import BadSettings
from beat_actors.events.sink import Place

SIZES = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "ki": 2**10, "mi": 2**20, "gi": 2**30}
_SIZE = re.compile(r"(\d{1,15})\s*([kmg]i?)?b?", re.IGNORECASE)


class Options:
    """The options of a place and its URL without them. Raises `BadSettings` for a name that is not in `known`."""

    def __init__(self, place: Place, known: Collection[str]) -> None:
        self._options = place.options
        unknown = sorted(set(place.options) - set(known))
        if unknown:
            raise BadSettings(f"unknown option {unknown[0]!r}; there is: {', '.join(sorted(known)) or 'none'}")
        try:
            parts = urlsplit(place.url)
            _ = parts.port  # raises for a port that is no number
        except ValueError:
            raise BadSettings("the URL cannot be read: the host or the port is wrong") from None
        self.parts: SplitResult = parts._replace(query="", fragment="")

    @property
    def url(self) -> str:
        return urlunsplit(self.parts)

    def text(self, name: str, default: str, *, pattern: str = r"\S{1,200}") -> str:
        """Raises `BadSettings` for a value that the whole pattern does not match."""
        value = self._options.get(name, default)
        if re.fullmatch(pattern, value) is None:
            raise BadSettings(f"the option {name!r} has a value that cannot be used")
        return value

    def number(self, name: str, default: int, *, least: int, most: int) -> int:
        """Raises `BadSettings` for what is no whole number from `least` to `most`."""
        value = self._options.get(name)
        if value is None:
            return default
        if not value.isascii() or not value.isdigit() or len(value) > 15 or not least <= int(value) <= most:
            raise BadSettings(f"the option {name!r} is not a whole number from {least} to {most}")
        return int(value)

    def size(self, name: str, *, least: int) -> int | None:
        """Bytes of `64000000`, `64MB` or `64MiB`; None where the option is not set. Raises `BadSettings` for less than `least`."""
        value = self._options.get(name)
        if value is None:
            return None
        found = _SIZE.fullmatch(value)
        size = int(found[1]) * SIZES[(found[2] or "").lower()] if found else 0
        if size < least:
            raise BadSettings(f"the option {name!r} is not a size of at least {least} bytes, such as 64MB")
        return size
