"""The two wheels: production holds nothing that simulates or breaks anything, and the `rehearsal` extra adds exactly the rest."""

import os
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from pathlib import Path

import pytest

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
    subprocess.run(command, cwd=folder, capture_output=True, check=True, timeout=60)
    (wheel,) = into.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The production wheel and the rehearsal wheel, built from a copy of the tree."""
    tree = tmp_path_factory.mktemp("tree")
    for name in (*PACKAGES, "rehearsal"):
        shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE", "NOTICE"):
        shutil.copy(ROOT / name, tree)
    return build(tree, tree / "production"), build(tree / "rehearsal", tree / "rehearsal" / "dist")


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
        timeout=60,
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
