"""Simulated pictures and films: real files of a realistic size, which every decoder reads, made without a codec library.

A picture is made of an 8-byte seed and always the same. Different seeds give files that differ in what is seen, and not only in comments, so
that a cleaned file differs as well. Pure.
"""

import random
import struct
import zlib
from collections.abc import Sequence
from functools import lru_cache

PHOTOS = 4
"""JPEGs of a size that are drawn; each seed gives one of them contrasts of its own."""
# One code of four bits for each symbol, so that codes are easy to make: sizes 0 to 11 of a DC difference, and for AC coefficients the end of a
# block and sizes 1 to 3 without zeros before.
DC_SYMBOLS = bytes(range(12))
AC_SYMBOLS = bytes((0x00, 0x01, 0x02, 0x03))
TABLES = b"".join(
    b"\xff\xc4" + struct.pack(">H", 19 + len(symbols)) + bytes((kind << 4,)) + bytes((0, 0, 0, len(symbols))) + bytes(12) + symbols
    for kind, symbols in ((0, DC_SYMBOLS), (1, AC_SYMBOLS))
)  # fmt: skip
QUANTIZERS = bytes((12,)) + bytes(min(16 + 2 * n, 120) for n in range(1, 64))


def jpeg(seed: bytes, width: int, height: int, size: int) -> bytes:
    """A baseline JPEG in colour, of about `size` bytes."""
    table = bytearray(QUANTIZERS)
    for n, value in enumerate(seed[:6]):
        table[1 + n] = max(value, 1)  # the contrasts of the six coarsest patterns
    frame = struct.pack(">BHHB", 8, height, width, 3) + b"\x01\x22\x00\x02\x11\x00\x03\x11\x00"
    return b"".join(
        (
            b"\xff\xd8\xff\xe0\x00\x10JFIF\x00\x01\x01\x00\x00\x01\x00\x01\x00\x00",
            b"\xff\xdb\x00\x43\x00" + table,
            b"\xff\xc0" + struct.pack(">H", 2 + len(frame)) + frame,
            TABLES,
            b"\xff\xda\x00\x0c\x03\x01\x00\x02\x00\x03\x00\x00\x3f\x00",
            _scan(seed[6] % PHOTOS, width, height, size),
            b"\xff\xd9",
        )
    )


@lru_cache(maxsize=64)
def _scan(number: int, width: int, height: int, size: int) -> bytes:
    """The coefficients: patches of colour with so much grain that the size comes about."""
    chance = random.Random(number)
    units = -(-width // 16) * -(-height // 16)
    # A block without grain takes some 11 bits, and each of its coefficients some 6.
    grain = max((size * 8 / units / 6 - 11) / 6, 0.0)
    # Each pair of units comes back to the colour that it began with, so that pairs may stand in any order.
    pairs = [_pair(chance, grain) for _ in range(96)]
    text = "".join(chance.choices(pairs, k=units // 2)) + (_unit(chance, grain, (0,) * 6) if units % 2 else "")
    text += "1" * (-len(text) % 8)
    return int(text, 2).to_bytes(len(text) // 8, "big").replace(b"\xff", b"\xff\x00")


def _pair(chance: random.Random, grain: float) -> str:
    steps = [chance.randint(-20, 20) for _ in range(6)]
    return _unit(chance, grain, steps) + _unit(chance, grain, [-step for step in steps])


def _unit(chance: random.Random, grain: float, steps: Sequence[int]) -> str:
    """Sixteen by sixteen pixels: four blocks of brightness and two of colour, with these differences to the blocks before."""
    bits: list[str] = []
    for step in steps:
        count = int(grain) + (chance.random() < grain % 1)
        bits.append(_number(step))
        bits.extend(_number(chance.choice((-3, -2, -1, 1, 2, 3))) for _ in range(min(count, 62)))
        bits.append("0000")
    return "".join(bits)


def _number(value: int) -> str:
    """Its size as a code, and its bits as JPEG writes them. A difference of zero has size 0."""
    if not value:
        return "0000"
    size = abs(value).bit_length()
    return f"{size:04b}" + format(value if value > 0 else value + (1 << size) - 1, f"0{size}b")


def png(seed: bytes, width: int, height: int) -> bytes:
    """A grey PNG whose size is about its number of pixels."""
    grain = random.Random(seed).randbytes(width * height)
    rows = b"".join(b"\0" + grain[at : at + width] for at in range(0, len(grain), width))
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", zlib.compress(rows, 0)) + _chunk(b"IEND", b"")
    )


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def webp(seed: bytes, width: int, height: int) -> bytes:
    """A lossless WebP in shades of green whose size is about its number of pixels."""
    bits = _Bits()
    bits.add(0x2F, 8)
    bits.add(width - 1, 14)
    bits.add(height - 1, 14)
    bits.add(0, 1 + 3)  # no alpha, version 0
    bits.add(0, 3)  # no transform, no cache of colours, one group of codes
    # Green: 256 literals of 8 bits each, and none of the 24 lengths. The lengths of these codes are written in a code of two symbols, 8 and 18.
    bits.add(0, 1)
    order = (17, 18, 0, 1, 2, 3, 4, 5, 16, 6, 7, 8)
    bits.add(len(order) - 4, 4)
    for symbol in order:
        bits.add(1 if symbol in (8, 18) else 0, 3)
    bits.add(0, 1)  # all lengths follow
    bits.add(0, 256)  # 256 times the symbol 8
    bits.add(1, 1)  # the symbol 18: zeros,
    bits.add(24 - 11, 7)  # 24 of them
    for value in (seed[0], seed[1], 255, 0):  # red, blue, alpha, distance: one symbol each, which takes no bits
        bits.add(1, 1)  # a simple code
        bits.add(0, 1)  # of one symbol
        bits.add(1, 1)  # of eight bits
        bits.add(value, 8)
    data = bits.with_bytes(random.Random(seed).randbytes(width * height))
    data += b"\0" * (len(data) % 2)
    inner = b"WEBPVP8L" + struct.pack("<I", len(data)) + data
    return b"RIFF" + struct.pack("<I", len(inner)) + inner


class _Bits:
    """Bits from the lowest up, as WebP packs them."""

    def __init__(self) -> None:
        self._value = 0
        self._count = 0

    def add(self, value: int, count: int) -> None:
        self._value |= value << self._count
        self._count += count

    def with_bytes(self, data: bytes) -> bytes:
        whole = self._value | int.from_bytes(data, "little") << self._count
        return whole.to_bytes(-(-self._count // 8) + len(data), "little")


# H.264, baseline, 128 by 96 pixels. Each picture stands alone, and its 48 macroblocks are written as samples, without a transform.
WIDTH, HEIGHT = 128, 96
SPS = bytes.fromhex("6742000af841a2")
PPS = bytes.fromhex("68ce3880")
SLICE = bytes.fromhex("05888421a0")
SECOND = 1000


def mp4(seed: bytes, frames: int) -> bytes:
    """A film of `frames` seconds, some 18 kB each."""
    chance = random.Random(seed)
    samples = [_frame(chance) for _ in range(frames)]
    data = b"".join(samples)
    kind = _box("ftyp", b"isom", bytes((0, 0, 2, 0)), b"isomiso2avc1mp41")
    # The table of places is as long wherever they are, so the length of `moov` is known before.
    moov = _moov(samples, 0)
    return kind + _moov(samples, len(kind) + len(moov) + 8) + _box("mdat", data)


def _frame(chance: random.Random) -> bytes:
    blocks = []
    for _ in range(WIDTH * HEIGHT // 256):
        # No zero bytes, which would have to be escaped.
        grain = bytes(16 + (byte & 0x7F) for byte in chance.randbytes(256))
        blocks.append(
            b"\x0d\x00" + grain + bytes((64 + chance.randrange(128),)) * 64 + bytes((64 + chance.randrange(128),)) * 64
        )
    unit = SLICE + b"".join(blocks)[2:] + b"\x80"
    return struct.pack(">I", len(unit)) + unit


def _moov(samples: Sequence[bytes], at: int) -> bytes:
    long = len(samples) * SECOND
    matrix = struct.pack(">9I", 0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000)
    mvhd = _box(
        "mvhd",
        struct.pack(">IIIIIIH10x", 0, 0, 0, SECOND, long, 0x10000, 0x100),
        matrix,
        bytes(24),
        struct.pack(">I", 2),
    )
    tkhd = _box(
        "tkhd",
        struct.pack(">IIIIII8xHHHH", 7, 0, 0, 1, 0, long, 0, 0, 0, 0),
        matrix,
        struct.pack(">II", WIDTH << 16, HEIGHT << 16),
    )
    mdhd = _box("mdhd", struct.pack(">IIIIIHH", 0, 0, 0, SECOND, long, 0x55C4, 0))
    hdlr = _box("hdlr", bytes(8), b"vide", bytes(12), b"video\0")
    dinf = _box("dinf", _box("dref", struct.pack(">II", 0, 1), _box("url ", struct.pack(">I", 1))))
    config = (
        bytes((1, SPS[1], SPS[2], SPS[3], 0xFF, 0xE1))
        + struct.pack(">H", len(SPS))
        + SPS
        + b"\x01"
        + struct.pack(">H", len(PPS))
        + PPS
    )
    entry = _box(
        "avc1",
        struct.pack(">6xH16xHHIIIH", 1, WIDTH, HEIGHT, 0x480000, 0x480000, 0, 1), bytes(32), struct.pack(">Hh", 24, -1), _box("avcC", config),
    )  # fmt: skip
    stbl = _box(
        "stbl",
        _box("stsd", struct.pack(">II", 0, 1), entry),
        _box("stts", struct.pack(">IIII", 0, 1, len(samples), SECOND)),
        _box("stsc", struct.pack(">IIIII", 0, 1, 1, len(samples), 1)),
        _box("stsz", struct.pack(">III", 0, 0, len(samples)), *(struct.pack(">I", len(one)) for one in samples)),
        _box("stco", struct.pack(">III", 0, 1, at)),
    )
    minf = _box("minf", _box("vmhd", struct.pack(">I8x", 1)), dinf, stbl)
    return _box("moov", mvhd, _box("trak", tkhd, _box("mdia", mdhd, hdlr, minf)))


def _box(name: str, *parts: bytes) -> bytes:
    return struct.pack(">I", 8 + sum(map(len, parts))) + name.encode() + b"".join(parts)
