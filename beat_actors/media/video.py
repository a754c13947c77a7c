"""MP4 and QuickTime, by their boxes. A video is never held in memory, decoded or re-encoded: it is read and cleaned in the file that it was spooled to.

Metadata is overwritten with zeros in place, because samples are declared as offsets in the file: boxes with texts and positions (`udta`, `meta`, `uuid`),
unknown boxes, and the headers of tracks of metadata. Their samples stay in the file, without a track that leads to them.
"""

from dataclasses import dataclass
from typing import BinaryIO

from beat_actors.media.boxes import BOXES, Box, boxes, brands, header, still
from beat_actors.media.content import refused
from beat_actors.media.picture import NotStored, Reason

HEADERS = 16_000_000
"""Bytes of one box that describes samples. That of a film of two hours has about 5 MB."""
_NEEDED = frozenset({b"ftyp", b"moov", b"mdat", b"moof"})
_HARMLESS = frozenset({b"styp", b"sidx", b"mfra", b"pdin", b"free", b"skip", b"wide"})
_CONTAINERS = frozenset({b"trak", b"mdia", b"minf", b"traf", b"mvex"})
_METADATA = frozenset({b"udta", b"meta", b"uuid"})
_BLOCK = 1 << 16


@dataclass(frozen=True, slots=True)
class VideoLimits:
    octets: int = 500_000_000
    pixels: int = 4096 * 4096
    seconds: float = 4 * 3600


LIMITS = VideoLimits()


@dataclass(frozen=True, slots=True)
class Video:
    """A video that may be stored: what the file holds now, after its cleaning. `seconds`: None where its header does not say (fragments)."""

    media_type: str
    extension: str
    octets: int
    width: int
    height: int
    seconds: float | None


@dataclass(slots=True)
class _Track:
    shown: bool = False
    metadata: bool = False
    size: tuple[int, int] = (0, 0)


def cleaned(file: BinaryIO, limits: VideoLimits = LIMITS) -> Video:
    """Checks and cleans a whole file, which is open for reading and writing. Blocks: call it in a thread.

    It reads the headers of boxes and at most `HEADERS` bytes at a time. Raises `NotStored`; the file may be cleaned in part then.
    """
    octets = file.seek(0, 2)
    if not octets:
        raise NotStored(Reason.EMPTY, "the file has no bytes")
    if octets > limits.octets:
        raise NotStored(Reason.TOO_LARGE, f"the file has {octets} bytes; {limits.octets} are allowed")
    start = _read(file, 0, min(octets, 4096))
    if not start.startswith(b"ftyp", 4):
        raise refused(start)
    if still(start) is not None:
        raise NotStored(Reason.UNKNOWN_TYPE, "the file is a picture, not a video")
    top, octets = _top(file, octets)
    found: Video | None = None
    for box in top:
        if box.name in (b"moov", b"moof"):
            if box.end - box.start > HEADERS:
                raise NotStored(Reason.TOO_MANY_PARTS, f"a box {box.name.decode()} has more than {HEADERS} bytes")
            data = _read(file, box.start, box.end - box.start)
            inside = Box(box.name, 0, box.body - box.start, len(data))
            if box.name == b"moov":
                found = _described(data, inside, brands(start)[0], octets, limits)
            for part in _metadata(data, inside):
                _blank(file, box.start + part.start, box.start + part.body, box.start + part.end)
        elif box.name not in _NEEDED | _HARMLESS or box.name in (b"free", b"skip"):
            _blank(file, box.start, box.body, box.end)
    if found is None:
        raise NotStored(Reason.TRUNCATED, "the video has no box moov")
    file.truncate(octets)
    return found


def _top(file: BinaryIO, octets: int) -> tuple[list[Box], int]:
    """The boxes of the file, and where the last one ends; what follows is no box."""
    found: list[Box] = []
    position = 0
    while position < octets:
        head = _read(file, position, min(16, octets - position))
        try:
            box = header(head, 0, octets - position)
        except NotStored:
            if head[4:8] in _NEEDED | _HARMLESS or not {b"moov", b"mdat"} <= {box.name for box in found}:
                raise
            break
        found.append(Box(box.name, position, position + box.body, position + box.end))
        position += box.end
        if len(found) > BOXES:
            raise NotStored(Reason.TOO_MANY_PARTS, f"the video has more than {BOXES} boxes")
    names = [box.name for box in found]
    if b"mdat" not in names or b"moov" not in names:
        raise NotStored(Reason.TRUNCATED, "the video lacks a box moov or mdat")
    if names.count(b"moov") > 1 or names.count(b"ftyp") > 1:
        raise NotStored(Reason.DAMAGED, "the video has two boxes moov or ftyp")
    return found, position


def _described(data: bytes, moov: Box, brand: bytes, octets: int, limits: VideoLimits) -> Video:
    inside = boxes(data, moov.body, moov.end)
    seconds = next((_seconds(data[box.body : box.end]) for box in inside if box.name == b"mvhd"), None)
    tracks = [_track(data, box) for box in inside if box.name == b"trak"]
    width, height = max((track.size for track in tracks if track.shown), default=(0, 0))
    if not width or not height:
        raise NotStored(Reason.DAMAGED, "the video has no track of pictures with a size")
    if width * height > limits.pixels:
        raise NotStored(Reason.TOO_MANY_PIXELS, f"the video is {width} × {height}; {limits.pixels} pixels are allowed")
    if seconds is not None and seconds > limits.seconds:
        raise NotStored(Reason.TOO_LONG, f"the video plays for {seconds:.0f} s; {limits.seconds:.0f} s are allowed")
    quicktime = brand == b"qt  "
    kind = ("video/quicktime", "mov") if quicktime else ("video/mp4", "mp4")
    return Video(*kind, octets, width, height, seconds)


def _seconds(body: bytes) -> float | None:
    """By the header of the movie; None where it is zero or unknown."""
    wide = body[:1] == b"\1"
    at, octets = (20, 8) if wide else (12, 4)
    scale = int.from_bytes(body[at : at + 4], "big")
    length = body[at + 4 : at + 4 + octets]
    if not scale or len(length) < octets or not length.strip(b"\0") or not length.strip(b"\xff"):
        return None
    return int.from_bytes(length, "big") / scale


def _track(data: bytes, trak: Box) -> _Track:
    found = _Track()
    for box in boxes(data, trak.body, trak.end):
        if box.name == b"tkhd" and box.end - box.body >= 84:
            width, height = (int.from_bytes(data[at : at + 2], "big") for at in (box.end - 8, box.end - 4))
            turned = not any(data[box.end - 44 : box.end - 40])  # the first number of the matrix
            found.size = (height, width) if turned else (width, height)
        elif box.name == b"mdia":
            for part in boxes(data, box.body, box.end):
                if part.name == b"hdlr":
                    kind = data[part.body + 8 : part.body + 12]
                    found.shown, found.metadata = kind == b"vide", kind == b"meta"
    return found


def _metadata(data: bytes, outer: Box) -> list[Box]:
    """The boxes within one, at any depth of what is read here, that say more than how to show the video."""
    found: list[Box] = []
    waiting, seen = [outer], 0
    while waiting:
        container = waiting.pop()
        for box in boxes(data, container.body, container.end):
            seen += 1
            if box.name in _METADATA or (box.name == b"trak" and _track(data, box).metadata):
                found.append(box)
            elif box.name in _CONTAINERS:
                waiting.append(box)
        if seen > BOXES:
            raise NotStored(Reason.TOO_MANY_PARTS, f"the video has more than {BOXES} boxes")
    return found


def _blank(file: BinaryIO, start: int, body: int, end: int) -> None:
    """Makes a box one of free space of the same length."""
    file.seek(start + 4)
    file.write(b"free")
    file.seek(body)
    for position in range(body, end, _BLOCK):
        file.write(bytes(min(_BLOCK, end - position)))


def _read(file: BinaryIO, position: int, octets: int) -> bytes:
    file.seek(position)
    return file.read(octets)
