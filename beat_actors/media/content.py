"""What the bytes of a fetched file are: a picture that may be stored, one that has to be re-encoded, or a file that is refused.

The bytes decide. Neither the name nor the declared type is asked, so a misnamed picture is stored as what it is. Nothing here decodes pixels, and
nothing imports a decoder: each format is read by its structure, with bounds on the number of its parts. `conversion` re-encodes what is unclean.

A picture of 40 kB takes some 20 µs. One of 20 MB can take 0.1 s and more: `conversion` examines large ones in a thread.
"""

import re

from beat_actors.media import gif, heif, jpeg, png, webp
from beat_actors.media.boxes import still
from beat_actors.media.picture import LIMITS, Limits, NotStored, Picture, Reason, Unclean

_SVG = re.compile(rb"<(\w+:)?svg[\s>:/]", re.IGNORECASE)
_TEXT_START = 4_096
_OTHERS: tuple[tuple[bytes, Reason, str], ...] = (
    (b"\x1f\x8b", Reason.COMPRESSED, "gzip data"),
    (b"\x28\xb5\x2f\xfd", Reason.COMPRESSED, "zstd data"),
    (b"\x1aE\xdf\xa3", Reason.VIDEO, "a WebM or Matroska video"),
    (b"BM", Reason.UNKNOWN_TYPE, "a BMP"),
    (b"II*\0", Reason.UNKNOWN_TYPE, "a TIFF"),
    (b"MM\0*", Reason.UNKNOWN_TYPE, "a TIFF"),
    (b"\0\0\1\0", Reason.UNKNOWN_TYPE, "an icon"),
    (b"\xff\x0a", Reason.UNKNOWN_TYPE, "a JPEG XL"),
    (b"\0\0\0\x0cJXL ", Reason.UNKNOWN_TYPE, "a JPEG XL"),
    (b"\0\0\0\x0cjP  ", Reason.UNKNOWN_TYPE, "a JPEG 2000"),
    (b"%PDF", Reason.UNKNOWN_TYPE, "a PDF"),
    (b"PK", Reason.UNKNOWN_TYPE, "a ZIP archive"),
    (b"{", Reason.UNKNOWN_TYPE, "JSON or other text"),
    (b"[", Reason.UNKNOWN_TYPE, "JSON or other text"),
)


def examined(data: bytes, limits: Limits = LIMITS) -> Picture | Unclean:
    """A picture without metadata, or one that has to be re-encoded. Raises `NotStored`, and no other error, for any bytes."""
    if not data:
        raise NotStored(Reason.EMPTY, "the file has no bytes")
    if len(data) > limits.octets:
        raise NotStored(Reason.TOO_LARGE, f"the file has {len(data)} bytes; {limits.octets} are allowed")
    if data.startswith(b"\xff\xd8\xff"):
        return jpeg.clean(data, limits)
    if data.startswith(png.SIGNATURE):
        return png.clean(data, limits)
    if data.startswith((b"GIF89a", b"GIF87a")):
        return gif.clean(data, limits)
    if data.startswith(b"RIFF") and data.startswith(b"WEBP", 8):
        return webp.clean(data, limits)
    if data.startswith(b"ftyp", 4):
        return _base_media(data, limits)
    raise refused(data)


def _base_media(data: bytes, limits: Limits) -> Picture | Unclean:
    match still(data):
        case "avif":
            return heif.clean(data, limits)
        case "heic":
            return heif.check(data, limits)
        case _:
            raise NotStored(Reason.VIDEO, f"a file of the brand {data[8:12]!r}: a video, not a picture")


def refused(data: bytes) -> NotStored:
    """What a file is that begins with no signature of a stored picture; the first 4 kB are enough."""
    for signature, reason, words in _OTHERS:
        if data.startswith(signature):
            return NotStored(reason, f"the file is {words}, which is not stored")
    text = data[:_TEXT_START].replace(b"\0", b"").lstrip(b"\xef\xbb\xbf\xfe\xff\x09\x0a\x0c\x0d\x20")  # also UTF-16
    if text.startswith(b"<"):
        if _SVG.search(text):
            return NotStored(Reason.SVG, "the file is an SVG, which can contain scripts")
        return NotStored(Reason.HTML, "the file is an HTML page or XML, not a picture")
    return NotStored(Reason.UNKNOWN_TYPE, f"the file begins with {data[:8].hex()}, which no stored format does")
