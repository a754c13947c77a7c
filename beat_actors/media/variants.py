"""Which variant of a picture a reader gets. Pure: no picture is read here."""

from beat_actors.media.picture import Kind

WIDTHS = (96, 160, 320, 480, 640, 960, 1280, 1920)
"""The widths of variants. So many exist of one picture at most, for each of three formats."""
_OFFERED = (Kind.AVIF, Kind.WEBP)
"""Only to readers that name them, in this order. Each browser shows JPEG."""


def width_of(asked: int) -> int:
    """The smallest width of `WIDTHS` that is not below `asked`; the largest for more than that."""
    return next((width for width in WIDTHS if width >= asked), WIDTHS[-1])


def kind_of(accept: str | None) -> Kind:
    """The format for a header `Accept`: AVIF or WebP where it names them (`image/*` and `*/*` do not count), else JPEG."""
    named = {media for media, wanted in map(_parsed, (accept or "").split(",")) if wanted}
    return next((kind for kind in _OFFERED if kind.media_type in named), Kind.JPEG)


def _parsed(part: str) -> tuple[str, bool]:
    media, *parameters = (text.strip().lower() for text in part.split(";"))
    qualities = [text[2:] for text in parameters if text.startswith("q=")]
    return media, not any(quality.strip("0.") == "" for quality in qualities)
