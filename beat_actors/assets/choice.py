"""Which smaller picture a reader gets: its width, and its type by the header `Accept`. No I/O."""

WIDTHS = (64, 160, 320, 640, 1080)
"""Pixels. A width that is asked for is rounded up to the next of these, so that a picture has few variants."""
WIDEST = 4096
"""Pixels that can be asked for. Above the last of `WIDTHS` a reader gets the picture as it is."""
AVIF, WEBP, JPEG = "image/avif", "image/webp", "image/jpeg"
REDUCIBLE = frozenset({JPEG, "image/png", WEBP, AVIF, "image/heic", "image/heif"})
"""Types of which smaller pictures are made. A GIF may move, and a video does."""
MOST_READ = 500
"""Characters of the header that are read."""


def width_for(asked: int, own: int | None) -> int | None:
    """The width to make; `None` for the picture as it is. `own`: the width of that picture."""
    found = next((width for width in WIDTHS if width >= asked), None)
    if found is None or (own is not None and own <= found):
        return None
    return found


def type_for(accept: str | None) -> str:
    """The type to make: WebP for a reader that names it, AVIF for one that prefers it to WebP, else JPEG.

    A wildcard does not count, because programs send it that cannot read these types.
    """
    weights = dict.fromkeys((AVIF, WEBP), 0.0)
    for part in (accept or "")[:MOST_READ].split(","):
        name, *parameters = (text.strip().lower() for text in part.split(";"))
        if name in weights:
            weights[name] = _weight(parameters)
    if weights[AVIF] > weights[WEBP]:
        return AVIF
    return WEBP if weights[WEBP] > 0 else JPEG


def _weight(parameters: list[str]) -> float:
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                weight = float(value)
            except ValueError:
                return 0.0
            return weight if 0 <= weight <= 1 else 0.0
    return 1.0
