"""`python -m supply.schemas` writes the schemas of events to docs/schemas, as a release does; `--check` fails where consumers of the last release would break.

The files are those of the last release. `--check` compares them with the types of this tree, which may have more types and more optional fields. It
refuses a removed type, a field that was removed or renamed, a field of another type, with other values or other bounds, and a field that became
required or optional. Such a change is a new major version beside the one before (`beat_actors/events/catalog.py`).
"""

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from beat_actors.events.schemas import breaks, schemas
from supply.lock import ROOT

RELEASED = ROOT / "docs" / "schemas"
Schemas = Mapping[tuple[str, int], Mapping[str, Any]]
"""By the name of a type and its major version."""


def released(folder: Path = RELEASED) -> dict[tuple[str, int], dict[str, Any]]:
    """The schemas of the last release: the files `TYPE.MAJOR.json`."""
    found = {}
    for path in sorted(folder.glob("*.json")):
        name, _, major = path.stem.rpartition(".")
        found[name, int(major)] = json.loads(path.read_text())
    return found


def complaints(before: Schemas, now: Schemas) -> Iterator[str]:
    """What breaks consumers, in sentences."""
    for (name, major), old in before.items():
        if (name, major) not in now:
            yield f"{name}, version {major}, was removed"
        else:
            yield from (f"{name}, version {major}: {text}" for text in breaks(old, now[name, major]))


def write(now: Schemas, folder: Path = RELEASED) -> None:
    """The files of `released`."""
    folder.mkdir(exist_ok=True)
    for (name, major), made in now.items():
        (folder / f"{name}.{major}.json").write_text(json.dumps(made, indent=2, ensure_ascii=False) + "\n")


def main() -> int:
    now = schemas()
    found = list(complaints(released(), now))
    for text in found:
        print(text, file=sys.stderr)
    if found:
        print("consumers would break: send a new major version instead", file=sys.stderr)
        return 1
    if "--check" not in sys.argv:
        write(now)
    return 0


if __name__ == "__main__":
    sys.exit(main())
