"""A request as it came, its refusals, and its signature."""

import hashlib
import hmac
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from urllib.parse import unquote
from xml.sax.saxutils import escape

SKEW = 15 * 60
"""Seconds by which the clocks of both sides may differ."""
ALGORITHM = "AWS4-HMAC-SHA256"


class Refused(Exception):
    """S3 refuses the request."""

    def __init__(self, status: int, code: str, message: str = "") -> None:
        super().__init__(code)
        self.status, self.code, self.message = status, code, message or code

    @property
    def body(self) -> bytes:
        return f"<?xml version='1.0'?><Error><Code>{self.code}</Code><Message>{escape(self.message)}</Message></Error>".encode()


@dataclass(slots=True)
class Request:
    """`path` and `query` as they were sent. Names of headers are in lower case."""

    method: str
    path: str
    query: str
    headers: dict[str, str]
    body: bytes
    _sha256: bytes | None = None

    @property
    def sha256(self) -> bytes:
        """Of the body, which is hashed once: that is a third of what a PUT costs here."""
        if self._sha256 is None:
            self._sha256 = hashlib.sha256(self.body).digest()
        return self._sha256

    @property
    def key(self) -> str:
        return unquote(self.path.lstrip("/").partition("/")[2])

    @property
    def bucket(self) -> str:
        return self.path.lstrip("/").partition("/")[0]

    @property
    def parameters(self) -> dict[str, str]:
        pairs = (pair.partition("=") for pair in self.query.split("&") if pair)
        return {unquote(name): unquote(value) for name, _, value in pairs}


@lru_cache(maxsize=64)
def _key(secret: str, day: str, region: str, service: str) -> bytes:
    key = f"AWS4{secret}".encode()
    for part in (day, region, service, "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    return key


def _signature(secret: str, scope: str, stamp: str, canonical: str) -> str:
    day, region, service, _ = scope.split("/")
    hashed = hashlib.sha256(canonical.encode()).hexdigest()
    text = f"{ALGORITHM}\n{stamp}\n{scope}\n{hashed}".encode()
    return hmac.digest(_key(secret, day, region, service), text, "sha256").hex()


def _instant(stamp: str) -> float:
    try:
        return datetime.strptime(stamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()
    except ValueError:
        raise Refused(403, "AccessDenied", "X-Amz-Date is no time") from None


def _lines(request: Request, signed: str) -> str:
    try:
        return "".join(f"{name}:{' '.join(request.headers[name].split())}\n" for name in signed.split(";"))
    except KeyError as error:
        raise Refused(403, "SignatureDoesNotMatch", f"the signed header {error} did not come") from None


def _canonical_query(request: Request, without: str = "") -> str:
    pairs = (pair.partition("=")[::2] for pair in request.query.split("&") if pair)
    return "&".join(f"{name}={value}" for name, value in sorted(pairs) if name != without)


def verify(request: Request, keys: dict[str, str], now: float | None = None) -> None:
    """Raises `Refused` unless somebody with one of these keys signed exactly this request, and a moment ago."""
    now = time.time() if now is None else now
    if "X-Amz-Signature=" in request.query:
        _verify_query(request, keys, now)
        return
    said = request.headers.get("authorization", "")
    if not said.startswith(ALGORITHM):
        raise Refused(403, "AccessDenied", "the request is not signed")
    try:
        parts = dict(part.strip().split("=", 1) for part in said[len(ALGORITHM) :].split(","))
        (access, scope), signed, given = parts["Credential"].split("/", 1), parts["SignedHeaders"], parts["Signature"]
    except (KeyError, ValueError):
        raise Refused(400, "AuthorizationHeaderMalformed") from None
    stamp, hashed = request.headers.get("x-amz-date", ""), request.headers.get("x-amz-content-sha256")
    if hashed is None:
        raise Refused(400, "InvalidRequest", "x-amz-content-sha256 is missing")
    if access not in keys:
        raise Refused(403, "InvalidAccessKeyId")
    names = signed.split(";")
    if "host" not in names or any(name.startswith("x-amz-") and name not in names for name in request.headers):
        raise Refused(403, "AccessDenied", "there are headers present which were not signed")
    canonical = (
        f"{request.method}\n{request.path}\n{_canonical_query(request)}\n{_lines(request, signed)}\n{signed}\n{hashed}"
    )
    if not hmac.compare_digest(_signature(keys[access], scope, stamp, canonical), given):
        raise Refused(403, "SignatureDoesNotMatch")
    if abs(now - _instant(stamp)) > SKEW:
        raise Refused(403, "RequestTimeTooSkewed")
    if hashed not in (request.sha256.hex(), "UNSIGNED-PAYLOAD"):
        raise Refused(400, "XAmzContentSHA256Mismatch", "the body is not the one that was signed")


def _verify_query(request: Request, keys: dict[str, str], now: float) -> None:
    asked = request.parameters
    access, _, scope = asked.get("X-Amz-Credential", "").partition("/")
    if access not in keys:
        raise Refused(403, "InvalidAccessKeyId")
    stamp, signed = asked.get("X-Amz-Date", ""), asked.get("X-Amz-SignedHeaders", "")
    query = _canonical_query(request, without="X-Amz-Signature")
    canonical = f"{request.method}\n{request.path}\n{query}\n{_lines(request, signed)}\n{signed}\nUNSIGNED-PAYLOAD"
    if not hmac.compare_digest(_signature(keys[access], scope, stamp, canonical), asked["X-Amz-Signature"]):
        raise Refused(403, "SignatureDoesNotMatch")
    signed_at = _instant(stamp)
    if not signed_at - SKEW <= now <= signed_at + int(asked.get("X-Amz-Expires", "0")):
        raise Refused(403, "AccessDenied", "Request has expired")
