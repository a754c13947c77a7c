"""How payloads and records lie in PostgreSQL: zstd frames, made and read by the workers, so that the server neither compresses nor parses."""

import re
import threading
from collections.abc import Sequence
from typing import Any

import msgspec
import zstandard

from beat_actors.errors import Malformed
from beat_actors.platforms.interface import FetchSpec

# The level at which it costs a worker the least; a provider's JSON shrinks to about a seventh.
LEVEL = 1
# As JSON writes it: with an odd number of backslashes before the u.
ESCAPED_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")
# An upper bound for what is read back, whatever a frame's header says.
LARGEST = 1 << 30


class Records(msgspec.Struct, frozen=True):
    """What ingest hands to process: records by the table that they belong to, and what is to be fetched next. `software`: the version of Beat that
    read them; empty where that did not say it yet."""

    entities: dict[str, msgspec.Raw]
    follow_ups: Sequence[FetchSpec]
    items: int
    partial: dict[str, Any] | None = None
    software: str = ""


class Codec(threading.local):
    """A context is worth keeping, and must not be used by two threads at once."""

    def __init__(self) -> None:
        self.compress = zstandard.ZstdCompressor(level=LEVEL).compress
        self.decompress = zstandard.ZstdDecompressor().decompress


codec = Codec()


def pack(data: bytes) -> bytes:
    return codec.compress(data)


def unpack(frame: bytes) -> bytes:
    """Raises `ValueError` where the frame is damaged."""
    try:
        return codec.decompress(frame, max_output_size=LARGEST)
    except zstandard.ZstdError as error:
        raise ValueError(f"not a zstd frame: {error}") from None


def encode(records: object) -> bytes:
    """`records` is a `Records`, or what is encoded as one. Raises `Malformed` for text that PostgreSQL cannot hold."""
    encoded = msgspec.json.encode(records)
    if b"\\u0000" in encoded and ESCAPED_NUL.search(encoded):
        raise Malformed("a text contains NUL, which PostgreSQL cannot hold")
    return encoded


def unpack_records(frame: bytes) -> Records:
    return decode(unpack(frame))


decode = msgspec.json.Decoder(Records).decode
