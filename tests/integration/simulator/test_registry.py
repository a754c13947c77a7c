"""A simulated provider is found where its module lies: among the providers, or in a platform's own folder."""

from pathlib import Path

import aiohttp
import pytest

import beat_actors.platforms
from beat_actors.simulator import SimulatorClient, running
from beat_actors.simulator.registry import simulated_providers

ECHO = """
from beat_actors.simulator import Operation, SimulatedProvider, Refusals, Words, reply

def answer(asked, world):
    return reply({"you": asked.query, **asked.params, "body": asked.body.decode(), "base": asked.base})

no = reply({"no": True}, 418)
provider = SimulatedProvider(
    name="echo",
    operations=(Operation("echo", "/echo/{word}", answer),),
    refusals=Refusals(no, no, lambda wait: no, lambda wait: no, lambda path: no, no),
    credential_header="authorization",
    words=Words(identity=frozenset({"word"}), metrics=frozenset({"loops"})),
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


async def test_a_platforms_folder_brings_its_own_simulated_provider(folder: Path) -> None:
    platform(folder, "echo_platform", ECHO)
    assert "echo" in simulated_providers()
    async with running() as url, aiohttp.ClientSession() as session:
        headers = {"Authorization": "Bearer key"}
        async with session.post(f"{url}/echo/echo/hello?a=b", data=b"{}", headers=headers) as response:
            assert await response.json() == {"you": {"a": "b"}, "word": "hello", "body": "{}", "base": f"{url}/echo"}
    assert {"graphapi", "arraybobo", "jotucker", "bestsolutions", "lama"} <= set(simulated_providers())


async def test_a_fault_knows_the_words_of_a_platforms_own_simulated_provider(folder: Path) -> None:
    platform(folder, "echo_platform", ECHO)
    async with running() as url, SimulatorClient(url) as admin, aiohttp.ClientSession() as session:
        for fault, told in (
            ({"kind": "missing_key"}, {"you": {"loops": "12"}, "body": ""}),
            ({"kind": "wrong_type"}, {"you": {"loops": {"value": 12}}, "word": "hello", "body": ""}),
            ({"kind": "corrupt", "body": "negative"}, {"you": {"loops": -13}, "word": "hello", "body": ""}),
            ({"kind": "corrupt"}, {"you": {"loops": 0}, "word": "hello", "body": ""}),
        ):
            await admin.clear_faults()
            await admin.add_fault(source="echo", **fault)
            async with session.get(f"{url}/echo/echo/hello?loops=12", headers={"Authorization": "key"}) as response:
                assert await response.json() == {**told, "base": f"{url}/echo"}


def test_two_simulated_providers_of_one_name_are_refused(folder: Path) -> None:
    platform(folder, "twice_platform", ECHO.replace('"echo"', '"lama"'))
    with pytest.raises(ValueError, match="a simulated provider named 'lama' already"):
        simulated_providers()


def test_a_module_without_a_simulated_provider_is_refused(folder: Path) -> None:
    platform(folder, "empty_platform", "")
    with pytest.raises(TypeError, match="declares no SimulatedProvider"):
        simulated_providers()
