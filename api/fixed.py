"""Answers that stay the same while the process runs: made once, compressed once, and revalidated by their ETag."""

import gzip
import hashlib
from typing import Self

from falcon.asgi import Request, Response


class Fixed:
    """One such answer. Callers and proxies may cache it for an hour: its routes need no key and have no rate limit."""

    def __init__(self, plain: bytes, packed: bytes, mark: str, content_type: str) -> None:
        self._plain = plain
        self._packed = packed
        self._mark = mark
        self._content_type = content_type

    @classmethod
    def of(cls, plain: bytes, content_type: str) -> Self:
        """Compresses: not for the event loop where `plain` is large."""
        mark = hashlib.blake2b(plain, digest_size=12).hexdigest()
        return cls(plain, gzip.compress(plain, mtime=0), mark, content_type)

    def send(self, req: Request, resp: Response) -> None:
        """Answer with it, or with 304 where the caller has it already."""
        resp.content_type = self._content_type
        resp.etag = self._mark
        resp.set_header("Cache-Control", "public, max-age=3600")
        resp.set_header("Vary", "Accept-Encoding")
        if any(tag in ("*", self._mark) for tag in (req.if_none_match or ())):
            resp.status = 304
        elif "gzip" in (req.get_header("Accept-Encoding") or ""):
            resp.set_header("Content-Encoding", "gzip")
            resp.data = self._packed
        else:
            resp.data = self._plain
