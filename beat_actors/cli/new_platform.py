"""`beat new-platform`: the folder of a new platform, which passes the conformance suite as it is written."""

from pathlib import Path

from beat_actors.cli import scaffold
from beat_actors.cli.output import say, tell

NEXT = """
It works as it stands, on answers that are invented. To make it {name}'s own (docs/adding-a-platform.md says how):
  make test ARGS="tests/conformance tests/unit/platforms/{name}"   installs the entry point and runs the suite
  1. put recorded answers into tests/fixtures/{name}/{source}/, without names or secrets of people
  2. declare their shapes in payloads.py, and in sources/{source}.py the endpoints, limits and errors
  3. let simulator.py answer in the same shapes
  4. make run, then: `beat credentials add {source}` and `beat scrape {name} creator_000042`
  5. tell it in docs/platforms/{name}.md and CHANGELOG.md; python -m tests.scenarios lists its tests
Commit it alone: what has to change elsewhere goes into a commit before."""


def new_platform(name: str, /, *, title: str | None = None, source: str | None = None, root: Path = Path()) -> None:
    """Write a new platform into this checkout: folder, simulated provider, migration, recordings, test, page and entry point.

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
        The checkout; this folder if not given.
    """
    planned = scaffold.plan(root, name, title=title, source=source)
    laid_out = scaffold.write(planned)
    for path in planned.files:
        say(path)
    say(f"pyproject.toml: {planned.line}")
    if not laid_out:
        tell("ruff could not lay it out: run make format")
    say(NEXT.format(name=planned.name, source=planned.source))
