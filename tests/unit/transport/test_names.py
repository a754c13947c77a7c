"""Addresses of names: one look-up for all who ask, kept for a while, and no more names than a bound."""

import asyncio
import socket
import threading
from collections.abc import Sequence

import pytest

from beat_actors.transport import names as module
from beat_actors.transport.names import AT_ONCE, MOST, OF_DOMAIN, Entry, Names


class Lookup:
    def __init__(self) -> None:
        self.asked: list[str] = []
        self.fails = False
        self.go = threading.Event()
        self.go.set()

    def __call__(self, host: str) -> Sequence[Entry]:
        self.asked.append(host)
        self.go.wait(60)
        if self.fails:
            raise OSError("no such name")
        return [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("93.184.215.14", 0)),
            (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("2606:4700::1111", 0, 0, 0)),
        ]


@pytest.fixture
def lookup() -> Lookup:
    return Lookup()


async def test_all_who_ask_share_one_look_up_and_its_addresses_are_kept(lookup: Lookup) -> None:
    names = Names(lookup)
    found = await asyncio.gather(*(names.resolve("a.example", 443) for _ in range(50)))
    assert [(one["host"], one["port"]) for one in found[0]] == [("93.184.215.14", 443), ("2606:4700::1111", 443)]
    assert [one["host"] for one in await names.resolve("a.example", 80, socket.AF_INET)] == ["93.184.215.14"]
    assert lookup.asked == ["a.example"]


async def test_a_failure_is_kept_for_a_shorter_time(lookup: Lookup, monkeypatch: pytest.MonkeyPatch) -> None:
    names = Names(lookup)
    lookup.fails = True
    for _ in range(3):
        with pytest.raises(OSError, match="no address"):
            await names.resolve("a.example")
    assert len(lookup.asked) == 1
    monkeypatch.setattr(module, "KEPT_FAILURE", 0.0)
    with pytest.raises(OSError, match="no address"):
        await names.resolve("b.example")
    lookup.fails = False
    assert await names.resolve("b.example")


async def test_a_look_up_that_ends_late_serves_the_next(lookup: Lookup) -> None:
    names = Names(lookup, within=0.05)
    lookup.go.clear()
    with pytest.raises(OSError, match="in time"):
        await names.resolve("a.example")
    flying = names._flying["a.example"]
    lookup.go.set()
    await flying
    assert await names.resolve("a.example")
    assert lookup.asked == ["a.example"]


async def test_a_label_that_is_too_long_has_no_address() -> None:
    names = Names()
    with pytest.raises(OSError, match="no address"):
        await names.resolve("x" * 70 + ".invalid")


async def test_so_many_names_are_kept(lookup: Lookup, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST", 10)
    names = Names(lookup)
    for n in range(25):
        await names.resolve(f"{n}.example")
    assert len(names._kept) == 10
    assert MOST == 4096


async def test_a_domain_whose_names_hang_leaves_room_for_others() -> None:
    hang, asked = threading.Event(), []

    def lookup(host: str) -> Sequence[Entry]:
        asked.append(host)
        if host.endswith("slow.co.uk"):
            hang.wait(60)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("93.184.215.14", 0))]

    names = Names(lookup, within=60.0)
    hanging = [asyncio.create_task(names.resolve(f"{n}.slow.co.uk")) for n in range(2 * AT_ONCE)]
    await asyncio.sleep(0)
    assert await names.resolve("fast.co.uk")
    assert sum(host.endswith("slow.co.uk") for host in asked) == OF_DOMAIN
    hang.set()
    await asyncio.gather(*hanging)
    assert len(asked) == 2 * AT_ONCE + 1
    assert not names._rooms
