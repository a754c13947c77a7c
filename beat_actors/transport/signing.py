"""Signatures of requests to S3 (AWS Signature Version 4): headers that sign a request and its body, and URLs that sign a GET. No I/O, no clock.

A signature covers the SHA-256 of the body, so a caller has to hash the bytes that it sends. There is no default for it: a signer that hashes an
empty body for a request that sends one is answered with 200 by many servers, and with 400 by AWS.
"""

import hashlib
import hmac
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from urllib.parse import quote

ALGORITHM = "AWS4-HMAC-SHA256"
UNSIGNED = "UNSIGNED-PAYLOAD"
"""In place of the hash of a body, in URLs that are signed before anybody sends a body."""
EMPTY = hashlib.sha256(b"").hexdigest()
"""The hash of a request without a body."""
LONGEST = 7 * 86_400
"""Seconds for which a signed URL can be valid, at most."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """A key of AWS. `token`: of a session, for keys that expire."""

    access_key: str
    secret_key: str = field(repr=False)
    token: str | None = field(default=None, repr=False)


def path_of(key: str) -> str:
    """The path of an object's key in a URL, without a leading slash."""
    return quote(key, safe="/-_.~")


def query_of(pairs: Iterable[tuple[str, str]]) -> str:
    """A query string in the form and order that is signed, so that it can be sent as it is."""
    # Sorted by name, then by value: as whole texts `a-b=` would come before `a=`.
    encoded = sorted((quote(name, safe="-_.~"), quote(value, safe="-_.~")) for name, value in pairs)
    return "&".join(f"{name}={value}" for name, value in encoded)


class Signer:
    """Signs requests to one host. It derives a key for each day and keeps the last one."""

    def __init__(self, host: str, region: str, service: str = "s3") -> None:
        self._host = host
        self._region, self._service = region, service
        self._derived: tuple[str, str, bytes] | None = None

    def headers(
        self,
        credentials: Credentials,
        method: str,
        path: str,
        query: str,
        headers: Mapping[str, str],
        body_sha256: str,
        now: float,
    ) -> dict[str, str]:
        """The headers to send: `headers`, all of them signed, and those of the signature. `Host` is signed and not among them.

        `path` and `query` are those of the URL as it is sent, the query from `query_of`. Names of `headers` are in lower case.
        `body_sha256`: of the body that is sent, in hex. `now`: seconds since 1970.
        """
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))
        sent = {**headers, "x-amz-content-sha256": body_sha256, "x-amz-date": stamp}
        if credentials.token is not None:
            sent["x-amz-security-token"] = credentials.token
        names = sorted([*sent, "host"])
        lines = [f"{name}:{self._host if name == 'host' else ' '.join(sent[name].split())}\n" for name in names]
        signed = ";".join(names)
        request = f"{method}\n{path}\n{query}\n{''.join(lines)}\n{signed}\n{body_sha256}"
        scope, signature = self._sign(credentials, stamp, request)
        sent["authorization"] = (
            f"{ALGORITHM} Credential={credentials.access_key}/{scope}, SignedHeaders={signed}, Signature={signature}"
        )
        return sent

    def presigned(
        self,
        credentials: Credentials,
        path: str,
        query: Iterable[tuple[str, str]],
        seconds: int,
        now: float,
        method: str = "GET",
    ) -> str:
        """The query string with which anybody may make this request for `seconds`. Raises `ValueError` for a time that AWS refuses."""
        if not 1 <= seconds <= LONGEST:
            raise ValueError(f"a signed URL is valid for 1 to {LONGEST} seconds, not for {seconds}")
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))
        pairs = [
            *query,
            ("X-Amz-Algorithm", ALGORITHM),
            ("X-Amz-Credential", f"{credentials.access_key}/{self._scope(stamp)}"),
            ("X-Amz-Date", stamp),
            ("X-Amz-Expires", str(seconds)),
            ("X-Amz-SignedHeaders", "host"),
        ]
        if credentials.token is not None:
            pairs.append(("X-Amz-Security-Token", credentials.token))
        text = query_of(pairs)
        request = f"{method}\n{path}\n{text}\nhost:{self._host}\n\nhost\n{UNSIGNED}"
        _, signature = self._sign(credentials, stamp, request)
        return f"{text}&X-Amz-Signature={signature}"

    def _scope(self, stamp: str) -> str:
        return f"{stamp[:8]}/{self._region}/{self._service}/aws4_request"

    def _sign(self, credentials: Credentials, stamp: str, request: str) -> tuple[str, str]:
        scope = self._scope(stamp)
        hashed = hashlib.sha256(request.encode()).hexdigest()
        text = f"{ALGORITHM}\n{stamp}\n{scope}\n{hashed}".encode()
        return scope, hmac.digest(self._key(credentials.secret_key, stamp[:8]), text, "sha256").hex()

    def _key(self, secret: str, day: str) -> bytes:
        kept = self._derived
        if kept is not None and kept[0] == secret and kept[1] == day:
            return kept[2]
        key = f"AWS4{secret}".encode()
        for part in (day, self._region, self._service, "aws4_request"):
            key = hmac.digest(key, part.encode(), "sha256")
        self._derived = (secret, day, key)
        return key
