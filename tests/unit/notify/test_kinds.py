"""What a sink may be."""

from typing import Any

import pytest

from beat_actors.errors import BadInput
from beat_actors.notify.kinds import Definition, Route, address, check_route

MAIL = {"kind": "email", "to": ["ops@example.com"], "sender": "beat@example.com"}


@pytest.mark.parametrize(
    ("given", "target"),
    [
        ({**MAIL, "url": "smtps://user:p%40ss@mail.example.com"}, "mail.example.com:465"),
        ({**MAIL, "url": "smtp://mail.example.com:2525"}, "mail.example.com:2525"),
        ({"kind": "slack", "url": "https://hooks.example.com/services/T/B/secret"}, "hooks.example.com"),
        ({"kind": "pagerduty", "key": "e93facc04764012d7bfb002500d5d1a6"}, "events.pagerduty.com"),
        ({"kind": "alertmanager", "url": "https://user:secret@am.example.com/prefix"}, "am.example.com"),
        ({"kind": "webhook", "url": "https://example.com/hook?token=secret"}, "example.com"),
    ],
)
def test_what_is_shown_of_a_sink_has_no_secret(given: dict[str, Any], target: str) -> None:
    definition = Definition(**given)
    found = address(definition, private=False)
    assert found.target == target
    for secret in (*found.secrets.values(), "p%40ss", "secret"):
        assert secret not in f"{found!r} {definition!r} {found.target}"


@pytest.mark.parametrize(
    "given",
    [
        {"kind": "sms", "url": "https://example.com"},
        {"kind": "slack"},
        {"kind": "slack", "url": "https://example.com/x", "key": "k"},
        {"kind": "slack", "url": "https://user:pw@example.com/x"},
        {"kind": "slack", "url": "ftp://example.com/x"},
        {"kind": "slack", "url": "https://example.com/x", "to": ["a@example.com"]},
        {"kind": "pagerduty"},
        {"kind": "pagerduty", "key": "two\nlines"},
        {"kind": "webhook", "url": "https://example.com/x", "key": "guessed"},
        {**MAIL},
        {**MAIL, "url": "https://mail.example.com"},
        {**MAIL, "url": "smtps://mail.example.com/inbox"},
        {**MAIL, "url": "smtps://mail.example.com", "to": ["a@example.com\r\nBcc: b@example.com"]},
        {**MAIL, "url": "smtps://mail.example.com", "to": []},
        {**MAIL, "url": "smtps://mail.example.com", "sender": "no address"},
        {**MAIL, "url": "smtps://mail.example.com", "to": ["a@example.com"] * 21},
    ],
)
def test_what_cannot_be_a_sink_is_refused(given: dict[str, Any]) -> None:
    with pytest.raises(BadInput):
        address(Definition(**given), private=True)


@pytest.mark.parametrize(
    "given",
    [
        {"kind": "slack", "url": "http://hooks.example.com/x"},
        {"kind": "slack", "url": "https://127.0.0.1/x"},
        {"kind": "slack", "url": "https://169.254.169.254/x"},
        {"kind": "slack", "url": "https://0x7f.1/x"},
        {"kind": "alertmanager", "url": "https://am.example.com:9093"},
        {**MAIL, "url": "smtp+plain://mail.example.com"},
        {**MAIL, "url": "smtps://10.0.0.1"},
        {**MAIL, "url": "smtps://mail.example.com:22"},
    ],
)
def test_a_private_place_needs_to_be_allowed(given: dict[str, Any]) -> None:
    with pytest.raises(BadInput):
        address(Definition(**given), private=False)
    address(Definition(**given), private=True)


def test_a_route_gets_the_defaults_of_its_kind() -> None:
    assert check_route(Route(), "pagerduty") == Route(group_by="rule", repeat=14_400)
    assert check_route(Route(), "alertmanager") == Route(group_by="all", repeat=120)
    assert check_route(Route(repeat=0), "slack") == Route(group_by="all", repeat=0)


@pytest.mark.parametrize(
    "route",
    [
        Route(severity="fatal"),
        Route(platforms=[]),
        Route(group_by="colour"),
        Route(repeat=5),
        Route(repeat=10_000_000),
        Route(hours="9"),
    ],
)
def test_what_is_no_route_is_refused(route: Route) -> None:
    with pytest.raises(BadInput):
        check_route(route, "slack")
