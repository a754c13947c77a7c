"""Where content lies: its key in the bucket, and the URL under which readers outside get it."""

from beat_actors.settings import Settings


def key_of(content: bytes) -> str:
    """The key of an object. The hash comes first, so that the objects spread over the partitions of the bucket."""
    name = content.hex()
    return f"{name[:2]}/{name[2:4]}/{name}"


class Places:
    """The URLs of stored content."""

    def __init__(self, settings: Settings) -> None:
        self._base = None if settings.asset_base_url is None else settings.asset_base_url.rstrip("/")

    def url_of(self, content: bytes) -> str | None:
        """`None` where readers get the bytes from the API."""
        return None if self._base is None else f"{self._base}/{key_of(content)}"
