"""The two wheels: production holds nothing that simulates or breaks anything, and the `rehearsal` extra adds exactly the rest."""

import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from supply.metadata import absolute

pytestmark = pytest.mark.exhaustive
ROOT = Path(__file__).parents[3]
PACKAGES = ("beat_actors", "actors", "api", "scheduler")
SET = {
    "BEAT_DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none",
    "BEAT_REDIS_URL": "redis://127.0.0.1:1",
    "BEAT_VAULT_KEYS": "k:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
    "BEAT_MESSAGE_KEYS": "k:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
}


def build(folder: Path, into: Path) -> Path:
    """Build the wheel of a project folder with the locked hatchling, without an isolated environment or a network."""
    command = (sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(into))
    subprocess.run(command, cwd=folder, capture_output=True, check=True, timeout=240)
    (wheel,) = into.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The production wheel and the rehearsal wheel, built from a copy of the tree."""
    tree = tmp_path_factory.mktemp("tree")
    for name in (*PACKAGES, "rehearsal", "client", "supply"):
        shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE", "NOTICE"):
        shutil.copy(ROOT / name, tree)
    return build(tree, tree / "production"), build(tree / "rehearsal", tree / "rehearsal" / "dist")


@pytest.fixture(scope="module")
def client(wheels: tuple[Path, Path]) -> Path:
    """The client's wheel, of the same tree."""
    tree = wheels[0].parents[1]
    return build(tree / "client", tree / "client" / "dist")


def files(wheel: Path) -> set[str]:
    return {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}


@pytest.fixture
def production(wheels: tuple[Path, Path], tmp_path: Path) -> Path:
    """The production wheel, unpacked."""
    zipfile.ZipFile(wheels[0]).extractall(tmp_path / "site")
    return tmp_path / "site"


def python(site: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Python with `site` and this environment's dependencies, but without its editable installation of the tree."""
    path = os.pathsep.join((str(site), sysconfig.get_path("purelib")))
    return subprocess.run(
        (sys.executable, "-S", *arguments),
        cwd=site,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": path, "COLUMNS": "200", **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )


def beat(site: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return python(site, "-c", "from beat_actors.cli import main; main()", *arguments, **environment)


def test_every_file_of_the_tree_is_in_one_of_the_wheels_and_in_no_two(wheels: tuple[Path, Path]) -> None:
    production, rehearsal = map(files, wheels)
    tree = {
        str(path.relative_to(ROOT))
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert production | rehearsal == tree
    assert not production & rehearsal


def test_the_production_wheel_has_no_simulator_no_chaos_and_nothing_to_arm(wheels: tuple[Path, Path]) -> None:
    production, rehearsal = map(files, wheels)
    wanted = ("/simulator/", "/chaos/", "/simulator.py", "/chaos.py", "/armed.py", "/rehearsing.py")
    code = {name for name in production if "/cli/templates/" not in name}
    assert not [name for name in code if any(part in name for part in wanted)]
    assert all(any(part in name for name in rehearsal) for part in wanted)
    assert b"SIGKILL" not in zipfile.ZipFile(wheels[0]).read("beat_actors/failpoints/__init__.py")


def test_the_terms_are_in_the_wheel(wheels: tuple[Path, Path]) -> None:
    held = zipfile.ZipFile(wheels[0]).namelist()
    assert {"LICENSE", "NOTICE"} <= {name.rpartition("/")[2] for name in held if ".dist-info/licenses/" in name}


def test_the_extra_names_the_other_wheel_in_this_version() -> None:
    ours = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    rehearsal = tomllib.loads((ROOT / "rehearsal/pyproject.toml").read_text())["project"]
    assert ours["optional-dependencies"]["rehearsal"] == [f"{rehearsal['name']}=={ours['version']}"]
    assert rehearsal["version"] == ours["version"]
    assert rehearsal["dependencies"] == [f"{ours['name']}[local]=={ours['version']}"]


def test_beat_works_from_the_production_wheel_alone(production: Path) -> None:
    assert python(production, "-c", "import beat_actors; print(beat_actors.__file__)").stdout.startswith(
        str(production)
    )
    helped = beat(production, "--help")
    assert helped.returncode == 0, helped.stderr
    assert "doctor" in helped.stdout
    examined = beat(production, "doctor", **SET)
    assert examined.returncode == 1, examined.stderr
    assert "production" in examined.stdout
    assert "PostgreSQL did not answer" in examined.stdout


@pytest.mark.parametrize("command", ["simulator", "chaos"])
def test_a_command_of_the_extra_says_which_to_install(production: Path, command: str) -> None:
    for arguments in ((command,), (command, "--help")):
        said = beat(production, *arguments)
        assert said.returncode == 2
        assert said.stderr.count("\n") == 1
        assert "beat_actors_rehearsal-0.1.0-py3-none-any.whl" in said.stderr
        assert "pip install 'beat-actors" not in said.stderr


def test_beat_up_of_the_production_wheel_starts_real_providers_alone(production: Path) -> None:
    said = beat(production, "up", "--root", "nowhere")
    assert said.returncode == 2
    assert "without --real, `beat up` needs simulated providers" in said.stderr
    assert not (production / "nowhere").exists()


def test_nothing_can_be_armed_in_the_production_wheel(production: Path) -> None:
    said = beat(production, "requests", BEAT_ENVIRONMENT="rehearsal", BEAT_FAILPOINTS="ingest.parse=kill", **SET)
    assert said.returncode == 2
    assert "cannot arm failpoints" in said.stderr


def test_every_module_of_the_production_wheel_imports_without_the_other(production: Path) -> None:
    names = sorted(
        ".".join(path.relative_to(production).with_suffix("").parts)
        for path in production.rglob("*.py")
        if path.name not in ("__init__.py", "__main__.py") and "versions" not in path.parts and path.name != "env.py"
    )
    said = python(production, "-c", "import sys\nfor name in sys.argv[1:]: __import__(name)", *names, **SET)
    assert said.returncode == 0, said.stderr


def test_both_wheels_together_can_do_all(wheels: tuple[Path, Path], production: Path) -> None:
    zipfile.ZipFile(wheels[1]).extractall(production)
    for command in ("up", "simulator", "chaos"):
        helped = beat(production, command, "--help")
        assert helped.returncode == 0, helped.stderr


def described(wheel: Path) -> str:
    with zipfile.ZipFile(wheel) as built:
        (name,) = [name for name in built.namelist() if name.endswith(".dist-info/METADATA")]
        return built.read(name).decode()


def test_the_page_of_the_wheel_has_no_relative_link(wheels: tuple[Path, Path]) -> None:
    said = described(wheels[0])
    assert "docs/architecture.md" in said
    assert re.findall(r"\]\((?!https?://|#)", said) == []


def test_links_lead_to_where_a_release_says_that_its_files_are() -> None:
    text = "see [the page](docs/api.md#ask), [elsewhere](https://example.com), [below](#below)"
    assert absolute(text, "https://example.org/v1/") == (
        "see [the page](https://example.org/v1/docs/api.md#ask), [elsewhere](https://example.com), [below](#below)"
    )
    assert absolute(text, None) == "see the page, [elsewhere](https://example.com), [below](#below)"


def test_the_client_is_a_package_of_its_own_with_two_dependencies(client: Path, tmp_path: Path) -> None:
    needs = re.findall(r"^Requires-Dist: (\S+)", described(client), re.MULTILINE)
    assert sorted(re.split(r"[<>=]", need)[0] for need in needs) == ["aiohttp", "msgspec"]
    with zipfile.ZipFile(client) as built:
        built.extractall(tmp_path)
    assert not (tmp_path / "beat_actors").exists()
    code = "import beat_client, sys; print(sorted(beat_client.__all__) == sorted(set(beat_client.__all__)), 'beat_actors' in sys.modules)"
    assert python(tmp_path, "-c", code).stdout == "True False\n"
    assert "beat_actors" not in "".join(path.read_text() for path in (tmp_path / "beat_client").glob("*.py"))


def installs(test: Callable[..., None]) -> Callable[..., None]:
    """A test that installs a hundred packages and starts stacks: in `make test-all` alone."""
    skipped = pytest.mark.skipif("BEAT_TEST_ALL" not in os.environ, reason="it installs packages: make test-all")
    return pytest.mark.timeout(900)(skipped(test))


def uv(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """uv, with the index that pip was given; skipped where no package can be had."""
    said = {}
    for name in ("index-url", "extra-index-url"):
        asked = subprocess.run(
            (sys.executable, "-m", "pip", "config", "get", f"global.{name}"),
            capture_output=True,
            text=True,
            check=False,
        )
        said[name] = asked.stdout.split()
    env = {**{name: value for name, value in os.environ.items() if not name.startswith("BEAT_")}}
    env |= {
        "UV_PYTHON_DOWNLOADS": "never",
        "UV_INDEX_STRATEGY": "unsafe-best-match",
    }  # as pip takes what several indexes have
    if said["index-url"]:
        env["UV_DEFAULT_INDEX"] = said["index-url"][0]
    elif said["extra-index-url"]:
        env["UV_INDEX"] = " ".join(said["extra-index-url"])
    command = (str(Path(sys.executable).with_name("uv")), *arguments)
    return subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, check=False, timeout=600)


@installs
def test_an_empty_environment_has_a_stack_from_the_wheels_alone(wheels: tuple[Path, Path], tmp_path: Path) -> None:
    """What the pages print: the production wheel by itself, then what it names for the local stack, then the rehearsal's wheel."""
    environment, dist = tmp_path / "venv", tmp_path / "dist"
    dist.mkdir()
    for wheel in wheels:
        shutil.copy2(wheel, dist)
    assert uv("venv", "--quiet", "--python", sys.executable, str(environment), cwd=tmp_path).returncode == 0
    install = ("pip", "install", "--quiet", "--python", str(environment / "bin/python"))
    done = uv(*install, str(dist / wheels[0].name), cwd=tmp_path)
    if done.returncode:
        pytest.skip(f"no packages can be had here: {done.stderr[-300:]}")
    command = str(environment / "bin/beat")

    def say(*arguments: str) -> subprocess.CompletedProcess[str]:
        env = {"PATH": f"{environment / 'bin'}:{os.environ['PATH']}", "HOME": str(tmp_path)}
        return subprocess.run(
            (command, *arguments), cwd=tmp_path, env=env, capture_output=True, text=True, check=False, timeout=300
        )

    refused = say("up", "--real", "--once")
    assert refused.returncode == 1
    assert not (tmp_path / ".beat").exists()
    printed = shlex.split(refused.stderr.partition("needs it: ")[2])
    assert printed[:2] == ["pip", "install"]
    done = uv(*install, *printed[2:], cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    started = say("up", "--real", "--once")
    assert started.returncode == 0, started.stderr
    assert "needs simulated providers" in say("up", "--once").stderr
    done = uv(*install, "--find-links", str(dist), "beat-actors-rehearsal", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    rehearsed = say("up", "--once", "--profiles", "20", "--root", str(tmp_path / "rehearsed"))
    assert rehearsed.returncode == 0, rehearsed.stdout[-3000:] + rehearsed.stderr
    assert "earlier run" not in rehearsed.stdout  # there was none


def interpreter(minor: int) -> str | None:
    """A Python 3.`minor` that starts: one on PATH, or one that pyenv or uv has installed."""
    name, home = f"python3.{minor}", Path.home()
    installed = (
        *sorted(home.glob(f".pyenv/versions/3.{minor}.*/bin/{name}")),
        *sorted(home.glob(f".local/share/uv/python/cpython-3.{minor}.*/bin/{name}")),
    )
    for one in (shutil.which(name), *map(str, installed)):
        # What pyenv has on PATH for a version that is not chosen is there, and does not start.
        if one is not None and subprocess.run((one, "-c", ""), check=False, capture_output=True).returncode == 0:
            return one
    return None


@installs
@pytest.mark.parametrize("minor", [11, 12, 13, 14])
def test_uvx_runs_a_rehearsal_of_the_wheels(minor: int, wheels: tuple[Path, Path], tmp_path: Path) -> None:
    python = interpreter(minor)
    if python is None:
        pytest.skip(f"there is no python3.{minor} here that starts")
    for wheel in wheels:
        shutil.copy2(wheel, tmp_path)
    options = ("--python", python, "--find-links", str(tmp_path), "--with", "beat-actors-rehearsal")
    run = ("beat", "up", "--once", "--profiles", "20", "--root", str(tmp_path / "rehearsed"))
    done = uv("tool", "run", *options, "--from", str(tmp_path / wheels[0].name), *run, cwd=tmp_path)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
