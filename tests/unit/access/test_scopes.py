"""Scopes: each contains what is said, and no more."""

import pytest

from beat_actors.access.scopes import OF_AN_ACCOUNT, Scope, allowed, named
from beat_actors.errors import BadInput


@pytest.mark.parametrize(
    ("held", "may"),
    [
        (["submit"], {"submit"}),
        (["urgent"], {"urgent"}),
        (["read"], {"read"}),
        (["submit", "read"], {"submit", "read"}),
        (["metrics"], {"metrics"}),
        (["operate"], {"operate", "submit", "urgent", "read", "metrics"}),
        (["admin"], {"admin", "operate", "submit", "urgent", "read", "metrics"}),
    ],
)
def test_what_a_scope_contains(held: list[str], may: set[str]) -> None:
    assert allowed(held) == may


def test_what_operates_is_never_an_accounts() -> None:
    assert {scope for scope in Scope if allowed([scope]) - OF_AN_ACCOUNT} == {Scope.METRICS, Scope.OPERATE, Scope.ADMIN}


def test_names_are_read_in_any_order_and_case() -> None:
    assert named(["READ", "submit", "read"]) == (Scope.SUBMIT, Scope.READ)


@pytest.mark.parametrize("names", [[], ["root"], ["read", ""]])
def test_other_names_are_refused_with_those_that_exist(names: list[str]) -> None:
    with pytest.raises(BadInput, match="submit, urgent, read, metrics, operate, admin"):
        named(names)
