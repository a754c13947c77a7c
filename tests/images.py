"""Images by digest: `python -m tests.images` refuses a release whose images may change under their tags.

docker-compose.yml and Dockerfile name each image in a variable of its own, by tag unless it is set. A release sets all of them.
"""

import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parents[1]
PINNED = re.compile(r"\S+@sha256:[0-9a-f]{64}")


def variables(compose: str) -> list[str]:
    """The variables that name images, in the order of the file."""
    found = re.findall(r"\b(?:image|BASE): \"?\$\{(BEAT_[A-Z0-9]+_IMAGE|BEAT_IMAGE):-", compose)
    return list(dict.fromkeys(found))


def unpinned(compose: str, environment: Mapping[str, str]) -> list[str]:
    """One line for each variable that is not an image by digest."""
    return [
        f"{name} is {environment.get(name) or 'not set'}; a release sets it to NAME@sha256:DIGEST"
        for name in variables(compose)
        if not PINNED.fullmatch(environment.get(name, ""))
    ]


if __name__ == "__main__":
    lines = unpinned((ROOT / "docker-compose.yml").read_text(), os.environ)
    print("\n".join(lines), file=sys.stderr)
    sys.exit(bool(lines))
