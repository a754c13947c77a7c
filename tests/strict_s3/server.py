"""The strict S3 on an asyncio protocol: HTTP/1.1 with a length, and nothing else of HTTP."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import cast

from tests.strict_s3.faults import Faults
from tests.strict_s3.objects import Answer, Objects
from tests.strict_s3.requests import Refused, Request, verify

PHRASES = {status.value: status.phrase for status in HTTPStatus}
ACCESS_KEY, SECRET_KEY = "strict", "strict-secret"
LARGEST = 5 << 30


class StrictS3:
    """`objects`, `faults`: read and written by tests of the same process. Another process asks `GET /-/counts` and `POST /-/faults`."""

    def __init__(self, bucket: str = "beat-strict", keys: dict[str, str] | None = None, *, keeps: bool = True) -> None:
        self.objects, self.faults = Objects(bucket, keeps=keeps), Faults()
        self.keys = keys or {ACCESS_KEY: SECRET_KEY}
        self.connections: set[Connection] = set()
        self.most_connections = 0
        self.asked: set[str] = set()
        """The paths of all PUTs."""
        self.longest_hang = 0.0
        """Seconds that a client waited for an answer that never came, at most."""
        self.port = 0

    @property
    def bucket(self) -> str:
        return self.objects.bucket

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def env(self) -> dict[str, str]:
        """The variables by which boto3 finds the key."""
        access, secret = next(iter(self.keys.items()))
        return {"AWS_ACCESS_KEY_ID": access, "AWS_SECRET_ACCESS_KEY": secret, "AWS_DEFAULT_REGION": "us-east-1"}

    async def listen(self, port: int = 0) -> asyncio.Server:
        server = await asyncio.get_running_loop().create_server(
            lambda: Connection(self), "127.0.0.1", port, backlog=8192
        )
        self.port = server.sockets[0].getsockname()[1]
        return server

    def answer(self, request: Request) -> Answer | str:
        """An answer, or the fault by which there is none."""
        counts = self.objects.counts
        if request.method == "PUT":
            counts.puts += 1
            self.asked.add(request.path)
        try:
            if request.path.startswith("/-/"):
                return self._ordered(request)
            verify(request, self.keys)
            fault = self.faults.draw(time.monotonic()) if self.faults.active and request.method == "PUT" else None
            if fault is not None:
                counts.faults += 1
                return self._fault(fault, request)
            return self.objects.answer(request)
        except Refused as refused:
            counts.refused += 1
            return refused.status, {"content-type": "application/xml"}, refused.body

    def _fault(self, fault: str, request: Request) -> Answer | str:
        match fault:
            case "slow_down":
                raise Refused(503, "SlowDown", "Please reduce your request rate.")
            case "conflict":
                raise Refused(409, "ConditionalRequestConflict")
            case "full":
                raise Refused(507, "InsufficientStorage")
            case "lie":
                return 200, {"etag": '"lie"'}, b""
            case "lost":
                self.objects.answer(request)
                return "reset"
        return fault

    def _ordered(self, request: Request) -> Answer:
        if request.method == "POST":
            self.faults.order(**json.loads(request.body))
        shown = {
            **self.objects.counts.shown(),
            "objects": len(self.objects.stored),
            "connections": len(self.connections),
            "asked": len(self.asked),
            "longest_hang": self.longest_hang,
        }
        return (
            200,
            {"content-type": "application/json"},
            json.dumps({**shown, "most_connections": self.most_connections}).encode(),
        )


class Connection(asyncio.Protocol):
    """Requests of one client, one after the other."""

    transport: asyncio.Transport

    def __init__(self, server: StrictS3) -> None:
        self._server = server
        self._parts: list[bytes] = []
        self._size, self._wanted = 0, 0
        self._head: tuple[str, str, str, dict[str, str], int] | None = None
        self._stuck = False
        self._hangs_since: float | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass of it
        self._server.connections.add(self)
        self._server.most_connections = max(self._server.most_connections, len(self._server.connections))

    def connection_lost(self, exc: Exception | None) -> None:
        self._server.connections.discard(self)
        if self._hangs_since is not None:
            self._server.longest_hang = max(self._server.longest_hang, time.monotonic() - self._hangs_since)

    def data_received(self, data: bytes) -> None:
        if self._stuck:
            return
        self._parts.append(data)
        self._size += len(data)
        while self._size >= self._wanted and self._size:
            whole = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
            if self._head is None and not self._begin(whole):
                self._parts = [whole]
                return
            assert self._head is not None
            method, path, query, headers, at = self._head
            if len(whole) < self._wanted:
                self._parts = [whole]
                return
            request = Request(method, path, query, headers, whole[at : self._wanted])
            rest = whole[self._wanted :]
            self._parts, self._size, self._wanted, self._head = [rest] if rest else [], len(rest), 0, None
            self._answer(request)

    def _begin(self, whole: bytes) -> bool:
        """Read a head; False where it is not all there."""
        end = whole.find(b"\r\n\r\n")
        if end < 0:
            return False
        first, *lines = whole[:end].decode("latin-1").split("\r\n")
        method, target, _ = first.split(" ", 2)
        path, _, query = target.partition("?")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        length = headers.get("content-length")
        if length is None and (method in ("PUT", "POST") or "transfer-encoding" in headers):
            refused = Refused(411, "MissingContentLength", "You must provide the Content-Length HTTP header.")
            self._write(method, refused.status, {"connection": "close"}, refused.body)
            self.transport.close()
            self._stuck = True
            return False
        self._head = (method, path, query, headers, end + 4)
        self._wanted = end + 4 + int(length or 0)
        if "expect" in headers and len(whole) < self._wanted:
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")  # boto3 waits for it, a second long
        return True

    def _answer(self, request: Request) -> None:
        answer = self._server.answer(request)
        if answer == "reset":
            self.transport.abort()
        elif isinstance(answer, str):
            self._stuck, self._hangs_since = True, time.monotonic()
        elif self._server.faults.delay:
            asyncio.get_running_loop().call_later(self._server.faults.delay, self._write, request.method, *answer)
        else:
            self._write(request.method, *answer)

    def _write(self, method: str, status: int, headers: dict[str, str], body: bytes) -> None:
        if self.transport.is_closing():
            return
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        length = "" if status == 204 else f"content-length: {len(body)}\r\n"
        head = f"HTTP/1.1 {status} {PHRASES.get(status, '')}\r\n{lines}{length}\r\n".encode("latin-1")
        self.transport.write(head if method == "HEAD" else head + body)


@asynccontextmanager
async def serving(bucket: str = "beat-strict") -> AsyncIterator[StrictS3]:
    """A server in this event loop."""
    strict = StrictS3(bucket)
    server = await strict.listen()
    try:
        yield strict
    finally:
        server.close()
        for connection in list(strict.connections):
            connection.transport.abort()
