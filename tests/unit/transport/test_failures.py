"""Errors of connections are told in words, without the URL: not as classes of the HTTP library."""

import asyncio
import socket
from collections.abc import Awaitable, Callable

import aiohttp
import pytest
from aiohttp.abc import AbstractResolver

from beat_actors.transport.failures import meaning

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class NoName(AbstractResolver):
    async def resolve(self, *_: object, **__: object) -> list[object]:  # type: ignore[override]
        raise OSError("no such name")

    async def close(self) -> None:
        return


async def closes(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.close()


async def speaks_no_tls(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(1)
    writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    writer.close()


async def ends_early(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf")
    writer.close()


async def failure(url: str, resolver: AbstractResolver | None = None) -> BaseException:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(resolver=resolver)) as session:
        try:
            await (await session.get(url)).read()
        except (aiohttp.ClientError, OSError) as error:
            return error
    raise AssertionError("it answered")


@pytest.mark.parametrize(
    ("handler", "scheme", "said"),
    [
        (closes, "http", "the host closed the connection before it answered"),
        (ends_early, "http", "the connection ended before the whole answer had come"),
        (speaks_no_tls, "https", "no TLS connection came about"),
    ],
)
async def test_each_way_a_connection_fails_has_its_words(handler: Handler, scheme: str, said: str) -> None:
    server = await asyncio.start_server(handler, "127.0.0.1", 0)
    async with server:
        found = meaning(await failure(f"{scheme}://127.0.0.1:{server.sockets[0].getsockname()[1]}/?key=secret"))
    assert found == said


async def test_a_host_that_is_not_there_is_told_by_what_it_lacks() -> None:
    assert meaning(await failure("http://a.test/?key=secret", NoName())) == "the host's name does not resolve"
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        refused = await failure(f"http://127.0.0.1:{unused.getsockname()[1]}/?key=secret")
    assert meaning(refused) == "the host refused the connection"


def test_an_error_that_is_not_known_is_told_by_its_class() -> None:
    assert meaning(ValueError("http://a.test/?key=secret")) == "ValueError"
    assert meaning(ConnectionResetError("http://a.test/?key=secret")) == "the connection broke"
    assert meaning(socket.gaierror(-2, "Name or service not known")) == "the host's name does not resolve"
