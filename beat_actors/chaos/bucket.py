"""The bucket of pictures for faults of S3: a proxy before the embedded S3 that fails as an S3 may, and the harness's own way to the bucket behind it.

Only PUTs fail; all else passes. The proxy has a thread and an event loop of its own, so that a busy caller does not slow down what passes.
"""

import asyncio
import base64
import contextlib
import hashlib
import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from random import Random
from typing import Literal, Protocol, Self

import aiohttp
from aiohttp import web
from yarl import URL

from beat_actors.local.s3 import S3Server
from beat_actors.local.stack import ASSET_BUCKET

Failure = Literal["slow", "full", "slow_down", "unstored", "other_bytes", "cut"]
"""`slow`: the answer comes late. `full`: 507. `slow_down`: 503. The others answer 200, and are lies: `unstored` stores nothing, `other_bytes` stores others
of the same number, `cut` stores half of them."""
LIES = frozenset({"unstored", "other_bytes", "cut"})
REFUSALS: Mapping[str, tuple[int, str]] = {"full": (507, "InsufficientStorage"), "slow_down": (503, "SlowDown")}
OF_THE_CONNECTION = frozenset({"connection", "keep-alive", "transfer-encoding", "content-length"})
NOT_ADDED = ("User-Agent", "Accept", "Accept-Encoding", "Content-Type")
PATIENCE = 20.0
READERS, PAGE = 4, 1000
"""Threads that read objects, and keys that one request deletes."""
NO_ANSWER = 504
"""Nobody gets this status: the connection is broken before."""


class _Body(Protocol):
    def read(self) -> bytes: ...


class _Pages(Protocol):
    def paginate(self, **given: str) -> Iterable[Mapping[str, Sequence[Mapping[str, str]]]]: ...


class _Exceptions(Protocol):
    NoSuchBucket: type[Exception]


class Client(Protocol):
    """What is used of boto3's client, which declares no types."""

    exceptions: _Exceptions

    def get_paginator(self, operation: str) -> _Pages: ...
    def get_object(self, **given: str) -> Mapping[str, _Body]: ...
    def put_object(self, **given: object) -> object: ...
    def delete_object(self, **given: str) -> object: ...
    def delete_objects(self, **given: object) -> object: ...


class Bucket:
    """The bucket of pictures, by boto3 with the key of the embedded S3. The harness looks at it with another client than Beat's."""

    def __init__(self, server: S3Server) -> None:
        self.name = ASSET_BUCKET
        self._server = server
        self._made: Client | None = None

    def hashes(self) -> dict[str, str]:
        """The SHA-256 of the bytes of each object, in hex, by key."""
        keys = self.keys()
        with ThreadPoolExecutor(READERS) as pool:
            return dict(zip(keys, pool.map(lambda key: hashlib.sha256(self.read(key)).hexdigest(), keys), strict=True))

    def keys(self) -> list[str]:
        """All keys. Before the first object there is no bucket, which is an empty one."""
        try:
            pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self.name)
            return [found["Key"] for page in pages for found in page.get("Contents", ())]
        except self._client.exceptions.NoSuchBucket:
            return []

    def read(self, key: str) -> bytes:
        return self._client.get_object(Bucket=self.name, Key=key)["Body"].read()

    def put(self, key: str, body: bytes) -> None:
        """Store an object, or replace one."""
        self._client.put_object(Bucket=self.name, Key=key, Body=body)

    def delete(self, key: str) -> None:
        self._client.delete_object(Bucket=self.name, Key=key)

    def clear(self) -> None:
        """Delete all objects."""
        keys = self.keys()
        for at in range(0, len(keys), PAGE):
            some = [{"Key": key} for key in keys[at : at + PAGE]]
            self._client.delete_objects(Bucket=self.name, Delete={"Objects": some, "Quiet": True})

    @property
    def _client(self) -> Client:
        if self._made is None:
            import boto3
            from botocore.config import Config

            server = self._server
            made: Client = boto3.session.Session().client(
                "s3",
                endpoint_url=server.url,
                region_name=server.env["AWS_DEFAULT_REGION"],
                aws_access_key_id=server.access_key,
                aws_secret_access_key=server.secret_key,
                # A server that was just started may not answer yet.
                config=Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 5, "mode": "standard"}),
            )
            self._made = made
        return self._made


class BucketProxy:
    """Use it in `with BucketProxy.running(server) as proxy`. All methods may be called from any thread.

    `done` counts PUTs by what became of them: "passed", "unanswered" where S3 does not answer, or a failure. `lies`: which lie was told of a key.
    """

    def __init__(self, server: S3Server, seed: str) -> None:
        self.port = 0
        self.done: Counter[str] = Counter()
        self.lies: dict[str, str] = {}
        self._bucket = Bucket(server)
        self._target = server.url
        self._dice = Random(seed)
        self._failures: tuple[Failure, ...] = ()
        self._rate = 0.0
        self._delay = 0.0
        self._loop = asyncio.new_event_loop()
        self._http: aiohttp.ClientSession | None = None

    @classmethod
    @contextlib.contextmanager
    def running(cls, server: S3Server, seed: str = "bucket") -> Iterator[Self]:
        """Listen on a free port (`port`) until the block ends. `server` need not run yet."""
        proxy = cls(server, seed)
        thread = threading.Thread(target=proxy._loop.run_forever, name="bucket-proxy", daemon=True)
        thread.start()
        runner = asyncio.run_coroutine_threadsafe(proxy._listen(), proxy._loop).result()
        try:
            yield proxy
        finally:
            asyncio.run_coroutine_threadsafe(proxy._close(runner), proxy._loop).result()
            proxy._loop.call_soon_threadsafe(proxy._loop.stop)
            thread.join()
            proxy._loop.close()

    def fail(self, *failures: Failure, rate: float = 1.0, delay: float = 0.0) -> None:
        """From now on, let so large a share of the PUTs fail, each in one of these ways. `delay`: seconds of `slow`, at most."""
        self._failures, self._rate, self._delay = failures, rate, delay

    def heal(self) -> None:
        """Let no further PUT fail."""
        self._failures = ()

    def reset(self) -> None:
        """Heal, and forget what was done."""
        self.heal()
        self.done.clear()
        self.lies.clear()

    async def _listen(self) -> web.ServerRunner:
        self._http = aiohttp.ClientSession(
            auto_decompress=False,
            skip_auto_headers=NOT_ADDED,
            timeout=aiohttp.ClientTimeout(total=PATIENCE),
            connector=aiohttp.TCPConnector(limit=0),
        )
        runner = web.ServerRunner(web.Server(self._answer), shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.port = runner.addresses[0][1]
        return runner

    async def _close(self, runner: web.ServerRunner) -> None:
        await runner.cleanup()
        if self._http is not None:
            await self._http.close()

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        body = await request.content.read()
        if request.method != "PUT":
            return await self._pass(request, body)
        failure = self._choose()
        if failure is None or failure == "slow":
            if failure is not None:
                await asyncio.sleep(self._dice.uniform(self._delay / 2, self._delay))
            answer = await self._pass(request, body)
            self.done["unanswered" if answer.status == NO_ANSWER else failure or "passed"] += 1
            return answer
        self.done[failure] += 1
        if failure in LIES:
            return await self._lie(request, body, failure)
        status, code = REFUSALS[failure]
        said = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>a fault of a rehearsal</Message></Error>"
        return web.Response(status=status, text=said, content_type="application/xml")

    def _choose(self) -> Failure | None:
        failures = self._failures
        return self._dice.choice(failures) if failures and self._dice.random() < self._rate else None

    async def _lie(self, request: web.BaseRequest, body: bytes, lie: str) -> web.Response:
        """Answer as if the object was stored, with its checksum."""
        key = request.path.lstrip("/").partition("/")[2]
        if lie != "unstored":
            other = body[: len(body) // 2] if lie == "cut" else body[::-1]
            await asyncio.to_thread(self._bucket.put, key, other)
        self.lies[key] = lie
        checksum = base64.b64encode(hashlib.sha256(body).digest()).decode()
        mark = hashlib.md5(body, usedforsecurity=False).hexdigest()
        return web.Response(headers={"ETag": f'"{mark}"', "x-amz-checksum-sha256": checksum})

    async def _pass(self, request: web.BaseRequest, body: bytes) -> web.StreamResponse:
        """Ask the S3. The signature covers the host that the client named, so all is sent on as it came."""
        assert self._http is not None
        url = URL(f"{self._target}{request.raw_path}", encoded=True)
        headers = _sent_on(request.headers)
        try:
            async with self._http.request(
                request.method, url, headers=headers, data=body or None, allow_redirects=False
            ) as answer:
                kept = _sent_on(answer.headers)
                if request.method == "HEAD" and "Content-Length" in answer.headers:
                    kept["Content-Length"] = answer.headers["Content-Length"]
                return web.Response(status=answer.status, body=await answer.read(), headers=kept)
        except (aiohttp.ClientError, TimeoutError):
            # As where the S3 itself ends: no answer.
            if request.transport is not None:
                request.transport.abort()
            return web.Response(status=NO_ANSWER)


def _sent_on(headers: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name.lower() not in OF_THE_CONNECTION}
