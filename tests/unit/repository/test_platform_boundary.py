"""The check that adding a platform changes nothing else: it passes what it should, and can fail."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests import platform_boundary
from tests.platform_boundary import NoHistory, examine, is_own, main

ROOT = Path(__file__).parents[3]
ENTRY = 'vine = "beat_actors.platforms.vine:platform"\n'
PYPROJECT = '[project.entry-points."beat.platforms"]\ninstagram = "beat_actors.platforms.instagram:platform"\n'
ITS_OWN = {
    "beat_actors/platforms/vine/__init__.py": "",
    "beat_actors/platforms/vine/sources/vineapi.py": "",
    "beat_actors/database/migrations/versions/0009_vine.py": "",
    "tests/conformance/recordings/vine.py": "",
    "tests/fixtures/vine/vineapi/profile.json": "{}",
    "tests/unit/platforms/vine/test_vine.py": "",
    "tests/integration/simulator/test_vine_pages.py": "",
    "docs/platforms/vine.md": "",
    "docs/adding-a-platform.md": "",
    "CHANGELOG.md": "- Vine.",
    "pyproject.toml": PYPROJECT + ENTRY,
}

needs_git = pytest.mark.skipif(shutil.which("git") is None, reason="there is no git on this machine")


def git(root: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=Somebody", "-c", "user.email=somebody@example.com", "-c", "commit.gpgsign=false")
    done = subprocess.run(["git", "-C", root, *identity, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def put(root: Path, subject: str, files: dict[str, str]) -> None:
    """Write these files and commit them."""
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "-m", subject)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository with one platform of the time before the rule."""
    root = tmp_path / "repository"
    root.mkdir()
    git(root, "init", "--quiet", "--initial-branch=main")
    put(root, "Begin", {"beat_actors/engine.py": "1"})
    put(root, "Add Instagram", {"beat_actors/platforms/instagram/__init__.py": "", "pyproject.toml": PYPROJECT})
    return root


@needs_git
def test_s10_1_this_history_keeps_to_it() -> None:
    try:
        assert examine(ROOT).offences == []
    except NoHistory as error:
        pytest.skip(str(error))


@needs_git
def test_a_platform_that_brings_only_its_own_passes(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    put(repository, "Let the engine learn what Vine needs", {"beat_actors/engine.py": "2"})
    put(repository, "Add Vine", ITS_OWN)
    put(
        repository,
        "Read Vine's loops",
        {"beat_actors/platforms/vine/loops.py": "", "CHANGELOG.md": "- Vine, and loops."},
    )
    assert main(repository) == 0
    assert "vine was added by 2 commits" in capsys.readouterr().out


@needs_git
@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("beat_actors/engine.py", "2"),
        ("beat_actors/platforms/interface.py", ""),
        ("beat_actors/platforms/instagram/__init__.py", "1"),
        ("beat_actors/database/migrations/versions/0001_engine.py", ""),
        ("tests/conftest.py", ""),
        ("tests/fixtures/instagram/profile.json", "{}"),
        ("api/app.py", ""),
        ("Makefile", ""),
        ("pyproject.toml", PYPROJECT + ENTRY + "[tool.ruff]\n"),
        ("pyproject.toml", ENTRY),
    ],
)
def test_s10_8_a_platform_that_changes_anything_else_is_found(
    repository: Path, capsys: pytest.CaptureFixture[str], path: str, text: str
) -> None:
    put(repository, "Add Vine", {**ITS_OWN, path: text})
    assert main(repository) == 1
    told = capsys.readouterr().err
    assert path in told
    assert "Add Vine" in told
    assert told.count("\n    ") == 1


@needs_git
def test_the_whole_series_is_looked_at_and_what_comes_later_is_not(repository: Path) -> None:
    put(repository, "Add Vine", ITS_OWN)
    put(
        repository,
        "Test Vine, and change the engine",
        {"tests/unit/platforms/vine/test_vine.py": "1", "beat_actors/engine.py": "2"},
    )
    put(repository, "Go on with something else", {"beat_actors/engine.py": "3"})
    put(
        repository,
        "Change what all platforms have",
        {"beat_actors/platforms/vine/__init__.py": "1", "beat_actors/engine.py": "4"},
    )
    (offence,) = examine(repository).offences
    assert offence.commit.subject == "Test Vine, and change the engine"
    assert offence.paths == ("beat_actors/engine.py",)


@needs_git
def test_a_series_on_a_branch_is_found_after_its_merge(repository: Path) -> None:
    git(repository, "checkout", "--quiet", "-b", "vine")
    put(repository, "Add Vine", ITS_OWN)
    put(
        repository,
        "Mend Vine and the engine",
        {"beat_actors/platforms/vine/loops.py": "", "beat_actors/engine.py": "2"},
    )
    git(repository, "checkout", "--quiet", "main")
    put(repository, "Go on meanwhile", {"README.md": "1"})
    git(repository, "merge", "--quiet", "--no-ff", "-m", "Merge Vine", "vine")
    (offence,) = examine(repository).offences
    assert (offence.platform, offence.commit.subject) == ("vine", "Mend Vine and the engine")


@needs_git
def test_a_platform_from_before_the_rule_is_exempt_by_its_name(repository: Path) -> None:
    assert examine(repository).checked == {}
    assert {"instagram", "shopify", "youtube"} == platform_boundary.BEFORE_THE_RULE


@needs_git
def test_a_shallow_clone_says_that_it_cannot_know(
    repository: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    put(repository, "Add Vine and change the engine", {**ITS_OWN, "beat_actors/engine.py": "2"})
    put(repository, "Go on", {"README.md": "1"})
    for depth in ("1", "2"):
        clone = tmp_path / f"depth-{depth}"
        git(tmp_path, "clone", "--quiet", "--depth", depth, f"file://{repository}", str(clone))
        assert main(clone) == 0
        assert "vine not checked" in capsys.readouterr().out
    whole = tmp_path / "whole"
    git(tmp_path, "clone", "--quiet", f"file://{repository}", str(whole))
    assert main(whole) == 1


@needs_git
def test_outside_of_a_checkout_it_says_so_and_passes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(tmp_path) == 0
    assert "not checked, because" in capsys.readouterr().out
    git(tmp_path, "init", "--quiet")  # no commit yet
    assert main(tmp_path) == 0
    assert "not checked, because" in capsys.readouterr().out


@needs_git
def test_a_source_archive_inside_of_another_repository_is_no_checkout(repository: Path) -> None:
    inside = repository / "vendor/beat"
    inside.mkdir(parents=True)
    with pytest.raises(NoHistory):
        examine(inside)


def test_without_git_it_says_so_and_passes(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(shutil, "which", lambda _name: None)
    assert main(ROOT) == 0
    assert "there is no git" in capsys.readouterr().out


@pytest.mark.parametrize(
    "path",
    [
        "tests/unit/platforms/vines/test_vines.py",
        "tests/conformance/recordings/vinegar.py",
        "beat_actors/platforms/vinegar/__init__.py",
        "beat_actors/database/migrations/versions/0009_vinegar.py",
        "beat_actors/vine/__init__.py",
        "docs/platforms/vines.md",
        "tests/worlds.py",
    ],
)
def test_a_neighbour_with_a_similar_name_is_not_its_own(path: str) -> None:
    assert not is_own("vine", path)
    assert all(
        is_own("vine", own)
        for own in ITS_OWN
        if own not in ("CHANGELOG.md", "pyproject.toml", "docs/adding-a-platform.md")
    )
