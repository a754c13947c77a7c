"""Logging never stops work: lines that cannot be written are lost, and counted."""

import os
import subprocess
import sys

import pytest

from beat_actors.log_buffer import LogBuffer


def test_lines_are_written_in_order() -> None:
    reader, writer = os.pipe()
    logs = LogBuffer(writer)
    for line in ("one\n", "two\n", "three\n"):
        logs.write(line)
    logs.drain(10)
    assert os.read(reader, 100) == b"one\ntwo\nthree\n"
    assert logs.said() is None


def test_a_full_device_costs_lines_and_is_reported() -> None:
    logs = LogBuffer(os.open("/dev/full", os.O_WRONLY))
    logs.write("one\n")
    logs.drain(10)
    assert logs.lost == 1
    assert "1 lines of its log could not be written" in str(logs.said())


def test_a_reader_that_is_gone_costs_lines() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    logs = LogBuffer(writer)
    logs.write("one\n")
    logs.drain(10)
    assert logs.lost == 1


@pytest.mark.parametrize("blocking", [True, False])
def test_a_reader_that_does_not_read_holds_nobody_up(blocking: bool) -> None:
    reader, writer = os.pipe()
    os.set_blocking(writer, blocking)
    logs = LogBuffer(writer, most=100_000)
    for _ in range(300):
        logs.write("x" * 999 + "\n")
    assert 0 < logs.lost < 300, "the buffer has no bound, or no room"
    logs.drain(0.01)  # ends, though nothing is read
    got = 0
    while got < (300 - logs.lost) * 1000:
        got += len(os.read(reader, 65536))
    logs.drain(10)
    assert logs.lost + got // 1000 == 300


def test_a_forked_process_writes_lines_of_its_own() -> None:
    script = (
        "import os\nfrom beat_actors.log_buffer import LogBuffer\n"
        "logs = LogBuffer(2)\nlogs.write('parent\\n'); logs.drain(10)\n"
        "pid = os.fork()\nif not pid:\n    logs.write('child\\n'); logs.drain(10); os._exit(0)\n"
        "os.waitpid(pid, 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stderr.splitlines() == ["parent", "child"]
