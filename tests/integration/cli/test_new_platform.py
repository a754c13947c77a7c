"""`beat new-platform`: what it writes passes the suite, the linters and a whole run; and it never overwrites."""

import ast
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import psycopg
import pytest

from beat_actors.cli import scaffold
from beat_actors.cli.app import invoke
from beat_actors.cli.plugin import plan
from beat_actors.database import migrate
from beat_actors.errors import BadInput
from beat_actors.settings import Settings
from tests.platform_boundary import is_own

ROOT = Path(__file__).parents[3]
COPIED = (
    "beat_actors",
    "actors",
    "api",
    "scheduler",
    "tests",
    "docs",
    "supply",
    "pyproject.toml",
    "README.md",
    "LICENSE",
)
NAME, TITLE, SOURCE = "flickr", "FlickR", "lightbox"


def copy(to: Path) -> Path:
    """The tree without its history, as somebody has it before their first platform."""
    for name in COPIED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, to / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(ROOT / name, to / name)
    return to


def skeleton(to: Path) -> Path:
    """Only what the scaffold itself looks at."""
    for folder in ("beat_actors/platforms/instagram", f"{scaffold.VERSIONS}", "docs/platforms", "tests/fixtures"):
        (to / folder).mkdir(parents=True)
    for path in (ROOT / scaffold.VERSIONS).glob("*.py"):
        shutil.copy2(path, to / scaffold.VERSIONS)
    shutil.copy2(ROOT / f"{scaffold.VERSIONS}/../env.py", to / f"{scaffold.VERSIONS}/../env.py")
    shutil.copy2(ROOT / "pyproject.toml", to / "pyproject.toml")
    return to


def inventory(root: Path) -> dict[str, bytes]:
    """The files, but for bytecode that is kept beside them."""
    files = [path for path in root.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    return {str(path.relative_to(root)): path.read_bytes() for path in files}


def folders_of(root: Path) -> list[Path]:
    return sorted(path for path in root.rglob("*") if path.is_dir() and path.name != "__pycache__")


def entry_points(root: Path) -> dict[str, str]:
    found: dict[str, str] = tomllib.loads((root / "pyproject.toml").read_text())["project"]["entry-points"][
        "beat.platforms"
    ]
    return found


class Checkout:
    """A copy of the tree, in which commands see the copy and not this checkout."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.written = {path for path in inventory(root) if not (ROOT / path).exists()}

    def run(self, *command: str) -> str:
        env = {**os.environ, "PYTHONPATH": str(self.root), "PYTHONDONTWRITEBYTECODE": "1"}
        done = subprocess.run(
            [sys.executable, *command],
            cwd=self.root,
            env=env,
            capture_output=True,
            text=True,
            timeout=110,
            check=False,
        )
        assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
        return done.stdout

    def install(self) -> None:
        """Put the copy's own metadata on the path before that of the installed distribution, so that its entry points are found."""
        self.run("-c", "from hatchling.build import build_editable; build_editable('.')")
        (wheel,) = self.root.glob("*.whl")
        with zipfile.ZipFile(wheel) as built:
            built.extractall(self.root, [name for name in built.namelist() if ".dist-info/" in name])


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """A tree into which a platform was written, with names of its own for everything that can be named."""
    root = copy(tmp_path_factory.mktemp("checkout"))
    assert invoke(["new-platform", NAME, "--title", TITLE, "--source", SOURCE, "--root", str(root)]) == 0
    checkout = Checkout(root)
    checkout.install()
    return checkout


@pytest.mark.exhaustive
def test_s10_11_the_new_platform_passes_the_suite_and_a_whole_run(checkout: Checkout) -> None:
    quiet = ("-v", "-p", "no:cacheprovider", "-p", "no:xdist")
    tests = ("tests/conformance", f"tests/unit/platforms/{NAME}", "-k", f"{NAME} or {SOURCE}")
    said = checkout.run("-m", "pytest", *quiet, *tests)
    assert "skipped" not in said
    passed = re.findall(r"::(\w+)\S* .*PASSED", said)
    assert passed.count("test_s10_10_a_request_goes_through_all_stages") == 1
    # Every test of the suite that goes by platforms, sources, operations or recordings has met it.
    assert set(passed) >= {
        "test_s1_4_every_chain_names_sources_that_serve_the_operation",
        "test_p8_a_call_carries_its_secret_only_where_nothing_is_logged",
        "test_every_source_declares_limits_errors_and_versions",
        "test_s10_9_every_entity_can_be_kept",
        "test_s6_10_a_good_recording_is_read_whole",
        "test_s1_1_a_recorded_refusal_is_judged_as_what_it_is",
        "test_s6_9_what_is_no_answer_is_malformed",
        "test_s6_9_a_truncated_answer_is_malformed",
        "test_s6_1_a_damaged_answer_raises_what_is_known_or_is_read",
        "test_s10_11_every_source_has_recordings_and_every_recording_is_read_or_its_reason_stands",
    }


def test_what_is_written_is_in_style(checkout: Checkout) -> None:
    written = [path for path in checkout.written if path.endswith(".py")]
    checkout.run("-m", "ruff", "check", *written)
    checkout.run("-m", "ruff", "format", "--check", *written)


@pytest.mark.exhaustive
def test_what_is_written_is_typed(checkout: Checkout) -> None:
    checkout.run("-m", "mypy", "--cache-dir", str(checkout.root / ".mypy_cache"), "-p", f"beat_actors.platforms.{NAME}")


def test_s10_1_it_adds_what_a_platform_may_and_one_line(checkout: Checkout) -> None:
    assert len(checkout.written) == len(scaffold.FILES)
    assert all(is_own(NAME, path) for path in checkout.written)
    before, after = ((root / "pyproject.toml").read_text().splitlines() for root in (ROOT, checkout.root))
    assert [line for line in after if line not in before] == [f'{NAME} = "beat_actors.platforms.{NAME}:platform"']
    assert len(after) == len(before) + 1
    assert list(entry_points(checkout.root)) == sorted(entry_points(checkout.root))


def test_the_migration_goes_on_from_the_newest(tmp_path: Path) -> None:
    root = skeleton(tmp_path)
    newest = max(path.name[:4] for path in (root / scaffold.VERSIONS).glob("*.py"))
    first = scaffold.plan(root, "first")
    assert scaffold.write(first)
    second = scaffold.plan(root, "second")
    (path,) = [path for path in second.files if path.startswith(scaffold.VERSIONS)]
    assert path == f"{scaffold.VERSIONS}/{int(newest) + 2:04d}_second.py"
    assert f'down_revision = "{int(newest) + 1:04d}"' in second.files[path]


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["Flickr"], "small letters"),
        (["1st"], "small letters"),
        (["a-b"], "small letters"),
        (["../x"], "small letters"),
        (["class"], "small letters"),
        (["a" * 31], "small letters"),
        (["instagram"], "there is a platform"),
        (["interface"], "there is a platform"),
        (["flickr", "--source", "graphapi"], "there is a source"),
        (["flickr", "--source", "Light Box"], "small letters"),
        (["flickr", "--title", "Photos"], "a title is"),
        (["flickr", "--title", "flickr"], "a title is"),
    ],
)
def test_a_name_that_cannot_be_one_is_met_with_a_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], why: str
) -> None:
    root = skeleton(tmp_path)
    before = inventory(root)
    if arguments == ["interface"]:
        (root / "beat_actors/platforms/interface.py").touch()
        before = inventory(root)
    assert invoke(["new-platform", *arguments, "--root", str(root)]) == 2
    assert why in capsys.readouterr().err
    assert inventory(root) == before


def test_nothing_is_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = skeleton(tmp_path)
    (root / "docs/platforms/flickr.md").write_text("mine")
    before = inventory(root)
    assert invoke(["new-platform", "flickr", "--root", str(root)]) == 2
    assert "docs/platforms/flickr.md" in capsys.readouterr().err
    assert inventory(root) == before


def test_what_cannot_be_written_whole_is_taken_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = skeleton(tmp_path)
    planned = scaffold.plan(root, "flickr")
    before, folders = inventory(root), folders_of(root)
    make, made = scaffold._make, []

    def full(path: Path, text: str, done: list[Path]) -> None:
        made.append(path)
        if len(made) == 5:
            raise OSError("the disk is full")
        make(path, text, done)

    monkeypatch.setattr(scaffold, "_make", full)
    with pytest.raises(OSError, match="the disk is full"):
        scaffold.write(planned)
    assert inventory(root) == before
    assert folders_of(root) == folders


def test_a_folder_that_is_no_checkout_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["new-platform", "flickr", "--root", str(tmp_path)]) == 2
    assert "no checkout of Beat" in capsys.readouterr().err
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "something-else"\n')
    with pytest.raises(BadInput, match="no checkout of Beat"):
        scaffold.plan(tmp_path, "flickr")
    assert list(tmp_path.iterdir()) == [tmp_path / "pyproject.toml"]


def test_it_says_what_it_wrote_and_what_comes_next(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = skeleton(tmp_path)
    assert invoke(["new-platform", "flickr", "--root", str(root)]) == 0
    said = capsys.readouterr().out
    assert all(
        (root / path).exists() and path in said for path in scaffold.plan(skeleton(tmp_path / "b"), "flickr").files
    )
    assert "beat scrape flickr creator_000042" in said
    assert 'flickr = "beat_actors.platforms.flickr:platform"' in said


@pytest.fixture(scope="module")
def plugin(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A platform as a distribution of its own, and a folder in which its wheel is unpacked."""
    parent = tmp_path_factory.mktemp("plugin")
    assert invoke(["new-platform", NAME, "--title", TITLE, "--source", SOURCE, "--plugin", "--root", str(parent)]) == 0
    root, site = parent / f"beat-{NAME}", parent / "site"
    subprocess.run([sys.executable, "-m", "hatchling", "build", "--target", "wheel"], cwd=root, check=True, timeout=100)
    (wheel,) = (root / "dist").glob("*.whl")
    with zipfile.ZipFile(wheel) as built:
        built.extractall(site)
    return root, site


def beside(site: Path, *command: str, cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
    """A command in an installation that has the plug-in beside Beat."""
    path = os.pathsep.join((str(site), str(ROOT)))
    kept = {name: value for name, value in os.environ.items() if not name.startswith("BEAT_")}
    return subprocess.run(
        [sys.executable, *command],
        cwd=cwd,
        env={**kept, "PYTHONPATH": path, **env},
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )


def test_the_commands_for_a_distribution_of_its_own_install_what_its_tests_import(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert invoke(["new-platform", NAME, "--plugin", "--root", str(tmp_path)]) == 0
    root = tmp_path / f"beat-{NAME}"
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    installed = {re.split(r"[^\w-]", each)[0] for each in project["optional-dependencies"]["test"]}
    imported = {
        module.partition(".")[0]
        for node in ast.walk(ast.parse((root / "tests/test_platform.py").read_text()))
        for module in (
            [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else []
        )
    }
    assert imported - sys.stdlib_module_names - {"beat_actors", f"beat_{NAME}"} == installed
    page = (ROOT / "docs/adding-a-platform.md").read_text()
    for text in (capsys.readouterr().out, (root / "README.md").read_text(), page):
        (line,) = (line for line in text.splitlines() if "pip install --editable" in line)
        assert "[test]'" in line


@pytest.mark.exhaustive
def test_s10_11_the_tests_of_a_platform_of_its_own_distribution_pass(plugin: tuple[Path, Path]) -> None:
    root, site = plugin
    done = beside(site, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(root / "tests"), cwd=root)
    assert done.returncode == 0, done.stdout[-3000:]
    assert "7 passed" in done.stdout


@pytest.mark.exhaustive
def test_beat_migrate_makes_the_tables_of_such_a_platform_and_doctor_misses_them_before(
    plugin: tuple[Path, Path], settings: Settings
) -> None:
    root, site = plugin
    assert settings.vault_keys is not None
    assert settings.message_keys is not None
    env = {
        "BEAT_DATABASE_URL": str(settings.database_url),
        "BEAT_DATABASE_OWNER_URL": settings.owner_url,
        "BEAT_REDIS_URL": str(settings.redis_url),
        "BEAT_VAULT_KEYS": settings.vault_keys.get_secret_value(),
        "BEAT_MESSAGE_KEYS": settings.message_keys.get_secret_value(),
    }
    main = "from beat_actors.cli import main; main()"
    doctor = beside(site, "-c", main, "doctor", cwd=root, **env)
    assert f"missing: {NAME}_account, {NAME}_post" in doctor.stdout
    for _ in range(2):  # nothing is done twice
        migrated = beside(site, "-c", main, "migrate", cwd=root, **env)
        assert migrated.returncode == 0, migrated.stderr
        assert migrated.stdout.strip() == f"the database is at revision {migrate.head()}, and has the tables of {NAME}"
    with psycopg.connect(str(settings.database_url)) as connection:
        assert connection.execute(f"SELECT count(*) FROM {NAME}_account").fetchone() == (0,)
    with psycopg.connect(settings.owner_url) as connection:
        found = connection.execute(
            f"SELECT (SELECT version_num FROM alembic_version_{NAME}), (SELECT version_num FROM alembic_version)"
        )
        assert found.fetchone() == ("0001", migrate.head())
    assert "missing" not in beside(site, "-c", main, "doctor", cwd=root, **env).stdout


def test_a_distribution_that_is_there_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / f"beat-{NAME}").mkdir()
    with pytest.raises(BadInput, match="there is already"):
        plan(tmp_path, NAME)
    with pytest.raises(BadInput, match="there is a platform 'instagram' already"):
        plan(tmp_path, "instagram")
