"""The names of attributes, held against the semantic conventions as OpenTelemetry publishes them."""

import importlib
import inspect
import pkgutil
import re
from types import ModuleType

import pytest
from opentelemetry import semconv
from opentelemetry.proto.trace.v1.trace_pb2 import Span as Encoded
from opentelemetry.semconv._incubating.attributes.messaging_attributes import MessagingOperationTypeValues
from opentelemetry.semconv.attributes.error_attributes import ErrorTypeValues
from opentelemetry.semconv.schemas import Schemas

from beat_actors.traces import tree
from beat_actors.traces.spans import OWN, SCHEMA_URL, STANDARD, Kind

OWN_NAME = re.compile(r"beat\.[a-z]+(\.[a-z_]+)?")


def modules(package: str) -> list[ModuleType]:
    found = importlib.import_module(package)
    return [importlib.import_module(f"{package}.{one.name}") for one in pkgutil.iter_modules(found.__path__)]


@pytest.fixture(scope="module")
def official() -> set[str]:
    packages = ("opentelemetry.semconv.attributes", "opentelemetry.semconv._incubating.attributes")
    parts = [part for package in packages for part in modules(package)]
    return {value for part in parts for name, value in vars(part).items() if name.isupper() and isinstance(value, str)}


def test_names_are_official(official: set[str]) -> None:
    assert len(official) > 500
    assert set(STANDARD) <= official


def test_no_name_is_deprecated() -> None:
    for part in modules("opentelemetry.semconv._incubating.attributes"):
        text = inspect.getsource(part)
        for name in STANDARD:
            said = re.search(rf'= "{re.escape(name)}"\n"""\n?(.*?)"""', text, re.S)
            first = "" if said is None else said[1].splitlines()[0]
            assert "Deprecated" not in first or "in favor of stable" in first, name


def test_own_names_are_in_a_namespace_of_their_own(official: set[str]) -> None:
    assert not set(OWN) & official
    assert all(OWN_NAME.fullmatch(name) for name in OWN)


def test_values_are_official() -> None:
    known = {one.value for one in MessagingOperationTypeValues}
    assert {"process", "send"} <= known
    assert ErrorTypeValues.OTHER.value == tree.OTHER
    assert {int(kind) for kind in Kind} == set(Encoded.SpanKind.values()) - {0}
    assert all(Encoded.SpanKind.Name(int(kind)) == f"SPAN_KIND_{kind.name}" for kind in Kind)  # type: ignore[arg-type]


def test_the_schema_is_one_that_the_package_knows() -> None:
    assert semconv
    assert SCHEMA_URL in {one.value for one in Schemas}
