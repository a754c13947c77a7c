"""WebP, by its chunks. The pixels are not decoded.

Kept: the pictures, their transparency, the animation, the ICC profile, and of EXIF the orientation alone. Dropped: EXIF, XMP, unknown chunks, and
all that follows the length that the file declares.
"""

import struct
from collections.abc import Iterator

from beat_actors.media import exif
from beat_actors.media.picture import Kind, Limits, NotStored, Picture, Reason, picture

CHUNKS = 10_000
_CHUNKS_OF_A_FRAME = 16
PROFILE_OCTETS = 1 << 20
_PROFILE, _ALPHA, _EXIF, _ANIMATION = 0x20, 0x10, 0x08, 0x02


def clean(data: bytes, limits: Limits) -> Picture:
    """Raises `NotStored`."""
    if len(data) < 20:
        raise NotStored(Reason.TRUNCATED, "the WebP ends before its first chunk")
    end = 8 + int.from_bytes(data[4:8], "little")
    if end > len(data):
        raise NotStored(Reason.TRUNCATED, f"the WebP declares {end} bytes and has {len(data)}")
    chunks = _chunks(data, 12, end)
    try:
        name, start, after = next(chunks)
        if name != b"VP8X":
            size = _bitstream(name, data, start, after, limits)
            return picture(Kind.WEBP, size, 1, _file([_chunk(name, data[start:after])]))
        return _extended(data, start, after, chunks, limits)
    except (IndexError, struct.error, StopIteration):
        raise NotStored(Reason.DAMAGED, "a chunk of the WebP is shorter than its type needs") from None


def _extended(data: bytes, start: int, after: int, chunks: Iterator[tuple[bytes, int, int]], limits: Limits) -> Picture:
    if after - start < 10:
        raise NotStored(Reason.DAMAGED, "the extended header of the WebP is too short")
    size = 1 + _three(data, start + 4), 1 + _three(data, start + 7)
    limits.check_size(*size)
    animated = bool(data[start] & _ANIMATION)
    flags = data[start] & (_ALPHA | _ANIMATION)
    kept: list[bytes] = []
    profile, rotation, stills, frames, turned = b"", b"", 0, 0, 0
    for name, first, behind in chunks:
        if name == b"ICCP" and not profile and behind - first <= PROFILE_OCTETS:
            profile = _chunk(name, data[first:behind])
            flags |= _PROFILE
        elif name == b"EXIF" and not turned:
            turned = exif.orientation(data[first:behind])
            if turned != 1:
                rotation = _chunk(b"EXIF", exif.minimal(turned))
                flags |= _EXIF
        elif name == b"ANIM" and animated:
            kept.append(_chunk(name, data[first:behind]))
        elif name == b"ANMF" and animated:
            frames += 1
            limits.check_frames(frames, frames * size[0] * size[1])  # a viewer composes whole frames
            kept.append(_frame(data, first, behind, size, limits))
        elif name in (b"VP8 ", b"VP8L") and not animated:
            stills += 1
            if _bitstream(name, data, first, behind, limits) != size:
                raise NotStored(Reason.DAMAGED, "the WebP declares two sizes")
            kept.append(_chunk(name, data[first:behind]))
        elif name == b"ALPH" and not animated and not stills:
            kept.append(_chunk(name, data[first:behind]))
    if (not frames) if animated else stills != 1:
        raise NotStored(Reason.DAMAGED, "the WebP has no picture, or two")
    header = _chunk(b"VP8X", bytes((flags, 0, 0, 0)) + data[start + 4 : start + 10])
    return picture(Kind.WEBP, size, max(frames, 1), _file([header, profile, *kept, rotation]), turned or 1)


def _frame(data: bytes, start: int, end: int, canvas: tuple[int, int], limits: Limits) -> bytes:
    if end - start < 16:
        raise NotStored(Reason.DAMAGED, "a frame header of the WebP is too short")
    left, top = 2 * _three(data, start), 2 * _three(data, start + 3)
    size = 1 + _three(data, start + 6), 1 + _three(data, start + 9)
    if left + size[0] > canvas[0] or top + size[1] > canvas[1]:
        raise NotStored(Reason.DAMAGED, "a frame of the WebP lies outside of the picture")
    kept, stills = [data[start : start + 16]], 0
    for name, first, behind in _chunks(data, start + 16, end, _CHUNKS_OF_A_FRAME):
        if name in (b"VP8 ", b"VP8L"):
            stills += 1
            if _bitstream(name, data, first, behind, limits) != size:
                raise NotStored(Reason.DAMAGED, "a frame of the WebP declares two sizes")
        elif name != b"ALPH" or stills:
            continue
        kept.append(_chunk(name, data[first:behind]))
    if stills != 1:
        raise NotStored(Reason.DAMAGED, "a frame of the WebP has no picture, or two")
    return _chunk(b"ANMF", b"".join(kept))


def _bitstream(name: bytes, data: bytes, start: int, end: int, limits: Limits) -> tuple[int, int]:
    """The size that the pixels' own header declares."""
    if name == b"VP8 ":
        if end - start < 10 or data[start] & 1 or data[start + 3 : start + 6] != b"\x9d\x01\x2a":
            raise NotStored(Reason.DAMAGED, "the WebP does not begin with a key frame")
        if _three(data, start) >> 5 > end - start:
            raise NotStored(Reason.DAMAGED, "the first partition of the WebP is longer than its chunk")
        width, height = struct.unpack_from("<HH", data, start + 6)
        size = width & 0x3FFF, height & 0x3FFF
    elif name == b"VP8L":
        if end - start < 5 or data[start] != 0x2F:
            raise NotStored(Reason.DAMAGED, "the header of the lossless WebP is damaged")
        (packed,) = struct.unpack_from("<I", data, start + 1)
        size = 1 + (packed & 0x3FFF), 1 + (packed >> 14 & 0x3FFF)
    else:
        raise NotStored(Reason.DAMAGED, f"the WebP begins with a chunk {name!r}")
    limits.check_size(*size)
    return size


def _chunks(data: bytes, position: int, end: int, allowed: int = CHUNKS) -> Iterator[tuple[bytes, int, int]]:
    """The name of each chunk, and where its body begins and ends. Raises `NotStored`."""
    for _ in range(allowed):
        if position + 8 > end:
            return
        name, length = struct.unpack_from("<4sI", data, position)
        start, after = position + 8, position + 8 + length
        if after > end:
            raise NotStored(Reason.TRUNCATED, "a chunk of the WebP is longer than the file")
        yield name, start, after
        position = after + (length & 1)
    raise NotStored(Reason.TOO_MANY_PARTS, f"the WebP, or a frame of it, has more than {allowed} chunks")


def _chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack("<4sI", name, len(body)) + body + b"\0" * (len(body) & 1)


def _file(chunks: list[bytes]) -> bytes:
    body = b"".join(chunks)
    return struct.pack("<4sI4s", b"RIFF", 4 + len(body), b"WEBP") + body


def _three(data: bytes, position: int) -> int:
    return int.from_bytes(data[position : position + 3], "little")
