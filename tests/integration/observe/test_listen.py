"""The metrics at an address of their own."""

import socket

import aiohttp

from beat_actors.database import Database
from beat_actors.observe.listen import listening
from tests.integration.observe.scraped import OPEN, samples


def free_address() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


async def test_they_are_served_without_a_key_and_nothing_else_is(database: Database) -> None:
    address = free_address()
    async with listening(database, address), aiohttp.ClientSession() as http:
        async with http.get(f"http://{address}/metrics", headers={"Accept": "application/openmetrics-text"}) as got:
            assert (got.status, got.headers["Content-Type"]) == (200, OPEN)
            samples(await got.text(), OPEN)
        async with http.get(f"http://{address}/") as got:
            assert got.status == 404


async def test_an_address_that_is_taken_keeps_nothing_from_running(database: Database) -> None:
    address, ran = free_address(), False
    async with listening(database, address), listening(database, address), listening(database, None):
        ran = True
    assert ran
