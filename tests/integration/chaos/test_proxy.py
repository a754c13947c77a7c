"""The proxy that breaks connections does to them what it says."""

import contextlib
import socket
import threading
from collections.abc import Iterator

import pytest

from beat_actors.chaos.proxy import BREAKS, Proxy

pytestmark = pytest.mark.timeout(60)


@contextlib.contextmanager
def echo(prefix: bytes = b"") -> Iterator[int]:
    """A server that sends back what it gets, each chunk with a prefix; its port."""

    def answer(connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            while data := connection.recv(65536):
                connection.sendall(prefix + data)

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=answer, args=(listener.accept()[0],), daemon=True).start()

    listener = socket.create_server(("127.0.0.1", 0))
    threading.Thread(target=serve, daemon=True).start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.close()


def connected(proxy: Proxy) -> socket.socket:
    return socket.create_connection(("127.0.0.1", proxy.port), timeout=10)


def test_it_passes_bytes_and_ends_in_both_directions() -> None:
    with echo() as port, Proxy.running(port) as proxy, connected(proxy) as client:
        sent = b"x" * 1_000_000
        threading.Thread(target=client.sendall, args=(sent,), daemon=True).start()
        got = b""
        while len(got) < len(sent):
            got += client.recv(65536)
        assert got == sent
        client.shutdown(socket.SHUT_WR)
        assert client.recv(1) == b""
        assert not proxy.broken


def test_a_reset_is_an_rst_and_a_refused_server_too() -> None:
    with echo() as port, Proxy.running(port) as proxy:
        with connected(proxy) as client:
            client.sendall(b"a")
            assert client.recv(1) == b"a"
            proxy.reset_all()
            with pytest.raises(ConnectionResetError):
                client.recv(1)
        with socket.create_server(("127.0.0.1", 0)) as closed:
            nobody = closed.getsockname()[1]
        proxy.lead_to(nobody)
        with pytest.raises(ConnectionResetError), connected(proxy) as client:
            client.recv(1)


def test_new_connections_go_to_the_other_server_and_old_ones_stay() -> None:
    with echo(b"1") as first, echo(b"2") as second, Proxy.running(first) as proxy, connected(proxy) as old:
        old.sendall(b"a")
        assert old.recv(2, socket.MSG_WAITALL) == b"1a"
        proxy.lead_to(second)
        with connected(proxy) as new:
            new.sendall(b"a")
            assert new.recv(2, socket.MSG_WAITALL) == b"2a"
        old.sendall(b"b")
        assert old.recv(2, socket.MSG_WAITALL) == b"1b"


def test_it_breaks_in_every_way_counts_it_and_stops_when_asked() -> None:
    with echo() as port, Proxy.running(port) as proxy:
        proxy.disturb(rate=1.0, longest=0.001)
        ends: set[str] = set()
        while not (set(BREAKS) <= set(proxy.broken) and {"reset", "eof", "answered"} <= ends):
            try:
                with connected(proxy) as client:
                    client.sendall(b"a")
                    ends.add("answered" if client.recv(1) else "eof")
            except ConnectionResetError:
                ends.add("reset")
        proxy.calm()
        before = proxy.broken.total()
        with connected(proxy) as client:
            client.sendall(b"a")
            assert client.recv(1) == b"a"
        assert proxy.broken.total() == before
