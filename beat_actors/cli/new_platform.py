"""`beat new-platform`: the folder of a new platform, which passes the conformance suite as it is written."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from beat_actors.cli import plugin as plugins
from beat_actors.cli import scaffold
from beat_actors.cli.output import say, tell

NEXT = """
It works now, with invented answers. To make it {name}'s own (docs/adding-a-platform.md says how):
  make test ARGS="tests/conformance tests/unit/platforms/{name}"   installs the entry point and runs the suite
  1. put recorded answers into tests/fixtures/{name}/{source}/, without names or secrets of people
  2. declare their shapes in payloads.py, and in sources/{source}.py the endpoints, limits and errors
  3. make simulator.py answer in the same shapes
  4. make run, then: `beat credentials add {source}` and `beat scrape {name} creator_000042`
  5. describe it in docs/platforms/{name}.md and CHANGELOG.md; python -m tests.scenarios lists its tests
Commit it alone: make changes to other files in an earlier commit."""


NEXT_PLUGIN = """
It works now, with invented answers. Beat finds it by its entry points once it is installed:
  pip install --editable '{root}[test]'
  python -m pytest {root}/tests
  `beat migrate`        makes its tables; then restart the running processes
  `beat credentials add {source}`, `beat scrape {name} creator_000042`
README.md says how to make it {name}'s own."""


def new_platform(
    name: str,
    /,
    *,
    title: str | None = None,
    source: str | None = None,
    root: Path = Path(),
    plugin: Annotated[bool, Parameter(negative="")] = False,
) -> None:
    """Write a new platform into this checkout: folder, simulated provider, migration, recordings, test, page and entry point. With --plugin, write it
    as a distribution of its own, which needs no checkout.

    It refuses to overwrite anything.

    Parameters
    ----------
    name
        As it is asked for, such as pinterest.
    title
        As people write it, such as TikTok; it begins the names of the classes.
    source
        Its first provider; the platform's name and api if not given.
    root
        The checkout, or with --plugin the folder in which the distribution's own folder is made; this folder if not given.
    plugin
        Make a distribution `beat-NAME`, with entry points for the platform, its simulated provider and its migrations.
    """
    if plugin:
        made = plugins.plan(root, name, title=title, source=source)
        laid_out = plugins.write(made)
        for path in made.files:
            say(str(made.root / path))
        if not laid_out:
            tell("the files are not formatted, because ruff is not installed or refused them; the code works as it is")
        say(NEXT_PLUGIN.format(root=made.root, name=made.name, source=made.source))
        return
    planned = scaffold.plan(root, name, title=title, source=source)
    laid_out = scaffold.write(planned)
    for path in planned.files:
        say(path)
    say(f"pyproject.toml: {planned.line}")
    if not laid_out:
        tell("ruff could not lay it out: run make format")
    say(NEXT.format(name=planned.name, source=planned.source))
