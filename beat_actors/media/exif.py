"""The one field of EXIF that changes how a picture is shown: its orientation. All other fields are dropped."""

import struct

ORIENTATION = 0x0112
_ENTRIES = 512
"""Of the first directory. Cameras write some dozens."""


def orientation(tiff: bytes) -> int:
    """The orientation (1 to 8) that EXIF data declares; 1, which is upright, where it declares none or the data cannot be read.

    `tiff` begins with the byte order. `Exif\\0\\0` before it, which some writers add in PNG and WebP, is skipped.
    """
    tiff = tiff.removeprefix(b"Exif\0\0")
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(tiff[:4])
    if order is None:
        return 1
    try:
        (start,) = struct.unpack_from(order + "I", tiff, 4)
        (count,) = struct.unpack_from(order + "H", tiff, start)
        for index in range(min(count, _ENTRIES)):
            tag, form, values, value = struct.unpack_from(order + "HHIH", tiff, start + 2 + 12 * index)
            if tag == ORIENTATION:
                return value if form == 3 and values == 1 and 1 <= value <= 8 else 1
    except struct.error:  # shorter than it declares
        return 1
    return 1


def minimal(declared: int) -> bytes:
    """EXIF data, from the byte order on, that contains the orientation and nothing else."""
    return struct.pack(">4sIHHHIHHI", b"MM\0*", 8, 1, ORIENTATION, 3, 1, declared, 0, 0)
