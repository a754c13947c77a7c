"""The process that decodes pictures: `python -m beat_actors.media.decoding MEMORY SECONDS`. `conversion` starts it; only it imports decoders.

It reads orders from stdin and writes answers to stdout, one after another, until stdin ends. It has no more than MEMORY bytes of address space, and
SECONDS of CPU time for each order; the kernel ends it beyond that. It writes no file, and its environment is empty. What it answers is not trusted.
"""

import resource
import signal
import struct
import sys
import time
from collections.abc import Callable
from enum import IntEnum
from typing import TYPE_CHECKING, BinaryIO

from beat_actors.media.picture import Kind, Limits, NotStored, Reason

if TYPE_CHECKING:
    from PIL.Image import Image

ORDER = struct.Struct("!BBHIIII")
"""Format of the picture, format of the answer, width (0: re-encode); pixels, a side and octets that are allowed; octets of the picture that follows."""
ANSWER = struct.Struct("!BBI")
"""A `State`, the number of a format or of a reason, octets that follow: of a picture, or of a message."""
KINDS = tuple(Kind)
REASONS = tuple(Reason)
QUALITY, LOWER = 90, 75
"""Of what replaces a fetched picture; the second where the first makes too many bytes. Variants have 80: the stored picture remains."""
_PROFILE_OCTETS = 1 << 20
_FORMATS = {Kind.HEIC: "HEIF"}


class State(IntEnum):
    READY = 0
    MADE = 1
    REFUSED = 2
    UNFIT = 3
    """The process cannot work at all: a decoder is missing, or MEMORY is too little for it."""


def main() -> int:
    for each in (signal.SIGINT, signal.SIGTERM):  # they reach a whole group; the end of stdin ends this process
        signal.signal(each, signal.SIG_IGN)
    memory, seconds = int(sys.argv[1]), int(sys.argv[2])
    orders, answers = sys.stdin.buffer, sys.stdout.buffer
    try:
        _restrict(memory)
        decode = _decoder()
    except Exception as error:  # noqa: BLE001 - whatever it is, the parent has to know
        _answer(answers, State.UNFIT, 0, f"{type(error).__name__}: {error}".encode())
        return 1
    _answer(answers, State.READY, 0, b"")
    while head := orders.read(ORDER.size):
        resource.setrlimit(resource.RLIMIT_CPU, (int(time.process_time()) + 1 + seconds, resource.RLIM_INFINITY))
        source, target, width, pixels, side, allowed, octets = ORDER.unpack(head)
        data = orders.read(octets)
        try:
            kind, made = decode(data, KINDS[source], KINDS[target], width, Limits(allowed, pixels, side))
        except NotStored as error:
            _answer(answers, State.REFUSED, REASONS.index(error.reason), str(error).encode())
        except MemoryError:
            _answer(
                answers, State.REFUSED, REASONS.index(Reason.TOO_COSTLY), b"decoding takes more memory than allowed"
            )
        except Exception as error:  # noqa: BLE001 - decoders raise errors of many kinds for damaged pictures
            _answer(
                answers,
                State.REFUSED,
                REASONS.index(Reason.UNDECODABLE),
                f"{type(error).__name__}: {error}"[:500].encode(),
            )
        else:
            _answer(answers, State.MADE, KINDS.index(kind), made)
    return 0


def _restrict(memory: int) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    for kind in (resource.RLIMIT_CORE, resource.RLIMIT_FSIZE):
        resource.setrlimit(kind, (0, 0))


def _answer(answers: BinaryIO, state: State, what: int, body: bytes) -> None:
    answers.write(ANSWER.pack(state, what, len(body)) + body)
    answers.flush()


def _decoder() -> Callable[[bytes, Kind, Kind, int, Limits], tuple[Kind, bytes]]:
    """Imports the decoders. The function raises `NotStored`, and what the decoders raise."""
    import io

    from pi_heif import register_heif_opener
    from PIL import Image, ImageFile, ImageOps

    register_heif_opener(thumbnails=False, depth_images=False, aux_images=False, decode_threads=1)
    Image.MAX_IMAGE_PIXELS = None  # `limits` decides
    ImageFile.LOAD_TRUNCATED_IMAGES = False
    Image.preinit()

    def decode(data: bytes, source: Kind, target: Kind, width: int, limits: Limits) -> tuple[Kind, bytes]:
        with Image.open(io.BytesIO(data), formats=[_FORMATS.get(source, source.name)]) as opened:
            limits.check_size(*opened.size)
            if width:
                _draft(opened, width)
            opened.load()
            limits.check_size(*opened.size)
            profile = opened.info.get("icc_profile") or b""
            shown = _plain(ImageOps.exif_transpose(opened))
        if width and shown.width > width:
            size = width, max(1, round(shown.height * width / shown.width))
            shown = shown.resize(size, Image.Resampling.LANCZOS, reducing_gap=2.0)
        if shown.mode == "RGBA" and target is Kind.JPEG:
            target = Kind.WEBP  # each reader that shows no WebP is older than ten years
        kept = profile if shown.mode == _mode_of(profile) and len(profile) <= _PROFILE_OCTETS else b""
        for quality in (80,) if width else (QUALITY, LOWER):
            into = io.BytesIO()
            shown.save(into, target.name, icc_profile=kept, exif=b"", **_options(target, quality, variant=bool(width)))
            if into.tell() <= limits.octets:
                break
        return target, into.getvalue()

    return decode


def _draft(opened: "Image", width: int) -> None:
    """Lets the decoder of JPEG leave out what the variant does not show. Has no effect on other formats."""
    turned = opened.getexif().get(0x0112, 1) >= 5
    wide, high = (opened.height, opened.width) if turned else opened.size
    size = width, max(1, round(high * width / wide))
    opened.draft(None, (size[1], size[0]) if turned else size)


def _plain(picture: "Image") -> "Image":
    """In grey, in colours, or in colours with a transparency that something of the picture has."""
    if picture.has_transparency_data:
        coloured = picture.convert("RGBA")
        lowest = coloured.getchannel("A").getextrema()[0]
        return coloured if lowest != 255 else coloured.convert("RGB")
    return picture if picture.mode in ("L", "RGB") else picture.convert("RGB")


def _mode_of(profile: bytes) -> str:
    """The mode whose colours an ICC profile describes; one of CMYK describes none of what is written."""
    return {b"RGB ": "RGB", b"GRAY": "L"}.get(profile[16:20], "")


def _options(target: Kind, quality: int, *, variant: bool) -> dict[str, int | bool]:
    match target:
        case Kind.AVIF:
            return {"quality": 60, "speed": 8, "max_threads": 1}  # as good as 80 in the other formats
        case Kind.WEBP:
            return {"quality": quality, "method": 3}
        case _:
            return {"quality": quality, "progressive": variant}


if __name__ == "__main__":
    sys.exit(main())
