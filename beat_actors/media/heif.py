"""AVIF and HEIC, by their boxes. The pixels are not decoded.

Both are refused here if they declare too many pixels. HEIC is shown by few browsers, so it is always re-encoded. An AVIF is stored if each of its parts
is known: the boxes, the items and the properties. All other bytes are overwritten with zeros in place, because positions are declared as offsets. EXIF
becomes an empty directory and XMP becomes spaces: rotation and mirroring are properties, not EXIF, in these formats.
"""

import itertools
from dataclasses import dataclass, field

from beat_actors.media.boxes import Box, Reader, boxes, header
from beat_actors.media.picture import Kind, Limits, NotStored, Picture, Reason, Unclean, picture

ITEMS = 1_000
"""And as many extents. Pictures of phones consist of 50 to 200 tiles."""
LINKS = 20 * ITEMS
_PICTURES = frozenset({b"av01", b"grid", b"iovl", b"iden", b"tmap"})
_TEXTS = frozenset({b"Exif", b"mime"})
_PARTS = frozenset({b"hdlr", b"pitm", b"iloc", b"iinf", b"iref", b"iprp", b"idat", b"grpl"})
_PROPERTIES = frozenset(
    {b"ispe", b"pixi", b"colr", b"av1C", b"irot", b"imir", b"clap", b"pasp", b"auxC", b"a1op", b"a1lx", b"lsel", b"clli",
     b"mdcv", b"cclv", b"amve", b"rloc"}
)  # fmt: skip
_NO_EXIF = b"\0\0\0\0II*\0\x08\0\0\0\0\0\0\0\0\0"


class _UncleanError(Exception):
    """The message ends "the picture has …"."""


@dataclass(slots=True)
class _Meta:
    primary: int = 0
    types: dict[int, bytes] = field(default_factory=dict)
    extents: dict[int, list[tuple[int, int]]] = field(default_factory=dict)
    properties: list[Box] = field(default_factory=list)
    associated: dict[int, list[int]] = field(default_factory=dict)
    """The numbers of an item's properties, from 1."""
    links: int = 0
    """How many of these numbers there are."""
    elsewhere: bool = False
    """Whether the bytes of an item are part of another item, or the whole file."""


def check(data: bytes, limits: Limits) -> Unclean:
    """A HEIC with no more pixels than allowed. Raises `NotStored`."""
    _, meta = _read(data, limits)
    return Unclean(Kind.HEIC, f"the primary item {meta.types.get(meta.primary, b'')!r}", data)


def clean(data: bytes, limits: Limits) -> Picture | Unclean:
    """An AVIF. Raises `NotStored`."""
    top, meta = _read(data, limits)
    try:
        size = _size(data, meta)
        kept = _known(data, top, meta)
    except _UncleanError as error:
        return Unclean(Kind.AVIF, str(error), data)
    return picture(Kind.AVIF, size, 1, kept)


def _read(data: bytes, limits: Limits) -> tuple[list[Box], _Meta]:
    """Checks the sizes that the file declares for its items."""
    top: list[Box] = []
    position = 0
    while position < len(data):
        try:
            box = header(data, position, len(data))
        except NotStored:
            if {b"meta", b"mdat"} <= {box.name for box in top}:
                break  # it is no box: what follows the picture
            raise
        top.append(box)
        position = box.end
        if len(top) > ITEMS:
            raise NotStored(Reason.TOO_MANY_PARTS, f"the file has more than {ITEMS} boxes")
    meta = next((box for box in top if box.name == b"meta"), None)
    if meta is None:
        raise NotStored(Reason.TRUNCATED, "the file has no box meta")
    found = _meta(data, meta)
    sizes = [box for box in found.properties if box.name == b"ispe"]
    if not sizes or found.primary not in found.types:
        raise NotStored(Reason.DAMAGED, "the file declares no picture, or no size of it")
    for box in sizes:
        limits.check_size(*_declared(data, box))
    end = max((end for extents in found.extents.values() for _, end in extents), default=0)
    if end > len(data):
        raise NotStored(Reason.TRUNCATED, f"the file declares {end} bytes of pictures and has {len(data)}")
    for item, kind in found.types.items():
        if kind == b"av01" and found.extents.get(item):
            start, end = found.extents[item][0]
            limits.check_size(*_encoded(data[start : min(end, start + 64)]))
    return top, found


def _meta(data: bytes, meta: Box) -> _Meta:
    found = _Meta()
    inside = {box.name: box for box in boxes(data, meta.body + 4, meta.end)}
    if (box := inside.get(b"pitm")) is not None:
        found.primary = Reader(data, box.body + 4, box.end).number(4 if data[box.body] else 2)
    if (box := inside.get(b"iinf")) is not None:
        head = 4 + (4 if data[box.body] else 2)
        for entry in boxes(data, box.body + head, box.end):
            reader = Reader(data, entry.body, entry.end)
            version = reader.number(1)
            reader.octets(3)
            item = reader.number(4 if version == 3 else 2)
            reader.octets(2)
            found.types[item] = reader.octets(4) if version >= 2 else b""
            if len(found.types) > ITEMS:
                raise NotStored(Reason.TOO_MANY_PARTS, f"the file has more than {ITEMS} items")
    if (box := inside.get(b"iloc")) is not None:
        _locations(data, box, inside.get(b"idat"), found)
    if (box := inside.get(b"iprp")) is not None:
        for part in boxes(data, box.body, box.end):
            if part.name == b"ipco":
                found.properties = boxes(data, part.body, part.end)
            elif part.name == b"ipma":
                _associations(Reader(data, part.body, part.end), found)
    return found


def _locations(data: bytes, box: Box, idat: Box | None, found: _Meta) -> None:
    reader = Reader(data, box.body, box.end)
    version = reader.number(1)
    reader.octets(3)
    sizes = reader.number(2)
    offset, length, base, index = sizes >> 12, sizes >> 8 & 15, sizes >> 4 & 15, sizes & 15 if version else 0
    total = 0
    for _ in range(_count(reader.number(2 if version < 2 else 4))):
        item = reader.number(2 if version < 2 else 4)
        method = reader.number(2) & 15 if version else 0
        reader.octets(2)
        start = reader.number(base)
        if method == 1 and idat is not None:
            start += idat.body
        elif method:
            start = -1
        extents = found.extents.setdefault(item, [])
        for _ in range(_count(reader.number(2))):
            reader.octets(index)
            first, octets = reader.number(offset), reader.number(length)
            if start < 0 or not octets:
                found.elsewhere = True
            else:
                extents.append((start + first, start + first + octets))
        total += len(extents)
        _count(total)


def _associations(reader: Reader, found: _Meta) -> None:
    version = reader.number(1)
    wide = bool(reader.number(3) & 1)
    for _ in range(_count(reader.number(4))):
        numbers = found.associated.setdefault(reader.number(4 if version else 2), [])
        declared = reader.number(1)
        found.links += 1 + declared
        if found.links > LINKS:
            raise NotStored(Reason.TOO_MANY_PARTS, f"the file has more than {LINKS} properties of items")
        for _ in range(declared):
            numbers.append(reader.number(2) & 0x7FFF if wide else reader.number(1) & 0x7F)


def _count(declared: int) -> int:
    if declared > ITEMS:
        raise NotStored(Reason.TOO_MANY_PARTS, f"the file has more than {ITEMS} items")
    return declared


def _declared(data: bytes, box: Box) -> tuple[int, int]:
    reader = Reader(data, box.body + 4, box.end)
    return reader.number(4), reader.number(4)


def _size(data: bytes, meta: _Meta) -> tuple[int, int]:
    """The size of the primary item, turned."""
    numbers = meta.associated.get(meta.primary, [])
    own = [meta.properties[number - 1] for number in numbers if 0 < number <= len(meta.properties)]
    size = next((_declared(data, box) for box in own if box.name == b"ispe"), None)
    if size is None or any(box.name == b"clap" for box in own):
        raise _UncleanError("no size of its own, or a crop")
    turned = any(box.name == b"irot" and data[box.body] & 1 for box in own)
    return (size[1], size[0]) if turned else size


def _known(data: bytes, top: list[Box], meta: _Meta) -> bytes:
    """The file with zeros in place of all that is not known to be needed. Raises `_UncleanError`."""
    names = [box.name for box in top]
    if names[0] != b"ftyp" or names.count(b"ftyp") != 1 or names.count(b"meta") != 1 or b"moov" in names:
        raise _UncleanError("an animation, or its boxes in no known order")
    (box,) = (box for box in top if box.name == b"meta")
    inside = boxes(data, box.body + 4, box.end)
    if len({part.name for part in inside}) != len(inside) or names.count(b"mdat") > 1 or meta.elsewhere:
        raise _UncleanError("parts that stand there twice, or that lie in one another")
    unknown = {part.name for part in inside} - _PARTS - {b"free", b"skip"}
    unknown |= {part.name for part in meta.properties} - _PROPERTIES
    unknown |= set(meta.types.values()) - _PICTURES - _TEXTS
    if unknown or meta.extents.keys() - meta.types.keys():
        raise _UncleanError(f"parts of the unknown types {sorted(unknown)}")
    end = max(part.end for part in top if part.name in (b"ftyp", b"meta", b"mdat"))
    kept = bytearray(end)
    for part in top:
        if part.end > end:
            continue
        kept[part.start : part.body] = data[part.start : part.body]
        if part.name == b"ftyp":
            kept[part.body : part.end] = data[part.body : part.end]
        elif part.name not in (b"meta", b"mdat"):
            kept[part.start + 4 : part.start + 8] = b"free"
    kept[box.body : box.body + 4] = data[box.body : box.body + 4]
    for part in inside:
        whole = part.name in _PARTS and part.name != b"idat"
        last = part.end if whole else part.body
        kept[part.start : last] = data[part.start : last]
    _fill(data, kept, top, inside, meta)
    return bytes(kept)


def _fill(data: bytes, kept: bytearray, top: list[Box], inside: list[Box], meta: _Meta) -> None:
    """Copies the bytes of the pictures, and blanks those of texts. Raises `_UncleanError`."""
    rooms = [(box.body, box.end) for box in top if box.name == b"mdat"]
    rooms += [(box.body, box.end) for box in inside if box.name == b"idat"]
    claimed: list[tuple[int, int]] = []
    for item, kind in meta.types.items():
        for start, end in meta.extents.get(item, ()):
            if not any(first <= start and end <= last for first, last in rooms):
                raise _UncleanError("an item whose bytes lie outside of the data")
            claimed.append((start, end))
            if kind in _PICTURES:
                kept[start:end] = data[start:end]
            elif kind == b"mime":
                kept[start:end] = b" " * (end - start)
            elif end - start >= len(_NO_EXIF):
                kept[start : start + len(_NO_EXIF)] = _NO_EXIF
    claimed.sort()
    if any(start < end for (_, end), (start, _) in itertools.pairwise(claimed)):
        raise _UncleanError("items that share their bytes")


def _encoded(stream: bytes) -> tuple[int, int]:
    """The size that the sequence header of an AV1 picture declares; (1, 1) where the header is not the plain one of stills."""
    position = 0
    while position + 2 <= len(stream):
        kind, extended, sized = stream[position] >> 3 & 15, stream[position] >> 2 & 1, stream[position] >> 1 & 1
        position += 1 + extended
        length = stream[position] if position < len(stream) and sized else 128
        if length > 127:
            return 1, 1
        position += 1
        if kind == 1:
            return _sequence(stream[position : position + length])
        position += length
    return 1, 1


def _sequence(sequence: bytes) -> tuple[int, int]:
    bits, left = int.from_bytes(sequence, "big"), 8 * len(sequence)

    def take(count: int) -> int:
        nonlocal left
        left -= count
        return bits >> left & (1 << count) - 1 if left >= 0 else 0

    take(4)
    if take(1):  # the reduced header of stills
        take(5)
    else:
        if take(1):  # timing
            return 1, 1
        delays = take(1)
        for _ in range(take(5) + 1):
            take(12)
            if take(5) > 7:
                take(1)
            if delays and take(1):
                take(4)
    wide, high = take(4) + 1, take(4) + 1
    return take(wide) + 1, take(high) + 1
