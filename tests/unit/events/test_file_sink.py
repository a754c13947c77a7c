"""Lines of a file: whole ones, on the disk, in files of a bounded size and number."""

# ruff: noqa: ASYNC240

import asyncio
import errno
import os
import resource
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from beat_actors.errors import BadSettings
from beat_actors.events.sink import Place, SinkUnavailable, Trouble
from beat_actors.events.sinks import file
from beat_actors.events.sinks.conformance import event, made
from beat_actors.events.sinks.file import NdjsonFile


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "events.ndjson"


def sink_of(path: Path, **options: str) -> NdjsonFile:
    return NdjsonFile(Place("test", f"file://{path}", options=options))


def lines(path: Path) -> list[dict[str, Any]]:
    text = path.read_bytes()
    assert not text or text.endswith(b"\n")
    return [msgspec.json.decode(line) for line in text.splitlines()]


def seqs(path: Path) -> list[int]:
    return [int(line["sequence"]) for line in lines(path)]


async def test_a_line_is_a_whole_cloud_event_even_if_its_data_have_line_ends(path: Path) -> None:
    sink = sink_of(path)
    await sink.open()
    only = event(3, data='{\n  "a": "b\\n"\n}')
    assert await sink.publish([only]) == {}
    await sink.close()
    (line,) = lines(path)
    assert (line["specversion"], line["id"], line["data"]) == ("1.0", only.id, {"a": "b\n"})


@pytest.mark.parametrize("torn", [b'{"specversion', b"{" + b"x" * 200_000, b""])
async def test_a_line_without_its_end_is_removed_at_the_start(path: Path, torn: bytes) -> None:
    sink = sink_of(path)
    await sink.open()
    await sink.publish(made(3))
    await sink.close()
    with path.open("ab") as written:
        written.write(torn)
    await sink.open()
    await sink.publish(made(2, first=4))
    await sink.close()
    assert seqs(path) == [1, 2, 3, 4, 5]


async def test_a_file_of_nothing_but_a_torn_line_is_begun_anew(path: Path) -> None:
    path.write_bytes(b'{"id"')
    sink = sink_of(path)
    await sink.open()
    await sink.publish(made(1))
    await sink.close()
    assert seqs(path) == [1]


async def test_a_file_that_is_something_else_is_left_alone(path: Path) -> None:
    path.write_bytes(b"\0" * (file.LONGEST + 2 * file.BLOCK))
    with pytest.raises(SinkUnavailable, match="holds something else than lines of JSON"):
        await sink_of(path).open()
    assert path.stat().st_size == file.LONGEST + 2 * file.BLOCK


async def test_files_are_bounded_in_size_and_number(path: Path) -> None:
    sink = sink_of(path, max_bytes="20kB", keep="3")
    await sink.open()
    for at in range(1, 600, 10):
        assert await sink.publish(made(10, first=at)) == {}
    await sink.close()
    rotated = sorted(path.parent.glob("events.ndjson.*"))
    assert len(rotated) == 3
    assert int(rotated[0].suffix[1:]) > 3, "numbers are not used again"
    assert all(one.stat().st_size <= 20_000 for one in [*rotated, path])
    found = [seq for one in [*rotated, path] for seq in seqs(one)]
    assert found == list(range(found[0], 601))


async def test_a_batch_above_the_size_is_one_file(path: Path) -> None:
    sink = sink_of(path, max_bytes="10kB", keep="0")
    await sink.open()
    await sink.publish(made(2))
    await sink.publish(made(100, first=3))
    await sink.close()
    assert seqs(path) == list(range(3, 103))
    assert list(path.parent.iterdir()) == [path]


async def test_a_file_that_somebody_renamed_is_followed_by_a_new_one(path: Path) -> None:
    sink = sink_of(path)
    await sink.open()
    await sink.publish(made(2))
    path.rename(path.with_name("taken"))
    await sink.publish(made(2, first=3))
    path.unlink()
    await sink.publish(made(2, first=5))
    await sink.close()
    assert (seqs(path.with_name("taken")), seqs(path)) == ([1, 2], [5, 6])


@pytest.fixture
def limited(path: Path) -> Iterator[None]:
    """No file of this process can grow above 5,000 bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5_000, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.usefixtures("limited")
async def test_without_room_nothing_is_torn_and_no_later_call_overtakes(path: Path) -> None:
    sink = sink_of(path)
    await sink.open()
    assert await sink.publish(made(5)) == {}
    large, small = made(20, first=6), made(1, first=26)
    refused = await asyncio.gather(sink.publish(large), sink.publish(small))
    assert [len(one) for one in refused] == [20, 1]
    assert {refusal.trouble for one in refused for refusal in one.values()} == {Trouble.FULL}
    assert "no room" in refused[0][0].reason
    assert await sink.publish(large[:2]) == {}
    await sink.close()
    assert seqs(path) == [1, 2, 3, 4, 5, 6, 7]


async def test_a_disk_that_fails_at_the_sync_stores_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(_descriptor: int) -> None:
        raise OSError(errno.EIO, "broken")

    sink = sink_of(path)
    await sink.open()
    await sink.publish(made(2))
    with monkeypatch.context() as patched:
        patched.setattr(os, "fdatasync", failing)
        with pytest.raises(SinkUnavailable, match="Input/output error"):
            await sink.publish(made(2, first=3))
    await sink.open()
    await sink.publish(made(2, first=3))
    await sink.close()
    assert seqs(path) == [1, 2, 3, 4]


async def test_a_disk_that_does_not_answer_ends_the_call(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sink = sink_of(path)
    await sink.open()
    monkeypatch.setattr(file, "TIMEOUT", 0.1)
    monkeypatch.setattr(os, "fdatasync", lambda _descriptor: time.sleep(2))
    with pytest.raises(SinkUnavailable) as raised:
        await sink.publish(made(1))
    assert raised.value.trouble is Trouble.NO_CONFIRM
    with pytest.raises(SinkUnavailable, match="another process writes to"):
        await sink.open()


async def test_a_second_process_is_refused_until_the_first_has_ended(path: Path) -> None:
    sink, second = sink_of(path), sink_of(path)
    await sink.open()
    with pytest.raises(SinkUnavailable, match="another process writes to") as raised:
        await second.open()
    assert raised.value.trouble is Trouble.BLOCKED
    await sink.close()
    await second.open()
    await second.close()


async def test_a_folder_that_is_missing_is_named(path: Path) -> None:
    with pytest.raises(SinkUnavailable, match=r"the folder .*/missing does not exist; create it"):
        await sink_of(path.parent / "missing" / "events.ndjson").open()
    with pytest.raises(SinkUnavailable, match=r"Is a directory|is no file"):
        await sink_of(path.parent).open()
    os.mkfifo(path)
    with pytest.raises(SinkUnavailable, match="is no file"):
        await sink_of(path).open()


@pytest.mark.parametrize("url", ["file:", "file://host/path", "file:relative", "file:///folder/"])
def test_a_path_is_absolute(url: str) -> None:
    with pytest.raises(BadSettings, match="absolute path"):
        NdjsonFile(Place("a", url))


WRITER = """
import asyncio, sys
from beat_actors.events.sink import Place
from beat_actors.events.sinks.conformance import made
from beat_actors.events.sinks.file import NdjsonFile

async def main(url, first):
    sink = NdjsonFile(Place("a", url, options={"max_bytes": "200kB", "keep": "1000"}))
    await sink.open()
    while True:
        assert await sink.publish(made(50, first=first)) == {}
        first += 50
        print(first - 1, flush=True)

asyncio.run(main(sys.argv[1], int(sys.argv[2])))
"""


def test_a_writer_that_is_killed_tears_no_line_and_loses_no_confirmed_one(path: Path) -> None:
    confirmed = 0
    for _ in range(4):
        writer = subprocess.Popen(
            (sys.executable, "-c", textwrap.dedent(WRITER), f"file://{path}", str(confirmed + 1)),
            stdout=subprocess.PIPE,
        )
        assert writer.stdout
        said = [writer.stdout.readline() for _ in range(20)]
        writer.kill()
        confirmed = int([*said, *writer.stdout.readlines()][-1])
        writer.wait()
    asyncio.run(_opened_once(path))
    files = [*sorted(path.parent.glob("events.ndjson.*")), path]
    assert len(files) > 2
    found = [seq for one in files for seq in seqs(one)]
    assert set(found) >= set(range(1, confirmed + 1))


async def _opened_once(path: Path) -> None:
    sink = sink_of(path)
    await sink.open()
    await sink.close()
