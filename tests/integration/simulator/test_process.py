"""The simulator as a process: it serves, ends cleanly, and says why it cannot start."""

import signal
import socket
import subprocess
import sys
from urllib.request import urlopen

import pytest


def start(*arguments: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "beat_actors.simulator", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_with_zero(number: signal.Signals) -> None:
    port = free_port()
    process = start("--port", str(port), "--profiles", "50", "--serve-media")
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == f"simulator at http://127.0.0.1:{port}\n"
        with urlopen(f"http://127.0.0.1:{port}/") as answer:
            assert b"/graphapi" in answer.read()
        url = f"http://127.0.0.1:{port}/lama/v1/user/by/id?id=10000019000&access_key=k"
        with urlopen(url) as answer:
            assert f"http://127.0.0.1:{port}/_cdn/".encode() in answer.read()
        with urlopen(f"http://127.0.0.1:{port}/_cdn/v/t51.2885-19/s150x150/1_n.jpg?oh=1") as answer:
            assert answer.headers["content-type"] == "image/jpeg"
        process.send_signal(number)
        assert process.wait(10) == 0
    finally:
        process.kill()
        process.communicate()


def test_a_taken_port_is_refused_in_a_sentence() -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        process = start("--port", str(port))
        out, err = process.communicate(timeout=20)
    assert process.returncode == 1
    assert err == f"The simulator cannot listen on 127.0.0.1:{port}: another process listens there.\n"
    assert out == ""


def test_a_senseless_option_is_refused_in_a_sentence() -> None:
    process = start("--profiles", "0")
    _, err = process.communicate(timeout=20)
    assert process.returncode == 1
    assert err == "profiles: a population has at least one person\n"
