"""GIF, by its blocks. Nothing is decoded.

Kept: the frames, their control blocks and the number of loops. Dropped: comments, texts, other extensions (XMP), and all that follows the trailer.
"""

import struct

from beat_actors.media.picture import Kind, Limits, NotStored, Picture, Reason, picture

BLOCKS = 200_000
"""Of data. Encoders fill them with 255 bytes: 80,000 blocks for 20 MB."""
_EXTENSIONS = 10_000
_LOOPS = (b"NETSCAPE2.0", b"ANIMEXTS1.0")


def clean(data: bytes, limits: Limits) -> Picture:
    """Raises `NotStored`."""
    try:
        return _clean(data, limits)
    except (IndexError, struct.error):
        raise NotStored(Reason.TRUNCATED, "the GIF has no trailer") from None


def _clean(data: bytes, limits: Limits) -> Picture:
    width, height, flags = struct.unpack_from("<HHB", data, 6)
    limits.check_size(width, height)
    position = 13 + _palette(flags)
    kept = [b"GIF89a", data[6:position]]
    control, frames, pixels, extensions, blocks = b"", 0, 0, 0, _Blocks(data)
    while (introducer := data[position]) != 0x3B:
        if introducer == 0x2C:
            left, top, wide, high, flags = struct.unpack_from("<HHHHB", data, position + 1)
            limits.check_size(max(left + wide, 1), max(top + high, 1))
            if not frames:  # viewers enlarge the canvas to the first frame
                width, height = max(width, left + wide), max(height, top + high)
            frames, pixels = frames + 1, pixels + max(width * height, wide * high)  # a viewer composes whole frames
            limits.check_frames(frames, pixels)
            after = blocks.skip(position + 11 + _palette(flags))
            kept += (control, data[position:after])
            control = b""
        elif introducer == 0x21:
            label = data[position + 1]
            after = blocks.skip(position + 2)
            extensions += 1
            if extensions > _EXTENSIONS:
                raise NotStored(Reason.TOO_MANY_PARTS, f"the GIF has more than {_EXTENSIONS} extensions")
            if label == 0xF9 and after - position == 8:
                control = data[position:after]
            elif label == 0x01:
                control = b""  # it belongs to the text
            elif label == 0xFF and data[position + 3 : position + 14] in _LOOPS and not frames:
                kept.append(_loops(data[position:after]))
        else:
            raise NotStored(Reason.DAMAGED, f"the GIF has a block of the unknown type {introducer:#04x}")
        position = after
    if not frames:
        raise NotStored(Reason.DAMAGED, "the GIF has no frame")
    kept.append(b"\x3b")
    return picture(Kind.GIF, (width, height), frames, b"".join(kept))


class _Blocks:
    """The sub-blocks of one file, which are counted."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._left = BLOCKS

    def skip(self, position: int) -> int:
        """The position behind the terminator. Raises `IndexError` at the end of the file, and `NotStored`."""
        data, left = self._data, self._left
        while length := data[position]:
            position += length + 1
            left -= 1
            if not left:
                raise NotStored(Reason.TOO_MANY_PARTS, f"the GIF has more than {BLOCKS} blocks of data")
        self._left = left
        return position + 1


def _palette(flags: int) -> int:
    """The octets of the colour table that follows."""
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0


def _loops(extension: bytes) -> bytes:
    """The number of loops, without further blocks of the extension."""
    body = extension[14:18]
    return extension[:14] + body + b"\0" if len(body) == 4 and body[:2] == b"\x03\x01" else b""
