"""The packages that the image contains: those of `requirements.image.lock`, with what their installed metadata says of them."""

import re
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from importlib.metadata import PackageMetadata, metadata, requires
from pathlib import Path

from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
LOCK = ROOT / "requirements.image.lock"
ENTRY = re.compile(
    r"^(?P<requirement>[a-z0-9][^\\\n]*) \\\n(?P<hashes>(?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+)", re.MULTILINE
)
IMAGE: dict[str, str | AbstractSet[str]] = {
    **{name: str(value) for name, value in default_environment().items()},
    "implementation_name": "cpython",
    "platform_python_implementation": "CPython",
    "platform_system": "Linux",
    "python_full_version": "3.13.0",
    "python_version": "3.13",
    "sys_platform": "linux",
}
"""The markers' values in the image."""

ALLOWED = frozenset(
    {"0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "ISC", "MIT", "MIT-0", "MIT-CMU", "PSF-2.0",
     "LGPL-3.0-only", "LGPL-3.0-or-later"}
)  # fmt: skip
"""The SPDX identifiers of the licences that the image may contain."""
SPDX = {
    "3-Clause BSD License": "BSD-3-Clause",  # protobuf
    "Apache 2.0": "Apache-2.0",
    "Apache License 2.0": "Apache-2.0",
    "Apache Software License": "Apache-2.0",
    "Dual License": "Apache-2.0 OR BSD-3-Clause",  # python-dateutil
    "GNU Lesser General Public License v3 or later (LGPLv3+)": "LGPL-3.0-or-later",
    "MIT License": "MIT",
}
"""What packages say in words of their own."""

COMPILED = {"pi-heif": "LGPL-3.0-or-later"}  # libheif and libde265
"""The licences of libraries that a package's wheels contain, where its metadata gives only that of its own code."""


class SupplyError(Exception):
    """The lock, the environment and the terms do not agree; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Package:
    """`licence` is an SPDX expression; `source` the URL of its code, if its metadata names one; `hashes` the SHA-256 of its files."""

    name: str
    version: str
    licence: str
    summary: str
    source: str | None
    hashes: tuple[str, ...]
    needs: tuple[str, ...]
    """Names of other packages of the lock."""

    @property
    def copyleft(self) -> bool:
        return "LGPL" in self.licence


def packages(lock: Path = LOCK) -> list[Package]:
    """By name. Raises `SupplyError` where one is not installed in the locked version, or its licence is unknown or not allowed."""
    locked: dict[str, tuple[Requirement, tuple[str, ...]]] = {}
    for entry in ENTRY.finditer(lock.read_text()):
        requirement = Requirement(entry["requirement"])
        if requirement.marker is None or requirement.marker.evaluate(IMAGE):
            hashes = tuple(re.findall(r"sha256:([0-9a-f]{64})", entry["hashes"]))
            locked[canonicalize_name(requirement.name)] = (requirement, hashes)
    return [
        _package(name, requirement, hashes, locked.keys()) for name, (requirement, hashes) in sorted(locked.items())
    ]


def _package(name: str, requirement: Requirement, hashes: tuple[str, ...], known: AbstractSet[str]) -> Package:
    said = metadata(name)
    if not requirement.specifier.contains(said["Version"], prereleases=True):
        raise SupplyError(f"{name} {said['Version']} is installed, {requirement} is locked: run `make install`")
    needed = (Requirement(text) for text in requires(name) or ())
    applies = {
        canonicalize_name(need.name)
        for need in needed
        if need.marker is None or need.marker.evaluate({**IMAGE, "extra": ""})
    }
    return Package(
        name=name,
        version=said["Version"],
        licence=" AND ".join(filter(None, (_licence(said), COMPILED.get(name)))),
        summary=_field(said, "Summary") or "",
        source=_source(said),
        hashes=hashes,
        needs=tuple(sorted(applies & known)),
    )


def _licence(said: PackageMetadata) -> str:
    classifiers = [
        text.rpartition(" :: ")[2] for text in said.get_all("Classifier") or () if text.startswith("License :: ")
    ]
    words = _field(said, "License-Expression") or _field(said, "License") or " OR ".join(classifiers)
    licence = SPDX.get(words, words)
    names = set(re.split(r" (?:AND|OR) |[()]", licence)) - {""}
    if not names or not names <= ALLOWED:
        raise SupplyError(
            f"{said['Name']}: its licence is {words!r}. Read it; then add the words to SPDX or the licence to ALLOWED "
            "in supply/lock.py, or use another package"
        )
    return licence


def _source(said: PackageMetadata) -> str | None:
    named = dict(text.split(", ", 1) for text in said.get_all("Project-URL") or ())
    urls = {label.lower(): url for label, url in named.items()}
    return next(
        (urls[label] for label in ("source", "code", "repository", "homepage") if label in urls),
        _field(said, "Home-page"),
    )


def _field(said: PackageMetadata, name: str) -> str | None:
    return next(iter(said.get_all(name) or ()), None)
