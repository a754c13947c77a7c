"""The headers of calls to the collector, in the form of OTEL_EXPORTER_OTLP_HEADERS. Pure."""

import re
from urllib.parse import unquote

NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,200}")
OWN = frozenset({"content-type", "content-encoding", "content-length", "host"})
"""Headers that the exporter sets itself."""


def headers_of(text: str) -> dict[str, str]:
    """Headers by name. Raises `ValueError`, without quoting any value."""
    found: dict[str, str] = {}
    for position, item in enumerate(part.strip() for part in text.split(",") if part.strip()):
        name, equals, value = item.partition("=")
        name, value = name.strip(), unquote(value.strip())
        if not equals or NAME.fullmatch(name) is None or name.lower() in OWN:
            raise ValueError(f"entry {position + 1} is not `name=value` with the name of a header that may be set")
        if not value or not value.isascii() or not value.isprintable():
            raise ValueError(f"the value of entry {position + 1} is empty, or has characters that a header cannot have")
        found[name] = value
    return found
