"""Spans as OTLP, in protobuf. The package opentelemetry-proto, of the extra `otlp`, is imported only here, and only where spans are exported."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from importlib.util import find_spec
from typing import TYPE_CHECKING

from beat_actors.errors import BadSettings
from beat_actors.traces.spans import SCHEMA_URL, Span, Value

if TYPE_CHECKING:
    from opentelemetry.proto.common.v1.common_pb2 import KeyValue
    from opentelemetry.proto.trace.v1.trace_pb2 import Span as Encoded

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
SCOPE = "beat.traces"
LATEST = 2**64 - 1
HAS_IS_REMOTE, IS_REMOTE, SAMPLED = 0x100, 0x200, 0x1
"""Bits of the flags of a span: whether it is known that the parent is remote, that it is, and those of W3C."""
MISSING = "BEAT_OTLP_ENDPOINT: traces need the package opentelemetry-proto, which is not installed. Install beat-actors[otlp], or unset the variable"


def refuse_without_package() -> None:
    """Raises `BadSettings` where spans cannot be encoded."""
    try:
        found = find_spec("opentelemetry.proto") is not None and find_spec("google.protobuf") is not None
    except ModuleNotFoundError:
        found = False
    if not found:
        raise BadSettings(MISSING)


def encoded(spans: Iterable[Span], resource: Mapping[str, str]) -> bytes:
    """An ExportTraceServiceRequest with these spans of one resource."""
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
    from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope
    from opentelemetry.proto.resource.v1.resource_pb2 import Resource
    from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans

    scope = ScopeSpans(
        scope=InstrumentationScope(name=SCOPE, version=resource.get("service.version", "")),
        spans=[_span(span) for span in spans],
        schema_url=SCHEMA_URL,
    )
    of = ResourceSpans(resource=Resource(attributes=_attributes(resource)), scope_spans=[scope], schema_url=SCHEMA_URL)
    return bytes(ExportTraceServiceRequest(resource_spans=[of]).SerializeToString(deterministic=True))


def rejected(body: bytes) -> tuple[int, str]:
    """How many spans a collector rejected of a call that it accepted otherwise, and what it said. A body that is no protobuf says nothing."""
    from google.protobuf.message import DecodeError
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

    try:
        partial = ExportTraceServiceResponse.FromString(body).partial_success
    except DecodeError:
        return 0, ""
    return max(0, int(partial.rejected_spans)), str(partial.error_message)


def _span(span: Span) -> "Encoded":
    from opentelemetry.proto.trace.v1.trace_pb2 import Span as Encoded
    from opentelemetry.proto.trace.v1.trace_pb2 import Status

    return Encoded(
        trace_id=bytes.fromhex(span.trace_id),
        span_id=bytes.fromhex(span.span_id),
        parent_span_id=b"" if span.parent_id is None else bytes.fromhex(span.parent_id),
        flags=SAMPLED | HAS_IS_REMOTE | (IS_REMOTE if span.remote else 0),
        name=span.name,
        kind=int(span.kind),  # type: ignore[arg-type]
        start_time_unix_nano=_nanoseconds(span.start),
        end_time_unix_nano=_nanoseconds(span.end),
        attributes=_attributes(span.attributes),
        links=[
            Encoded.Link(trace_id=bytes.fromhex(link.trace_id), span_id=bytes.fromhex(link.span_id))
            for link in span.links
        ],
        status=Status(code=Status.STATUS_CODE_ERROR if span.failed else Status.STATUS_CODE_UNSET),
    )


def _attributes(attributes: Mapping[str, Value]) -> "list[KeyValue]":
    from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

    made = []
    for name, value in attributes.items():
        if isinstance(value, bool):
            any_value = AnyValue(bool_value=value)
        elif isinstance(value, int):
            any_value = AnyValue(int_value=value)
        elif isinstance(value, float):
            any_value = AnyValue(double_value=value)
        else:
            any_value = AnyValue(string_value=value)
        made.append(KeyValue(key=name, value=any_value))
    return made


def _nanoseconds(at: datetime) -> int:
    """As OTLP counts; a time that it cannot express is the nearest that it can."""
    return min(max(0, (at - EPOCH) // timedelta(microseconds=1) * 1000), LATEST)
