"""Adding a platform changes nothing else: `python -m tests.platform_boundary` holds the history to it.

A platform's series begins with the commit that brings its folder, and goes on with the commits right behind it that touch anything of
its own. What such a commit may touch is said by `is_own` and `is_shared`. What the engine has to learn for a platform's sake goes into a
commit before the series, where it is read as what it is.
"""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

PLATFORMS = "beat_actors/platforms"
BEFORE_THE_RULE = frozenset({"instagram", "shopify", "youtube"})


class NoHistory(Exception):
    """There is no history to look at; the message says why."""


@dataclass(frozen=True, slots=True)
class Commit:
    """`paths` are those that it changes; a merge has none of its own."""

    id: str
    parents: tuple[str, ...]
    subject: str
    paths: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Offence:
    """What a commit of the platform's series touches although it is not the platform's."""

    platform: str
    commit: Commit
    paths: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.commit.id[:10]} {self.commit.subject}\n" + "\n".join(f"    {path}" for path in self.paths)


@dataclass(slots=True)
class Finding:
    """`checked`: the platforms whose series was looked at, with its length. `unknown`: those whose beginning is not in the history."""

    checked: dict[str, int] = field(default_factory=dict)
    unknown: list[str] = field(default_factory=list)
    offences: list[Offence] = field(default_factory=list)


def is_own(platform: str, path: str) -> bool:
    """The platform's folder, its tests and fixtures, its migrations, its page."""
    if path.startswith(f"{PLATFORMS}/{platform}/") or path == f"docs/platforms/{platform}.md":
        return True
    if path.startswith("beat_actors/database/migrations/versions/"):
        return re.fullmatch(rf"\d+_{platform}(_\w+)?\.py", Path(path).name) is not None
    if not path.startswith("tests/"):
        return False
    *folders, name = Path(path).parts
    return platform in folders or re.fullmatch(rf"(test_)?{platform}(_\w+)?\.py", name) is not None


def is_shared(path: str) -> bool:
    """What every platform has its line in; pyproject.toml is looked at by its lines."""
    return path == "CHANGELOG.md" or path.startswith("docs/")


def examine(root: Path) -> Finding:
    """Raises `NoHistory`."""
    git = _Git(root)
    commits, beyond = git.history()
    children: dict[str, list[Commit]] = {}
    for commit in commits.values():
        for parent in commit.parents:
            children.setdefault(parent, []).append(commit)
    finding = Finding()
    for platform in git.platforms():
        if platform in BEFORE_THE_RULE:
            continue
        series = [
            commit for first in _first(git, platform, commits, beyond) for commit in _series(platform, first, children)
        ]
        if not series:
            finding.unknown.append(platform)
            continue
        finding.checked[platform] = len(series)
        for commit in series:
            if paths := tuple(_elsewhere(git, platform, commit)):
                finding.offences.append(Offence(platform, commit, paths))
    return finding


def _first(git: "_Git", platform: str, commits: Mapping[str, Commit], beyond: frozenset[str]) -> Iterator[Commit]:
    """The commits that bring the platform's folder. Where the history begins, everything is new and nothing is said by it."""
    folder = f"{PLATFORMS}/{platform}/"
    for commit in commits.values():
        known = len(commit.parents) == 1 and commit.id not in beyond
        if known and any(path.startswith(folder) for path in commit.paths) and not git.has(commit.parents[0], folder):
            yield commit


def _series(platform: str, first: Commit, children: Mapping[str, Sequence[Commit]]) -> Iterator[Commit]:
    """The commit, and those behind it, each on top of the one before, as long as they touch what is the platform's."""
    waiting = [first]
    while waiting:
        commit = waiting.pop()
        yield commit
        waiting += [
            child
            for child in children.get(commit.id, ())
            if len(child.parents) == 1 and any(is_own(platform, path) for path in child.paths)
        ]


def _elsewhere(git: "_Git", platform: str, commit: Commit) -> Iterator[str]:
    for path in commit.paths:
        if path == "pyproject.toml":
            entry = f'+{platform} = "{PLATFORMS.replace("/", ".")}.{platform}:platform"'
            changed = git.changed_lines(commit, path)
            if changed != [entry]:
                yield f"{path}: more than the line {entry[1:]}"
        elif not is_own(platform, path) and not is_shared(path):
            yield path


class _Git:
    def __init__(self, root: Path) -> None:
        program = shutil.which("git")
        if program is None:
            raise NoHistory("there is no git on this machine")
        # A checkout that another user made is read all the same: nothing is run from it.
        self._command = (program, "-c", "safe.directory=*", "-c", "core.quotePath=false", "-C", str(root))
        # A source archive that lies in somebody else's repository is no checkout either.
        if self._ask("rev-parse", "--show-prefix", may_fail=True) != "\n" or not self._ask(
            "rev-list", "-1", "HEAD", may_fail=True
        ):
            raise NoHistory(f"{root} is not the top of a git checkout with a history")

    def history(self) -> tuple[dict[str, Commit], frozenset[str]]:
        """All commits by id, parents first; and those whose parents a shallow clone left behind."""
        said = self._ask(
            "log", "--topo-order", "--reverse", "--no-renames", "-z", "--name-only", "--format=%x01%H%x02%P%x02%s"
        )
        commits = {}
        for entry in said.split("\x01")[1:]:
            head, *paths = entry.split("\0")
            number, parents, subject = head.split("\x02")
            commits[number] = Commit(
                number, tuple(parents.split()), subject, tuple(p for p in (x.strip("\n") for x in paths) if p)
            )
        shallow = Path(self._ask("rev-parse", "--path-format=absolute", "--git-path", "shallow").strip())
        return commits, frozenset(shallow.read_text().split() if shallow.exists() else ())

    def platforms(self) -> list[str]:
        """Those of HEAD: each is a folder."""
        said = self._ask("ls-tree", "-d", "-z", "--name-only", f"HEAD:{PLATFORMS}", may_fail=True)
        return [name for name in said.split("\0") if name]

    def has(self, commit: str, path: str) -> bool:
        return bool(self._ask("ls-tree", "-z", commit, "--", path.rstrip("/")))

    def changed_lines(self, commit: Commit, path: str) -> list[str]:
        """The lines that it adds and removes, each with its sign."""
        said = self._ask("diff", "--unified=0", "--no-color", "--no-ext-diff", commit.parents[0], commit.id, "--", path)
        body = said.partition("\n@@")[2].splitlines()[1:]
        return [line for line in body if line[:1] in "+-"]

    def _ask(self, *arguments: str, may_fail: bool = False) -> str:
        done = subprocess.run([*self._command, *arguments], capture_output=True, text=True, check=False)
        if done.returncode and not may_fail:
            raise RuntimeError(f"git {arguments[0]}: {done.stderr.strip()}")
        return "" if done.returncode else done.stdout


def main(root: Path) -> int:
    try:
        finding = examine(root)
    except NoHistory as error:
        print(f"platform boundary: not checked, because {error}")
        return 0
    for platform in finding.unknown:
        print(f"platform boundary: {platform} not checked: the commit that brought it is not in this history")
    for platform, length in finding.checked.items():
        print(f"platform boundary: {platform} was added by {length} commits")
    for offence in finding.offences:
        print(f"{offence.platform}'s series touches what is not {offence.platform}'s: {offence}", file=sys.stderr)
    if finding.offences:
        print(
            "Put what the engine has to change into a commit before the platform's (docs/adding-a-platform.md).",
            file=sys.stderr,
        )
    return 1 if finding.offences else 0


if __name__ == "__main__":
    sys.exit(main(Path(__file__).parents[1]))
