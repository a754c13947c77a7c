"""Requests that are signed, and then changed."""

import hashlib
import re
import time
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

import aiohttp
from yarl import URL

from beat_actors.transport.signing import EMPTY, Signer, path_of, query_of
from tests.conformance.s3.endpoints import Endpoint


@dataclass(frozen=True)
class Said:
    """`code`: S3's own, of a refusal."""

    status: int
    code: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def ok(self) -> bool:
        return self.status < 300

    def value(self, name: str) -> str:
        """The text of an element of the answer."""
        found = re.search(f"<{name}>([^<]*)</{name}>", self.body.decode())
        assert found, f"the answer has no {name}: {self.body[:500]!r}"
        return found[1]


class Probe:
    """`place`: a prefix of the test's own."""

    def __init__(self, endpoint: Endpoint, session: aiohttp.ClientSession, place: str) -> None:
        self.endpoint, self.place = endpoint, place
        self._session = session
        self._signer = Signer(urlsplit(endpoint.url).netloc, endpoint.region)

    def path(self, key: str) -> str:
        return f"/{self.endpoint.bucket}/{path_of(self.place + key) if key else ''}"

    async def ask(
        self,
        method: str,
        key: str = "",
        body: bytes = b"",
        *,
        query: Iterable[tuple[str, str]] = (),
        headers: Mapping[str, str] = {},
        signed_body: bytes | None = None,
        access_key: str | None = None,
        secret_key: str | None = None,
        late: float = 0.0,
        changed: Mapping[str, str | None] = {},
        chunked: bool = False,
    ) -> Said:
        """`signed_body`: another body than the one that is sent. `late`: seconds by which the clock of the signer is behind. `changed`: headers
        that are changed, or taken away, after they were signed. `chunked`: without a length."""
        known = self.endpoint.credentials
        known = replace(known, access_key=access_key or known.access_key, secret_key=secret_key or known.secret_key)
        hashed = hashlib.sha256(body if signed_body is None else signed_body).hexdigest()
        text = query_of(query)
        signed = self._signer.headers(known, method, self.path(key), text, headers, hashed, time.time() - late)
        sent = {name: value for name, value in {**signed, **changed}.items() if value is not None}
        return await self.send(method, f"{self.path(key)}?{text}" if text else self.path(key), sent, body, chunked)

    async def send(
        self, method: str, target: str, headers: Mapping[str, str] = {}, body: bytes = b"", chunked: bool = False
    ) -> Said:
        async def parts() -> AsyncIterator[bytes]:
            yield body

        data = parts() if chunked else body or None
        url = URL(self.endpoint.url + target, encoded=True)
        async with self._session.request(method, url, headers=headers, data=data, allow_redirects=False) as answer:
            said = await answer.read()
            code = (
                re.search(rb"<Code>([^<]*)</Code>", said) if answer.status >= 300 or b"<Error" in said[:100] else None
            )
            return Said(answer.status, code[1].decode() if code else "", answer.headers, said)

    def presigned(self, key: str, seconds: int, late: float = 0.0) -> str:
        """The target of a signed URL."""
        path = self.path(key)
        query = self._signer.presigned(self.endpoint.credentials, path, (), seconds, time.time() - late)
        return f"{path}?{query}"


__all__ = ["EMPTY", "Probe", "Said"]
