"""A new platform as a distribution of its own, for those who have Beat as a wheel and no checkout: from the same templates as in one.

`plan` decides and changes nothing; `scaffold.write_files` writes all of it or nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from beat_actors.cli import scaffold
from beat_actors.cli.scaffold import Percent
from beat_actors.errors import BadInput

PLUGIN = Path(__file__).parent / "templates" / "plugin"
SHARED = {
    "__init__.py": "beat_{name}/__init__.py",
    "entities.py": "beat_{name}/entities.py",
    "payloads.py": "beat_{name}/payloads.py",
    "sources.py": "beat_{name}/sources/__init__.py",
    "source.py": "beat_{name}/sources/{source}.py",
    "crawler.py": "beat_{name}/crawler.py",
    "flows.py": "beat_{name}/flows.py",
    "simulator.py": "beat_{name}/simulator.py",
    "migration.py": "beat_{name}/migrations/0001_tables.py",
    "profile.json": "tests/recorded/profile.json",
    "profile_without_id.json": "tests/recorded/profile_without_id.json",
    "posts.json": "tests/recorded/posts.json",
}
"""Where the templates go that a platform of a checkout has too."""
OWN = {
    "pyproject.toml": "pyproject.toml",
    "readme.md": "README.md",
    "migrations.py": "beat_{name}/migrations/__init__.py",
    "test_platform.py": "tests/test_platform.py",
}


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be written: each file's text by its path below `root`, which is a new folder."""

    root: Path
    name: str
    source: str
    files: Mapping[str, str]


def plan(parent: Path, name: str, *, title: str | None = None, source: str | None = None) -> Plan:
    """A folder `beat-NAME` in `parent`. Raises `BadInput` as `scaffold.plan` does, or where the folder is there already."""
    values = scaffold.values(name, title=title, source=source, taken=set())
    root = parent / f"beat-{name.replace('_', '-')}"
    if root.exists():
        raise BadInput(f"nothing was written, because there is already: {root}", field="name")
    values |= {"revision": "0001", "down_revision": ""}
    files = {}
    for templates, targets in ((scaffold.TEMPLATES, SHARED), (PLUGIN, OWN)):
        for template, target in targets.items():
            text = Percent((templates / f"{template}.tmpl").read_text("utf-8")).substitute(values)
            text = text.replace(f"beat_actors.platforms.{name}", f"beat_{name}").replace(
                'down_revision = ""', "down_revision = None"
            )
            files[target.format_map(values)] = text
    return Plan(root, name, values["source"], files)


def write(planned: Plan) -> bool:
    """All of it, or nothing where a file cannot be written. Returns whether ruff, where it is installed, could lay it out."""
    return scaffold.write_files(planned.root, planned.files)
