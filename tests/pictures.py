"""Pictures that the tests make: real ones by Pillow and pillow-heif, and damaged, hostile and misleading ones."""

import io
import struct
import zlib
from collections.abc import Iterable
from functools import cache

import pillow_heif
from PIL import Image, ImageCms

LATITUDE = 0x8825
SECRET = b"SECRET-49.2827N-123.1207W"
"""Stands in the metadata of each picture of `exposing`. No stored byte may contain it."""


def drawn(width: int = 64, height: int = 48, mode: str = "RGB") -> Image.Image:
    """Not plain, so that encoders have something to write; the left upper corner is red."""
    picture = Image.linear_gradient("L").resize((width, height)).convert("RGB")
    picture.paste((255, 0, 0), (0, 0, width // 4, height // 4))
    return picture.convert(mode)


def noise(width: int, height: int) -> Image.Image:
    return Image.effect_noise((width, height), 80).convert("RGB")


def encoded(picture: Image.Image, form: str, **options: object) -> bytes:
    """`form`: as Pillow names it, or HEIF."""
    into = io.BytesIO()
    if form == "HEIF":
        pillow_heif.from_pillow(picture).save(into, **options)
    else:
        picture.save(into, form, **options)
    return into.getvalue()


def exif(orientation: int = 1) -> bytes:
    """EXIF data with a position, a description and an orientation."""
    data = Image.Exif()
    data[0x0112] = orientation
    data[0x010E] = SECRET.decode()
    data.get_ifd(LATITUDE)[2] = (49.0, 16.0, 57.72)
    return data.tobytes()


XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF>' + SECRET + b"</rdf:RDF></x:xmpmeta>"


def exposing(form: str, orientation: int = 1) -> bytes:
    """A picture with EXIF (GPS), XMP and what else its format takes: comment, text, profile."""
    options: dict[str, object] = {"exif": exif(orientation), "xmp": XMP}
    if form == "JPEG":
        options |= {"comment": SECRET, "icc_profile": profile()}
    if form == "WEBP":
        options |= {"icc_profile": profile()}
    if form == "GIF":
        options = {"comment": SECRET, "save_all": True, "append_images": [noise(64, 48)]}
    if form == "PNG":
        return with_chunks(encoded(drawn(), form, exif=exif(orientation), icc_profile=profile()),
                           [(b"tEXt", b"Comment\0" + SECRET), (b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + XMP), (b"teSt", SECRET)])  # fmt: skip
    return encoded(drawn(), form, **options)


@cache
def profile() -> bytes:
    """The same at each call: a new one has another time."""
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def with_chunks(png: bytes, chunks: Iterable[tuple[bytes, bytes]]) -> bytes:
    """The PNG with chunks behind its header."""
    return png[:33] + b"".join(chunk(name, body) for name, body in chunks) + png[33:]


def png_bomb(side: int) -> bytes:
    """A PNG of `side` × `side` black pixels of one bit, which a decoder that is asked for colours makes four bytes each."""
    packer = zlib.compressobj(9)
    row = b"\0" * (1 + (side + 7) // 8)
    packed = b"".join(packer.compress(row) for _ in range(side)) + packer.flush()
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", packed) + chunk(b"IEND", b"")


def gif_of(frames: int, side: int = 1) -> bytes:
    """A GIF with so many frames of one pixel, on a canvas of `side` × `side`."""
    frame = b"\x2c\0\0\0\0\1\0\1\0\0\2\2\x44\1\0"
    return b"GIF89a" + struct.pack("<HHBBB", side, side, 0x80, 0, 0) + b"\0\0\0\xff\xff\xff" + frame * frames + b";"


def profile_bomb(octets: int = 200_000_000) -> bytes:
    """A PNG whose colour profile decompresses to so many bytes."""
    packer = zlib.compressobj(9)
    block = b"\0" * 1_000_000
    packed = b"".join(packer.compress(block) for _ in range(octets // len(block))) + packer.flush()
    return with_chunks(encoded(drawn(), "PNG"), [(b"iCCP", b"icc\0\0" + packed)])
