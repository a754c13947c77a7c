"""One attempt against endpoints that do all they can: it ends, it reads little, and it is a failure unless a final 2xx came."""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from beat_actors.webhooks import client as clients
from beat_actors.webhooks.client import MOST_READ, MeteredSocket, WebhookClient
from tests.integration.webhooks.hostile import Raw, endless_header, endless_headers, endless_interim, endless_noise, raw

OK = b"HTTP/1.1 204 No Content\r\n\r\n"


@pytest.fixture
async def client() -> AsyncIterator[WebhookClient]:
    made = WebhookClient(allow_private=True)
    yield made
    await made.close()


@pytest.mark.parametrize("answer", [endless_interim, endless_headers, endless_header, endless_noise])
async def test_an_answer_without_end_costs_so_many_bytes_and_fails(client: WebhookClient, answer) -> None:
    async with raw(answer) as server:
        used = time.process_time()
        reply = await client.post(server.url, b"{}", {})
        used = time.process_time() - used
    assert (reply.status, reply.accepted) == (None, False)
    assert used < 2.0  # of which the server has its part
    if answer is endless_interim:
        assert reply.said == "no final status within the first 64 KiB of its answer"


async def test_no_more_is_read_of_a_connection() -> None:
    """What the server could send beyond it lies in the buffers of the kernel."""
    counted = []

    class Counted(MeteredSocket):
        def recv(self, size: int, flags: int = 0, /) -> bytes:
            data = super().recv(size, flags)
            counted.append(len(data))
            return data

    client = WebhookClient(allow_private=True, sockets=Counted)
    async with raw(endless_interim) as server:
        await client.post(server.url, b"{}", {})
    await client.close()
    assert sum(counted) == MOST_READ


@pytest.mark.parametrize(("first", "piece"), [(b"", b"HTTP/1.1 102 P\r\n\r\n"), (b"HTTP/1.1 200 OK\r\n", b"x: y\r\n")])
async def test_one_deadline_covers_an_answer_that_trickles(
    client: WebhookClient, monkeypatch, first: bytes, piece: bytes
) -> None:
    monkeypatch.setattr(clients, "TOTAL", 0.3)

    async def answer(server: Raw, writer: asyncio.StreamWriter) -> None:
        writer.write(first)
        await server.pour(writer, piece, pause=0.01)

    async with raw(answer) as server:
        reply = await client.post(server.url, b"{}", {})
    assert (reply.status, reply.said) == (None, "no whole answer within 0.3 s")


async def test_a_refusal_whose_body_trickles_is_a_failure(client: WebhookClient, monkeypatch) -> None:
    monkeypatch.setattr(clients, "TOTAL", 0.3)

    async def answer(server: Raw, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 500 Oops\r\ncontent-length: 1000\r\n\r\n")
        await asyncio.sleep(60)

    async with raw(answer) as server:
        reply = await client.post(server.url, b"{}", {})
    assert (reply.status, reply.accepted, reply.said) == (500, False, "no whole answer within 0.3 s")


async def test_a_final_2xx_decides_however_long_its_body_is(client: WebhookClient) -> None:
    async def answer(server: Raw, writer: asyncio.StreamWriter) -> None:
        writer.write(
            b"HTTP/1.1 102 P\r\n\r\n" * 3
            + b"HTTP/1.1 200 OK\r\ncontent-length: 9999999\r\n\r\n"
            + b"x" * (2 * MOST_READ)
        )
        await server.pour(writer, b"x" * 1000)

    async with raw(answer) as server:
        assert (await client.post(server.url, b"{}", {})).status == 200


async def test_a_receiver_that_closes_idle_connections_costs_no_delivery(client: WebhookClient) -> None:
    """It keeps the connection after an answer, and closes it at the moment at which more comes over it."""
    answered: set[asyncio.StreamWriter] = set()

    async def answer(_server: Raw, writer: asyncio.StreamWriter) -> None:
        if writer in answered:
            writer.close()
        else:
            answered.add(writer)
            writer.write(OK)

    async with raw(answer) as server:
        replies = [await client.post(server.url, b"{}", {}) for _ in range(5)]
    assert [reply.status for reply in replies] == [204] * 5
    assert len(server.heads) == 5


@pytest.mark.parametrize("target", ["/hook?sig=rX7A%2FXCC2w%3D&x=%21", "/a/../b", "/%7Ex?a=1&a=+2", "/p?q"])
async def test_a_url_is_sent_as_it_was_given(client: WebhookClient, target: str) -> None:
    async def answer(_server: Raw, writer: asyncio.StreamWriter) -> None:
        writer.write(OK)

    async with raw(answer) as server:
        assert (await client.post(server.url + target, b"{}", {})).status == 204
    assert server.heads[0].split(b"\r\n")[0] == f"POST {target} HTTP/1.1".encode()
