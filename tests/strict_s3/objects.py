"""What the strict S3 does with a request that is signed: objects, lists and uploads in parts, in memory."""

import base64
import binascii
import hashlib
import re
import time
import uuid
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import formatdate
from urllib.parse import quote
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from tests.strict_s3.faults import Counts
from tests.strict_s3.requests import Refused, Request

Answer = tuple[int, dict[str, str], bytes]
LEAST_PART = 5 << 20
KEPT = ("content-type", "cache-control")
RANGE = re.compile(r"bytes=(\d*)-(\d*)")


@dataclass(slots=True)
class Stored:
    body: bytes
    etag: str
    headers: dict[str, str]
    at: float


@dataclass
class Upload:
    key: str
    headers: dict[str, str]
    parts: dict[int, tuple[str, bytes]] = field(default_factory=dict)


def check_sums(request: Request) -> None:
    """Compare the checksums that came with a body. Raises `Refused`."""
    headers, body = request.headers, request.body
    sums = {
        "content-md5": lambda: hashlib.md5(body).digest(),
        "x-amz-checksum-sha256": lambda: request.sha256,
        "x-amz-checksum-sha1": lambda: hashlib.sha1(body).digest(),
        "x-amz-checksum-crc32": lambda: zlib.crc32(body).to_bytes(4, "big"),
    }
    for name, real in sums.items():
        if name in headers:
            try:
                given = base64.b64decode(headers[name], validate=True)
            except binascii.Error:
                given = b""
            if len(given) != len(right := real()):
                raise Refused(400, "InvalidDigest" if name == "content-md5" else "InvalidRequest", f"{name} is none")
            if given != right:
                raise Refused(400, "BadDigest", f"{name} is not that of the body")


class Objects:
    """One bucket. `keeps`: whether it keeps the bytes of its objects; a benchmark that reads none needs no memory for them."""

    def __init__(self, bucket: str, *, keeps: bool = True) -> None:
        self.bucket = bucket
        self.keeps = keeps
        self.stored: dict[str, Stored] = {}
        self.uploads: dict[str, Upload] = {}
        self.counts = Counts()

    def answer(self, request: Request) -> Answer:
        """Raises `Refused`."""
        if request.bucket != self.bucket:
            raise Refused(404, "NoSuchBucket", "The specified bucket does not exist")
        method, key = request.method, request.key
        if method == "PUT" and key:
            return self._part(request) if "partNumber=" in request.query else self._put(request)
        asked = request.parameters
        if method == "GET" and not key:
            return self._list(asked)
        if method in ("GET", "HEAD") and key:
            return self._get(request)
        if method == "DELETE" and key:
            return self._delete(key, asked)
        if method == "POST":
            if not key and "delete" in asked:
                return self._delete_many(request)
            if key and "uploads" in asked:
                return self._begin(request)
            if key and "uploadId" in asked:
                return self._complete(request, asked["uploadId"])
        raise Refused(405, "MethodNotAllowed")

    def _put(self, request: Request) -> Answer:
        check_sums(request)
        etag = request.headers["x-amz-content-sha256"][:32]
        self._keep(request, request.key, request.body, etag, request.headers)
        return 200, {"etag": f'"{etag}"'}, b""

    def _keep(self, request: Request, key: str, body: bytes, etag: str, headers: dict[str, str]) -> None:
        if len(key.encode()) > 1024:
            raise Refused(400, "KeyTooLongError")
        if request.headers.get("if-none-match") == "*" and key in self.stored:
            self.counts.existed += 1
            raise Refused(412, "PreconditionFailed")
        kept = {name: headers[name] for name in KEPT if name in headers}
        self.stored[key] = Stored(body if self.keeps else b"", etag, kept, time.time())
        self.counts.stored += 1

    def _get(self, request: Request) -> Answer:
        if request.method == "GET":
            self.counts.gets += 1
        else:
            self.counts.heads += 1
        found = self.stored.get(request.key)
        if found is None:
            raise Refused(404, "NoSuchKey")
        body, size = found.body, len(found.body)
        headers = {
            "content-type": "binary/octet-stream",
            **found.headers,
            "etag": f'"{found.etag}"',
            "last-modified": formatdate(found.at, usegmt=True),
            "accept-ranges": "bytes",
        }
        span = RANGE.fullmatch(request.headers.get("range", ""))
        if span is None or span[0] == "bytes=-":
            return 200, headers, body
        first, last = span[1], span[2]
        begin = int(first) if first else max(0, size - int(last))
        end = min(int(last) + 1 if first and last else size, size)
        if begin >= size or (not first and last == "0"):
            raise Refused(416, "InvalidRange")
        return 206, {**headers, "content-range": f"bytes {begin}-{end - 1}/{size}"}, body[begin:end]

    def _delete(self, key: str, asked: dict[str, str]) -> Answer:
        self.counts.deletes += 1
        if "uploadId" in asked:
            if self.uploads.pop(asked["uploadId"], None) is None:
                raise Refused(404, "NoSuchUpload")
        else:
            self.stored.pop(key, None)
        return 204, {}, b""

    def _delete_many(self, request: Request) -> Answer:
        if "content-md5" not in request.headers and not any(
            name.startswith("x-amz-checksum-") for name in request.headers
        ):
            raise Refused(400, "InvalidRequest", "Missing required header for this request: Content-MD5")
        check_sums(request)
        keys = [element.text or "" for element in _xml(request.body).iter() if element.tag.endswith("Key")]
        if len(keys) > 1000:
            raise Refused(400, "MalformedXML")
        for key in keys:
            self.counts.deletes += 1
            self.stored.pop(key, None)
        return 200, {}, b"<DeleteResult/>"

    def _list(self, asked: dict[str, str]) -> Answer:
        if asked.get("list-type") != "2":
            raise Refused(501, "NotImplemented")
        self.counts.lists += 1
        most = min(int(asked.get("max-keys", "1000")), 1000)
        prefix, url = asked.get("prefix", ""), asked.get("encoding-type") == "url"
        after = base64.b64decode(asked["continuation-token"]).decode() if "continuation-token" in asked else ""
        keys = sorted((key for key in self.stored if key.startswith(prefix) and key > after), key=str.encode)
        token = base64.b64encode(keys[most - 1].encode()).decode() if len(keys) > most else None
        return 200, {"content-type": "application/xml"}, "".join(self._listed(keys[:most], token, url)).encode()

    def _listed(self, keys: list[str], token: str | None, url: bool) -> Iterator[str]:
        yield "<?xml version='1.0'?><ListBucketResult xmlns='http://s3.amazonaws.com/doc/2006-03-01/'>"
        yield f"<IsTruncated>{'true' if token else 'false'}</IsTruncated>"
        if url:
            yield "<EncodingType>url</EncodingType>"
        for key in keys:
            one = self.stored[key]
            at = datetime.fromtimestamp(one.at, UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
            name = quote(key, safe="/") if url else escape(key)
            yield f"<Contents><Key>{name}</Key><Size>{len(one.body)}</Size><LastModified>{at}</LastModified>"
            yield f"<ETag>&quot;{one.etag}&quot;</ETag></Contents>"
        if token:
            yield f"<NextContinuationToken>{token}</NextContinuationToken>"
        yield "</ListBucketResult>"

    def _begin(self, request: Request) -> Answer:
        upload = uuid.uuid4().hex
        self.uploads[upload] = Upload(request.key, request.headers)
        body = f"<InitiateMultipartUploadResult><UploadId>{upload}</UploadId></InitiateMultipartUploadResult>"
        return 200, {}, body.encode()

    def _part(self, request: Request) -> Answer:
        check_sums(request)
        asked = request.parameters
        upload = self.uploads.get(asked.get("uploadId", ""))
        if upload is None or upload.key != request.key:
            raise Refused(404, "NoSuchUpload")
        etag = request.headers["x-amz-content-sha256"][:32]
        upload.parts[int(asked["partNumber"])] = (etag, request.body)
        return 200, {"etag": f'"{etag}"'}, b""

    def _complete(self, request: Request, upload_id: str) -> Answer:
        upload = self.uploads.get(upload_id)
        if upload is None or upload.key != request.key:
            raise Refused(404, "NoSuchUpload")
        texts = [(element.tag.rpartition("}")[2], element.text or "") for element in _xml(request.body).iter()]
        numbers = [int(text) for tag, text in texts if tag == "PartNumber"]
        etags = [text.strip('"') for tag, text in texts if tag == "ETag"]
        if numbers != sorted(set(numbers)) or not numbers:
            raise Refused(400, "InvalidPartOrder")
        if [upload.parts.get(number, ("",))[0] for number in numbers] != etags:
            raise Refused(400, "InvalidPart")
        bodies = [upload.parts[number][1] for number in numbers]
        if any(len(body) < LEAST_PART for body in bodies[:-1]):
            raise Refused(400, "EntityTooSmall")
        etag = f"{hashlib.md5(''.join(etags).encode()).hexdigest()}-{len(etags)}"
        self._keep(request, request.key, b"".join(bodies), etag, upload.headers)
        del self.uploads[upload_id]
        return 200, {}, f"<CompleteMultipartUploadResult><ETag>{etag}</ETag></CompleteMultipartUploadResult>".encode()


def _xml(body: bytes) -> ElementTree.Element:
    try:
        return ElementTree.fromstring(body)
    except ElementTree.ParseError:
        raise Refused(400, "MalformedXML") from None
