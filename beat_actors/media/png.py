"""PNG and APNG, by their chunks. The pixels are not decoded.

Kept: the chunks that decide how the picture looks. Dropped: text, EXIF except the orientation, times, private chunks, and all that follows IEND.
"""

import struct
import zlib

from beat_actors.media import exif
from beat_actors.media.picture import Kind, Limits, NotStored, Picture, Reason, picture

SIGNATURE = b"\x89PNG\r\n\x1a\n"
CHUNKS = 20_000
"""Encoders write pixels in chunks of 8 kB or more: 2,500 chunks for 20 MB."""
PROFILE_OCTETS = 1 << 20
"""Of a colour profile, decompressed. A larger one is dropped; profiles of displays have 0.5 to 600 kB."""
_LOOKS = frozenset(
    {b"IHDR", b"PLTE", b"IDAT", b"tRNS", b"cHRM", b"gAMA", b"iCCP", b"sBIT", b"sRGB", b"bKGD", b"pHYs", b"cICP", b"mDCV",
     b"cLLI", b"acTL", b"fcTL", b"fdAT"}
)  # fmt: skip
_DEPTHS = {0: {1, 2, 4, 8, 16}, 2: {8, 16}, 3: {1, 2, 4, 8}, 4: {8, 16}, 6: {8, 16}}
"""By colour type."""


def clean(data: bytes, limits: Limits) -> Picture:
    """Raises `NotStored`."""
    size = _header(data, limits)
    kept: list[bytes] = [SIGNATURE]
    pixels, frames, frame_pixels, turned, position = False, 0, 0, 0, len(SIGNATURE)
    for _ in range(CHUNKS):
        if position + 12 > len(data):
            raise NotStored(Reason.TRUNCATED, "the PNG has no IEND chunk")
        length, name = struct.unpack_from(">I4s", data, position)
        after = position + 12 + length
        if after > len(data):
            raise NotStored(Reason.TRUNCATED, "the PNG ends within a chunk")
        if name == b"IEND":
            break
        start = position + 8
        if name in _LOOKS:
            if zlib.crc32(memoryview(data)[position + 4 : after - 4]) != int.from_bytes(data[after - 4 : after], "big"):
                raise NotStored(Reason.DAMAGED, f"the checksum of a chunk {name.decode()} of the PNG is wrong")
            pixels |= name == b"IDAT"
            if name == b"fcTL":
                frames, frame_pixels = frames + 1, frame_pixels + _frame(data[start : after - 4], size)
                limits.check_frames(frames, frame_pixels)
            if name == b"IHDR" and position != len(SIGNATURE):
                raise NotStored(Reason.DAMAGED, "the PNG has two headers")
            if name != b"iCCP" or _is_profile(data[start : after - 4]):
                kept.append(data[position:after])
        elif name == b"eXIf" and not turned:
            turned = exif.orientation(data[start : after - 4])
            if turned != 1 and not pixels:  # it must stand before the pixels
                kept.append(_chunk(b"eXIf", exif.minimal(turned)))
        elif not name[0] & 0x20:
            raise NotStored(Reason.DAMAGED, f"the PNG needs a chunk {name!r}, which no standard has")
        position = after
    else:
        raise NotStored(Reason.TOO_MANY_PARTS, f"the PNG has more than {CHUNKS} chunks")
    if not pixels:
        raise NotStored(Reason.DAMAGED, "the PNG has no pixels")
    kept.append(_chunk(b"IEND", b""))
    return picture(Kind.PNG, size, max(frames, 1), b"".join(kept), turned or 1)


def _header(data: bytes, limits: Limits) -> tuple[int, int]:
    if len(data) < 33:
        raise NotStored(Reason.TRUNCATED, "the PNG ends before its header")
    length, name, width, height, depth, colour, packing, filtering, interlaced = struct.unpack_from(
        ">I4sIIBBBBB", data, 8
    )
    if length != 13 or name != b"IHDR":
        raise NotStored(Reason.DAMAGED, "the PNG does not begin with its header")
    if depth not in _DEPTHS.get(colour, ()) or packing or filtering or interlaced > 1:
        raise NotStored(Reason.DAMAGED, "the header of the PNG declares what no PNG can be")
    limits.check_size(width, height)
    return width, height


def _frame(control: bytes, size: tuple[int, int]) -> int:
    if len(control) != 26:
        raise NotStored(Reason.DAMAGED, "a frame header of the PNG has the wrong length")
    _, width, height, left, top = struct.unpack_from(">IIIII", control)
    if not width or not height or left + width > size[0] or top + height > size[1]:
        raise NotStored(Reason.DAMAGED, "a frame of the PNG lies outside of the picture")
    return int(width * height)


def _is_profile(chunk: bytes) -> bool:
    """Whether it decompresses to a colour profile of allowed size; at most that many bytes are decompressed."""
    name, found, packed = chunk.partition(b"\0")
    if not found or len(name) > 79 or packed[:1] != b"\0":
        return False
    reader = zlib.decompressobj()
    try:
        profile = reader.decompress(packed[1:], PROFILE_OCTETS)
    except zlib.error:
        return False
    return reader.eof and profile[36:40] == b"acsp"


def _chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
