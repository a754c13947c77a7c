"""Whose budget a reader without a key uses."""

from types import SimpleNamespace
from typing import Any

import pytest

from api.assets import address_of
from api.cold import network_of


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.7", "192.0.2.0/24"),
        ("192.0.2.250", "192.0.2.0/24"),
        ("::ffff:192.0.2.7", "192.0.2.0/24"),
        ("2001:db8:1:2:3::4", "2001:db8:1::/48"),
        ("fe80::1%eth0", "fe80::/48"),
        ("not an address", "unknown"),
        ("192.0.2.7:443", "unknown"),
        ("", "unknown"),
        (None, "unknown"),
    ],
)
def test_an_address_counts_for_its_network(address: str | None, network: str) -> None:
    assert network_of(address) == network


@pytest.mark.parametrize(
    ("proxies", "passed", "address"),
    [
        (0, "192.0.2.1", "198.51.100.1"),
        (1, "192.0.2.1", "192.0.2.1"),
        (1, "203.0.113.9, 192.0.2.1", "192.0.2.1"),
        (2, "203.0.113.9, 192.0.2.1, 192.0.2.2", "192.0.2.1"),
        (2, "192.0.2.1", "198.51.100.1"),
        (1, None, "198.51.100.1"),
        (1, "192.0.2.1, ", "198.51.100.1"),
    ],
)
def test_a_caller_cannot_choose_its_address(proxies: int, passed: str | None, address: str) -> None:
    request: Any = SimpleNamespace(get_header=lambda _name: passed, remote_addr="198.51.100.1")
    assert address_of(request, proxies) == address
