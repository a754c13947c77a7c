"""What a fetched file can be: a picture that may be stored, or a file that is refused for a reason. No format is read here."""

from dataclasses import dataclass
from enum import Enum, StrEnum
from typing import ClassVar

from beat_actors.errors import BeatError


class Kind(Enum):
    """A format of pictures: its media type and the extension of its files."""

    JPEG = "image/jpeg", "jpg"
    PNG = "image/png", "png"
    WEBP = "image/webp", "webp"
    GIF = "image/gif", "gif"
    AVIF = "image/avif", "avif"
    HEIC = "image/heic", "heic"

    @property
    def media_type(self) -> str:
        return self.value[0]

    @property
    def extension(self) -> str:
        return self.value[1]


class Reason(StrEnum):
    """Why a file is not stored."""

    EMPTY = "empty"
    """The file has no bytes."""
    HTML = "html"
    """An HTML page, or XML other than SVG."""
    SVG = "svg"
    """An SVG can contain scripts, so no SVG is stored."""
    COMPRESSED = "compressed"
    """The body is still compressed (gzip, zstd); an SVGZ looks the same."""
    VIDEO = "video"
    """A video where a picture is expected."""
    UNKNOWN_TYPE = "unknown_type"
    """None of the formats that are stored."""
    TRUNCATED = "truncated"
    """The file ends before its format does."""
    DAMAGED = "damaged"
    """The structure contradicts itself."""
    TOO_LARGE = "too_large"
    """More bytes than the limit."""
    TOO_MANY_PIXELS = "too_many_pixels"
    """The header declares more pixels than the limit."""
    TOO_MANY_FRAMES = "too_many_frames"
    """More frames, or more pixels in all frames, than the limit."""
    TOO_MANY_PARTS = "too_many_parts"
    """More segments, chunks, blocks or boxes than files of this format have."""
    TOO_LONG = "too_long"
    """A video that plays for longer than the limit."""
    PLACEHOLDER = "placeholder"
    """The picture that a host sends in place of one that it does not have."""
    UNDECODABLE = "undecodable"
    """The picture had to be re-encoded, and its decoder refused it or crashed."""
    TOO_COSTLY = "too_costly"
    """The picture had to be re-encoded, and that took more memory or CPU time than the limit."""


WORTH_ANOTHER_FETCH = frozenset({Reason.EMPTY, Reason.TRUNCATED, Reason.DAMAGED, Reason.COMPRESSED})
"""The transfer may be the cause. The same URL may give the whole file next time."""


class NotStored(BeatError):
    """File not stored

    A fetched file is not what may be stored. `reason` says why, the message says what was found.
    """

    code: ClassVar[str] = "not_stored"

    def __init__(self, reason: Reason, found: str) -> None:
        super().__init__(found)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Limits:
    """What a picture may be. All limits are compared with the headers, before a decoder reads the file."""

    octets: int = 20_000_000
    pixels: int = 50_000_000
    """Width times height, of one frame."""
    side: int = 16_384
    frames: int = 1_000
    frame_pixels: int = 1_000_000_000
    """The pixels of all frames together."""

    def check_size(self, width: int, height: int) -> None:
        """Raises `NotStored`."""
        if not width or not height:
            raise NotStored(Reason.DAMAGED, f"the picture is {width} pixels wide and {height} high")
        if width > self.side or height > self.side or width * height > self.pixels:
            raise NotStored(
                Reason.TOO_MANY_PIXELS,
                f"the picture is {width} × {height}; allowed are {self.side} a side and {self.pixels} pixels",
            )

    def check_frames(self, frames: int, pixels: int) -> None:
        """`pixels`: of all frames together. Raises `NotStored`."""
        if frames > self.frames or pixels > self.frame_pixels:
            raise NotStored(
                Reason.TOO_MANY_FRAMES,
                f"the picture has {frames} frames or more with {pixels} pixels; allowed are {self.frames} frames with "
                f"{self.frame_pixels} pixels",
            )


LIMITS = Limits()


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture that may be stored. `data` contains neither metadata nor anything behind the picture's end.

    `width` and `height` are those that a reader sees: the orientation is applied.
    """

    media_type: str
    extension: str
    width: int
    height: int
    frames: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Unclean:
    """A picture within the limits that cannot be cleaned by structure: it has to be re-encoded. `why` ends "the picture has …"."""

    kind: Kind
    why: str
    data: bytes


def picture(kind: Kind, size: tuple[int, int], frames: int, data: bytes, orientation: int = 1) -> Picture:
    """`size` as encoded; orientations 5 to 8 of EXIF turn the picture by a quarter."""
    width, height = size if orientation < 5 else (size[1], size[0])
    return Picture(kind.media_type, kind.extension, width, height, frames, data)
