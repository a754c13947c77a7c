"""Which addresses are everybody's, by the guard's own tables."""

import ipaddress
import socket

import pytest

from beat_actors.transport import guard
from beat_actors.transport.guard import PrivateAddress, check_address, is_public, literal

PRIVATE = {
    "loopback": "127.0.0.1 127.255.255.254 ::1",
    "unspecified": "0.0.0.0 0.1.2.3 ::",
    "private networks": "10.1.2.3 172.16.0.1 172.31.255.254 192.168.1.1 fc00::1 fd12:3456::1",
    "link local": "169.254.1.1 fe80::1 fe80::1%eth0 fe80::1%25lo febf::1",
    "carriers": "100.64.0.1 100.127.255.254",
    "multicast and broadcast": "224.0.0.1 239.255.255.255 ff02::1 255.255.255.255 240.0.0.1",
    "metadata of clouds": "169.254.169.254 169.254.170.2 169.254.169.253 100.100.100.200 168.63.129.16 192.0.0.192 fd00:ec2::254 fe80::a9fe:a9fe fd20:ce::254",
    "protocols": "192.0.0.8 192.0.0.170 192.31.196.1 192.52.193.1 192.175.48.1 2001:1::1 2001:2::1 2001:20::1 2620:4f:8000::1 100::1",
    "documentation and benchmarks": "192.0.2.1 198.51.100.7 203.0.113.1 198.18.0.1 198.19.255.1 2001:db8::1 3fff::1 3fff:0fff::1",
    "6to4 relays": "192.88.99.0 192.88.99.1 192.88.99.255",
    "segment routing": "5f00::1 5f00:ffff::1",
    "not assigned": "4000::1 8000::1 fec0::1 e000::1",
    # Ways to an IPv4 address. A public one inside is a way through somebody's gateway all the same, unless it is mapped.
    "mapped": "::ffff:127.0.0.1 ::ffff:10.0.0.1 ::ffff:192.0.0.192 ::ffff:168.63.129.16 ::ffff:a9fe:a9fe",
    "compatible": "::127.0.0.1 ::93.184.215.14",
    "translated": "::ffff:0:127.0.0.1 ::ffff:0:10.0.0.1 ::ffff:0:93.184.215.14",
    "ISATAP": "fe80::5efe:127.0.0.1 2606:4700::5efe:10.0.0.1 2606:4700::200:5efe:10.0.0.1 2a00:1450:4001::5efe:93.184.215.14",
    "6to4": "2002:7f00:1:: 2002:a00:1::1 2002:5db8:d70e::1",
    "Teredo": "2001::1 2001:0:4136:e378:8000:63bf:3fff:fdd2",
    "NAT64": "64:ff9b::7f00:1 64:ff9b::10.0.0.1 64:ff9b::5db8:d70e 64:ff9b:1::10.0.0.1 64:ff9b:1:fffe::a9fe:a9fe",
}
PUBLIC = ["1.1.1.1", "8.8.8.8", "93.184.215.14", "168.63.129.15", "172.32.0.1", "100.128.0.1", "192.0.1.1", "::ffff:93.184.215.14", "2606:4700::1111", "2a00:1450:4001:81d::200e", "2600:9000::1"]  # fmt: skip
CASES = [(name, text) for name, texts in PRIVATE.items() for text in texts.split()]


def test_there_are_more_than_sixty_cases() -> None:
    assert len(CASES) >= 60


@pytest.mark.parametrize(("name", "text"), CASES)
def test_an_address_that_is_not_everybodys_is_refused(name: str, text: str) -> None:
    assert not is_public(text), name
    with pytest.raises(PrivateAddress):
        check_address(text, 443)


@pytest.mark.parametrize("text", PUBLIC)
def test_a_public_address_is_allowed_on_the_ports_of_the_web(text: str) -> None:
    check_address(text, 443)
    check_address(text, 80)
    for port in (0, 22, 25, 6379, 8080, 65535):
        with pytest.raises(PrivateAddress):
            check_address(text, port)


@pytest.mark.parametrize("said", [True, False])
def test_pythons_own_tables_decide_nothing(monkeypatch: pytest.MonkeyPatch, said: bool) -> None:
    """They differ between patch levels, so the verdict may not."""
    for kind in (ipaddress.IPv4Address, ipaddress.IPv6Address):
        for name in ("is_global", "is_private", "is_reserved", "is_link_local", "is_loopback", "is_multicast"):
            monkeypatch.setattr(kind, name, property(lambda _self: said))
    judged = is_public.__wrapped__
    assert [text for _, text in CASES if judged(text)] == []
    assert [text for text in PUBLIC if not judged(text)] == []


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "127.0.0.1.", "127.1", "127.1.", "2130706433", "0x7f000001", "0x7f.1", "0x7f.0.0.0x1", "0177.0.0.1", "017700000001",
     "0251.0376.0251.0376", "0xa9fea9fe", "2852039166", "[::1]", "[::ffff:7f00:1]", "[fe80::1%25eth0]", "0", "0x0", "10.1"],
)  # fmt: skip
def test_a_private_address_is_seen_in_each_spelling(host: str) -> None:
    assert literal(host) is False


def test_a_public_address_and_a_name_are_told_apart() -> None:
    assert literal("93.184.215.14") is True
    assert literal("[2606:4700::1111]") is True
    assert [
        literal(name) for name in ("example.com", "127.0.0.1.nip.io", "localhost", "1.2.3.4.5", "", "１２７.0.0.1")
    ] == [None] * 6


@pytest.mark.parametrize("text", ["example.com", "localhost", "", "127.0.0.256"])
def test_a_name_is_no_address_to_judge(text: str) -> None:
    with pytest.raises(ValueError, match="does not appear to be"):
        is_public(text)


def test_the_factory_makes_no_socket_for_what_is_private() -> None:
    strict, open_ = guard.GuardedSockets(allow_private=False), guard.GuardedSockets(allow_private=True)
    info = (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", ("127.0.0.1", 443))
    with pytest.raises(PrivateAddress):
        strict(info)
    with open_(info) as made, strict((*info[:4], ("93.184.215.14", 443))) as other:
        assert made.family == other.family == socket.AF_INET
