"""The boxes of ISO base media files, which AVIF, HEIC and MP4 are made of, and a reader of the numbers in them."""

from dataclasses import dataclass

from beat_actors.media.picture import NotStored, Reason

BOXES = 10_000
"""Of one file. Pictures have some dozens, videos some hundreds."""
STILLS = {
    b"avif": "avif", b"avis": "avif", b"heic": "heic", b"heix": "heic", b"heim": "heic", b"heis": "heic", b"hevc": "heic",
    b"hevx": "heic", b"hevm": "heic", b"hevs": "heic",
}  # fmt: skip
"""Brands of pictures: the extension of their files."""
_GENERIC = frozenset({b"mif1", b"msf1", b"miaf"})
"""Brands of pictures that do not say which codec they need: the compatible brands say it."""


@dataclass(frozen=True, slots=True)
class Box:
    """`start` is the position of its header, `body` of its content, `end` the position behind it."""

    name: bytes
    start: int
    body: int
    end: int


class Reader:
    """Reads big-endian numbers of a box one after another. Raises `NotStored` where the box ends before them."""

    def __init__(self, data: bytes, position: int, end: int) -> None:
        self._data = data
        self._end = end
        self.position = position

    def number(self, octets: int) -> int:
        return int.from_bytes(self.octets(octets), "big")

    def octets(self, count: int) -> bytes:
        start, self.position = self.position, self.position + count
        if self.position > self._end:
            raise NotStored(Reason.DAMAGED, "a box is shorter than its type needs")
        return self._data[start : self.position]


def header(data: bytes, start: int, end: int) -> Box:
    """The box that begins at `start` of a file or box that ends at `end`. `data` holds at least 16 bytes from `start` on, or all of them.

    Raises `NotStored`: TRUNCATED where the box does not end before `end`.
    """
    if end - start < 8:
        raise NotStored(Reason.TRUNCATED, "the file ends within the header of a box")
    size, name, body = int.from_bytes(data[start : start + 4], "big"), data[start + 4 : start + 8], start + 8
    if size == 1:
        size, body = int.from_bytes(data[start + 8 : start + 16], "big"), start + 16
    elif size == 0:
        size = end - start
    if start + size > end or body > end:
        raise NotStored(Reason.TRUNCATED, f"a box {name!r} is longer than what contains it")
    if start + size < body:
        raise NotStored(Reason.DAMAGED, f"a box {name!r} declares a size of {size}")
    return Box(name, start, body, start + size)


def boxes(data: bytes, start: int, end: int) -> list[Box]:
    """The boxes between two positions, which they fill. Raises `NotStored`."""
    found: list[Box] = []
    while start < end:
        box = header(data, start, end)
        found.append(box)
        start = box.end
        if len(found) > BOXES:
            raise NotStored(Reason.TOO_MANY_PARTS, f"the file has more than {BOXES} boxes")
    return found


def brands(data: bytes) -> list[bytes]:
    """The major brand and the compatible ones of a file that begins with the box `ftyp`."""
    size = min(int.from_bytes(data[:4], "big"), len(data), 1024)
    return [data[8:12], *(data[at : at + 4] for at in range(16, size - 3, 4))]


def still(data: bytes) -> str | None:
    """`avif` or `heic` if the file that begins with the box `ftyp` is a picture of that codec; None for videos and others."""
    declared = brands(data)
    if declared[0] in STILLS:
        return STILLS[declared[0]]
    if declared[0] in _GENERIC:
        return next((STILLS[brand] for brand in declared if brand in STILLS), "heic")
    return None
