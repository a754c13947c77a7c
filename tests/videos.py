"""MP4 files that the tests make, box by box. Their samples are no pictures: nothing in Beat decodes them."""

import struct

SECRET = b"SECRET+49.2827-123.1207/"
SAMPLES = bytes(range(256)) * 40
_UPRIGHT = struct.pack(">9i", 1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30)
_TURNED = struct.pack(">9i", 0, 1 << 16, 0, -1 << 16, 0, 0, 0, 0, 1 << 30)


def box(name: bytes, body: bytes = b"") -> bytes:
    return struct.pack(">I4s", 8 + len(body), name) + body


def movie(seconds: float = 12.5, *, wide: bool = False) -> bytes:
    """The box `mvhd`."""
    times = (
        struct.pack(">QQIQ", 0, 0, 1000, int(seconds * 1000))
        if wide
        else struct.pack(">IIII", 0, 0, 1000, int(seconds * 1000))
    )
    return box(b"mvhd", bytes((wide, 0, 0, 0)) + times + bytes(80))


def track(
    kind: bytes = b"vide", width: int = 640, height: int = 360, *, turned: bool = False, inside: bytes = b""
) -> bytes:
    head = bytes(40) + (_TURNED if turned else _UPRIGHT) + struct.pack(">II", width << 16, height << 16)
    return box(b"trak", box(b"tkhd", head) + box(b"mdia", box(b"hdlr", bytes(8) + kind + bytes(13))) + inside)


def video(
    *parts: bytes,
    brand: bytes = b"isom",
    before: bytes = b"",
    after: bytes = b"",
    fast: bool = True,
    large: bool = False,
) -> bytes:
    """`parts`: of the box `moov`. `fast`: it stands before the samples. `large`: the samples' box declares its length in 64 bits."""
    moov = box(b"moov", b"".join(parts or (movie(), track(), track(b"soun", 0, 0))))
    data = struct.pack(">I4sQ", 1, b"mdat", 16 + len(SAMPLES)) + SAMPLES if large else box(b"mdat", SAMPLES)
    kind = box(b"ftyp", brand + bytes(4) + b"isommp42")
    return kind + before + (moov + data if fast else data + moov) + after
