"""What a new platform begins as: a platform that works against its own simulated provider, from the templates beside this module.

It writes into a checkout of Beat and into nothing else. `plan` decides and changes nothing; `write` writes all of it or nothing.
"""

import importlib.util
import keyword
import re
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from string import Template

from alembic.script import ScriptDirectory
from alembic.util import CommandError

from beat_actors.errors import BadInput
from beat_actors.platforms.registry import GROUP, platforms

TEMPLATES = Path(__file__).parent / "templates" / "platform"
DISTRIBUTION = "beat-actors"
VERSIONS = "beat_actors/database/migrations/versions"
NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
LONGEST = 30
SECTION = f'[project.entry-points."{GROUP}"]'

FILES = {
    "__init__.py": "beat_actors/platforms/{name}/__init__.py",
    "entities.py": "beat_actors/platforms/{name}/entities.py",
    "payloads.py": "beat_actors/platforms/{name}/payloads.py",
    "sources.py": "beat_actors/platforms/{name}/sources/__init__.py",
    "source.py": "beat_actors/platforms/{name}/sources/{source}.py",
    "crawler.py": "beat_actors/platforms/{name}/crawler.py",
    "flows.py": "beat_actors/platforms/{name}/flows.py",
    "simulator.py": "beat_actors/platforms/{name}/simulator.py",
    "migration.py": f"{VERSIONS}/{{revision}}_{{name}}.py",
    "recordings.py": "tests/conformance/recordings/{name}.py",
    "index.md": "tests/fixtures/{name}/INDEX.md",
    "unused.md": "tests/fixtures/{name}/UNUSED.md",
    "profile.json": "tests/fixtures/{name}/{source}/profile.json",
    "profile_without_id.json": "tests/fixtures/{name}/{source}/profile_without_id.json",
    "posts.json": "tests/fixtures/{name}/{source}/posts.json",
    "error_429.json": "tests/fixtures/{name}/{source}/errors/error_429_too_many_requests.json",
    "error_429.meta.json": "tests/fixtures/{name}/{source}/errors/error_429_too_many_requests.meta.json",
    "test_platform.py": "tests/unit/platforms/{name}/test_platform.py",
    "docs.md": "docs/platforms/{name}.md",
}
"""Where each template goes."""


class Percent(Template):
    """`%{name}`: a dollar sign begins the path of a key, which the templates are full of."""

    delimiter = "%"


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be written: each file's text by its path, and the whole of pyproject.toml with its new `line`."""

    root: Path
    name: str
    source: str
    files: Mapping[str, str]
    pyproject: str
    line: str


def plan(root: Path, name: str, *, title: str | None = None, source: str | None = None) -> Plan:
    """Raises `BadInput` for a name that cannot be one, a folder that is no checkout, or anything that is there already.

    `title` is the name as people write it, for prose and classes (TikTok); `source` names its first provider.
    """
    pyproject = _pyproject(root)
    named = values(name, title=title, source=source, taken=_modules(root))
    source = named["source"]
    named["down_revision"], named["revision"] = _revisions(root)
    files = {
        target.format_map(named): Percent((TEMPLATES / f"{template}.tmpl").read_text("utf-8")).substitute(named)
        for template, target in FILES.items()
    }
    there = [path for path in files if (root / path).exists()]
    if there:
        raise BadInput(f"nothing was written, because there is already: {', '.join(there)}", field="name")
    line = f'{name} = "beat_actors.platforms.{name}:platform"'
    return Plan(root, name, source, files, _with_line(pyproject, line), line)


def values(name: str, *, title: str | None, source: str | None, taken: set[str]) -> dict[str, str]:
    """What the templates are filled with, but for the revisions. Raises `BadInput` for a name that cannot be one, or is `taken`."""
    _check(name, "platform", taken={*platforms(), *taken})
    source = source or f"{name}api"
    _check(source, "source", taken={known for platform in platforms().values() for known in platform.sources})
    title = title or _camel(name)
    if not title.isidentifier() or title.lower() != name.replace("_", "") or not title[0].isupper():
        raise BadInput(f"a title is the platform's name with capitals, such as {_camel(name)}", field="title")
    source_class = f"{title}Api" if source == f"{name}api" else _camel(source)
    return {"name": name, "title": title, "source": source, "source_class": source_class}


def write_files(root: Path, files: Mapping[str, str]) -> bool:
    """All of them, in a new folder, or nothing where one cannot be written. Returns whether ruff could lay them out."""
    made: list[Path] = []
    try:
        for path, text in files.items():
            _make(root / path, text, made)
    except OSError:
        for thing in reversed(made):
            with suppress(OSError):
                thing.rmdir() if thing.is_dir() else thing.unlink()
        raise
    return _laid_out(root, [path for path in files if path.endswith(".py")])


def write(planned: Plan) -> bool:
    """All of it, or nothing where a file cannot be written. Returns whether ruff, which the checkout brings, could lay it out."""
    made: list[Path] = []
    try:
        for path, text in planned.files.items():
            _make(planned.root / path, text, made)
        _make(planned.root / "pyproject.toml.new", planned.pyproject, made)
        (planned.root / "pyproject.toml.new").replace(planned.root / "pyproject.toml")
    except OSError:
        for thing in reversed(made):
            with suppress(OSError):
                thing.rmdir() if thing.is_dir() else thing.unlink()
        raise
    # Where an import stands and where a line breaks depends on how long the name is and where it comes in the alphabet.
    return _laid_out(planned.root, [path for path in planned.files if path.endswith(".py")])


def _make(path: Path, text: str, made: list[Path]) -> None:
    """Whatever is made, a folder too, is noted in `made`, so that it can be taken back."""
    for folder in reversed([parent for parent in path.parents if not parent.exists()]):
        folder.mkdir()
        made.append(folder)
    with path.open("x", encoding="utf-8") as file:
        made.append(path)
        file.write(text)


def _laid_out(root: Path, paths: list[str]) -> bool:
    if importlib.util.find_spec("ruff") is None:
        return False
    for how in (("check", "--select", "I", "--fix-only"), ("format",)):
        command = [sys.executable, "-m", "ruff", *how, "--quiet", "--no-cache", *paths]
        if subprocess.run(command, cwd=root, check=False).returncode:  # noqa: S603 - its only names were checked by NAME
            return False
    return True


def _pyproject(root: Path) -> str:
    path = root / "pyproject.toml"
    try:
        text = path.read_text("utf-8")
        named = tomllib.loads(text).get("project", {}).get("name")
    except (OSError, tomllib.TOMLDecodeError):
        named = None
    if named != DISTRIBUTION:
        raise BadInput(
            f"{root.resolve()} is no checkout of Beat; go to one, or name it with --root. A platform of a "
            "distribution of its own needs none: --plugin",
            field="root",
        )
    return text


def _check(name: str, what: str, *, taken: set[str]) -> None:
    if not NAME.fullmatch(name) or len(name) > LONGEST or keyword.iskeyword(name):
        raise BadInput(
            f"a {what} is named in small letters and digits, such as pinterest, not {name[:80]!r}; it becomes a module",
            field=what,
        )
    if name in taken:
        raise BadInput(f"there is a {what} {name!r} already, or a module of that name", field=what)


def _modules(root: Path) -> set[str]:
    return {path.stem for path in (root / "beat_actors/platforms").iterdir()}


def _camel(name: str) -> str:
    return "".join(part.capitalize() for part in name.split("_"))


def _revisions(root: Path) -> tuple[str, str]:
    """The newest migration, and the number of the next."""
    try:
        head = ScriptDirectory(str((root / VERSIONS).parent)).get_current_head()
    except CommandError as error:
        raise BadInput(f"the migrations have no one end to go on from: {error}", field="root") from None
    numbers = [int(found[1]) for path in (root / VERSIONS).glob("*.py") if (found := re.match(r"(\d+)_", path.name))]
    return head or "", f"{max(numbers, default=0) + 1:04d}"


def _with_line(pyproject: str, line: str) -> str:
    """`line` among the platforms' entry points, by the alphabet."""
    before, section, after = pyproject.partition(f"{SECTION}\n")
    if not section:
        raise BadInput(f"pyproject.toml has no {SECTION}", field="root")
    table, gap, rest = after.partition("\n\n")
    lines = table.splitlines()
    place = next((i for i, other in enumerate(lines) if other > line), len(lines))
    listed = "\n".join((*lines[:place], line, *lines[place:]))
    return f"{before}{section}{listed}{gap}{rest}"
