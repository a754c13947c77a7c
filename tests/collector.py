"""A collector of OpenTelemetry traces: it takes OTLP over HTTP as the specification says, decodes it with the official messages, and keeps what it took."""

import asyncio
import gzip
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTracePartialSuccess,
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

Answer = Callable[[ExportTraceServiceRequest], web.Response | None]


@dataclass
class Got:
    """A span as it came."""

    span: Span
    attributes: dict[str, Any]
    resource: dict[str, Any]

    @property
    def trace(self) -> str:
        return self.span.trace_id.hex()

    @property
    def id(self) -> str:
        return self.span.span_id.hex()

    @property
    def parent(self) -> str:
        return self.span.parent_span_id.hex()

    @property
    def failed(self) -> bool:
        return bool(self.span.status.code == Status.STATUS_CODE_ERROR)


@dataclass
class Collector:
    """`answer`: what is answered in the place of 200, and then nothing is kept. `silent`: to which calls nothing is ever answered."""

    got: list[Got] = field(default_factory=list)
    calls: list[dict[str, str]] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    answer: Answer = lambda _request: None
    silent: Callable[[ExportTraceServiceRequest], bool] = lambda _request: False
    server: TestServer | None = None

    async def start(self) -> str:
        """Its base URL."""
        app = web.Application()
        app.router.add_post("/v1/traces", self._take)
        self.server = TestServer(app)
        await self.server.start_server()
        return str(self.server.make_url("")).rstrip("/")

    async def stop(self) -> None:
        if self.server is not None:
            await self.server.close()

    async def _take(self, request: web.Request) -> web.Response:
        assert request.content_type == "application/x-protobuf"
        body = await request.read()  # aiohttp has undone the encoding
        assert request.headers["Content-Encoding"] == "gzip"
        if body[:2] == b"\x1f\x8b":
            body = gzip.decompress(body)
        self.calls.append(dict(request.headers))
        said = ExportTraceServiceRequest.FromString(body)
        if self.silent(said):
            await asyncio.Event().wait()  # until the caller hangs up, which cancels it
        refusal = self.answer(said)
        if refusal is not None:
            return refusal
        self.bodies.append(body)
        for of in said.resource_spans:
            assert of.schema_url == of.scope_spans[0].schema_url
            for scope in of.scope_spans:
                self.got += [
                    Got(span, _values(span.attributes), _values(of.resource.attributes)) for span in scope.spans
                ]
        return web.Response(
            body=ExportTraceServiceResponse().SerializeToString(), content_type="application/x-protobuf"
        )

    def traces(self) -> dict[str, list[Got]]:
        """Spans by the id of their trace."""
        found: dict[str, list[Got]] = {}
        for one in self.got:
            found.setdefault(one.trace, []).append(one)
        return found

    def twice(self) -> list[tuple[str, str]]:
        """Spans that came more than once."""
        return [key for key, count in Counter((one.trace, one.id) for one in self.got).items() if count > 1]


def partial(refused: int, said: str) -> web.Response:
    """An answer that takes all but so many spans."""
    body = ExportTraceServiceResponse(
        partial_success=ExportTracePartialSuccess(rejected_spans=refused, error_message=said)
    )
    return web.Response(body=body.SerializeToString(), content_type="application/x-protobuf")


def _values(attributes: Any) -> dict[str, Any]:
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in attributes}


def shown(spans: list[Got]) -> list[str]:
    """The tree of a trace: a line for each span, indented, children in the order of their begin."""
    by_parent: dict[str, list[Got]] = {}
    known = {one.id for one in spans}
    for one in spans:
        by_parent.setdefault(one.parent if one.parent in known else "", []).append(one)

    def lines(parent: str, depth: int) -> list[str]:
        found = []
        for one in sorted(by_parent.get(parent, []), key=lambda one: (one.span.start_time_unix_nano, one.span.name)):
            found += ["  " * depth + one.span.name + (" !" if one.failed else ""), *lines(one.id, depth + 1)]
        return found

    return lines("", 0)
