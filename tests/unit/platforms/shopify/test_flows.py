"""A listing goes on where the last one ended, and says so only when it is whole."""

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from beat_actors.errors import BadInput, Malformed
from beat_actors.platforms.interface import FetchSpec, Parsed
from beat_actors.platforms.shopify import platform

STORE = "example.myshopify.com"
SINCE, UNTIL = "2025-01-01T12:00:00+00:00", "2025-01-02T12:00:00.123456+00:00"
LISTINGS = ("orders", "products", "customers")


def accepted(what: str, filled: dict[str, str] | None = None, **params: Any) -> tuple[FetchSpec, dict[str, Any]]:
    """A request's first fetch and its parameters, after the open bounds were filled in."""
    flow = platform.flows[f"refresh_{what}_by_store"]
    worded = msgspec.to_builtins(flow.validate({"store": STORE, **params}))
    validated = flow.validate({**worded, **(filled or {})})
    return flow.first(validated), msgspec.to_builtins(validated)


def followed(what: str, spec: FetchSpec, params: dict[str, Any], cursor: str | None) -> Sequence[FetchSpec]:
    return platform.flows[f"refresh_{what}_by_store"].follow_ups(spec, params, Parsed((), cursor), 0)


@pytest.mark.parametrize("what", LISTINGS)
def test_a_run_resumes_a_little_before_the_last_ended_and_its_last_page_leads_to_the_mark(what: str) -> None:
    spec, params = accepted(what, {"updated_at_min": SINCE, "updated_at_max": UNTIL})
    assert spec.operation == f"{what}_by_store"
    assert spec.params == {
        "store": STORE,
        "updated_at_min": "2025-01-01T11:55:00Z",
        "updated_at_max": "2025-01-02T12:00:00Z",
    }
    (second,) = followed(what, spec, params, "page-2")
    assert (second.operation, second.cursor, second.page, second.owner) == (spec.operation, "page-2", 2, STORE)
    (mark,) = followed(what, second, params, None)
    assert (mark.operation, mark.owner, mark.cursor) == ("shop", STORE, None)
    assert mark.params == {"store": STORE, f"{what}_synced_to": "2025-01-02T12:00:00Z"}
    assert followed(what, mark, params, None) == ()


def test_the_first_run_reads_everything() -> None:
    spec, params = accepted("orders", {"updated_at_max": UNTIL})
    assert "updated_at_min" not in spec.params
    assert len(followed("orders", spec, params, None)) == 1


@pytest.mark.parametrize("bounds", [{"updated_at_min": SINCE}, {"updated_at_max": UNTIL}])
def test_a_run_with_bounds_of_its_own_keeps_to_them_and_leaves_the_mark(bounds: dict[str, str]) -> None:
    filled = {"updated_at_min": SINCE, "updated_at_max": UNTIL}
    spec, params = accepted("orders", {name: value for name, value in filled.items() if name not in bounds}, **bounds)
    assert spec.params["updated_at_min"] == "2025-01-01T12:00:00Z"
    assert followed("orders", spec, params, None) == ()


def test_a_next_page_that_leads_nowhere_does_not_pass_for_the_last() -> None:
    spec, params = accepted("orders", {"updated_at_max": UNTIL})
    page = FetchSpec(spec.operation, spec.params, "page-2", "shopify", 2, STORE)
    with pytest.raises(Malformed):
        followed("orders", page, params, "")


@pytest.mark.parametrize(
    ("params", "why"),
    [
        ({"updated_at_min": "2025-01-02T00:00:00"}, "a time with its zone"),
        ({"updated_at_min": "yesterday"}, "updated_at_min"),
        ({"updated_at_min": "0001-01-01T00:00:00+14:00"}, "no day"),
        ({"updated_at_max": "9999-12-31T23:59:59-14:00"}, "no day"),
        ({"updated_at_min": UNTIL, "updated_at_max": SINCE}, "lies after"),
        ({"status": "open"}, "status"),
    ],
)
def test_bad_parameters_are_met_with_a_sentence(params: dict[str, Any], why: str) -> None:
    with pytest.raises(BadInput, match=why):
        platform.flows["refresh_orders_by_store"].validate({"store": STORE, **params})
