"""A double is found where its module lies: among the providers, or in a platform's own folder."""

from pathlib import Path

import aiohttp
import pytest

import beat_actors.platforms
from beat_actors.simulator import running
from beat_actors.simulator.registry import doubles

ECHO = """
from beat_actors.simulator import Operation, ProviderDouble, Refusals, reply

def answer(asked, world):
    return reply({"you": asked.query, **asked.params, "body": asked.body.decode(), "base": asked.base})

no = reply({"no": True}, 418)
double = ProviderDouble(
    name="echo",
    operations=(Operation("echo", "/echo/{word}", answer),),
    refusals=Refusals(no, no, lambda wait: no, lambda wait: no, lambda path: no, no),
    credential_header="authorization",
)
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A place where another platform may lie."""
    monkeypatch.setattr(beat_actors.platforms, "__path__", [*beat_actors.platforms.__path__, str(tmp_path)])
    return tmp_path


def platform(folder: Path, name: str, simulator: str) -> None:
    (folder / name).mkdir()
    (folder / name / "__init__.py").touch()
    (folder / name / "simulator.py").write_text(simulator)


async def test_a_platforms_folder_brings_its_own_double(folder: Path) -> None:
    platform(folder, "echo_platform", ECHO)
    assert "echo" in doubles()
    async with running() as url, aiohttp.ClientSession() as session:
        headers = {"Authorization": "Bearer key"}
        async with session.post(f"{url}/echo/echo/hello?a=b", data=b"{}", headers=headers) as response:
            assert await response.json() == {"you": {"a": "b"}, "word": "hello", "body": "{}", "base": f"{url}/echo"}
    assert {"graphapi", "arraybobo", "jotucker", "bestsolutions", "lama"} <= set(doubles())


def test_two_doubles_of_one_name_are_refused(folder: Path) -> None:
    platform(folder, "twice_platform", ECHO.replace('"echo"', '"lama"'))
    with pytest.raises(ValueError, match="a double named 'lama' already"):
        doubles()


def test_a_module_without_a_double_is_refused(folder: Path) -> None:
    platform(folder, "empty_platform", "")
    with pytest.raises(TypeError, match="declares no ProviderDouble"):
        doubles()
