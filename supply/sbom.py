"""`python -m supply.sbom [FILE]` writes the bill of materials of the image (CycloneDX 1.6, JSON), from the lock and without a network."""

import sys
import tomllib
from pathlib import Path

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model import HashAlgorithm, HashType
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL

from supply.lock import ROOT, Package, SupplyError, packages

FILE = ROOT / "dist/beat-actors.cdx.json"


def bom(found: list[Package]) -> str:
    """The document. A release has several files, and the lock takes any of them, so all their hashes are given."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    licences = LicenseFactory()
    root = Component(
        name=project["name"],
        version=project["version"],
        type=ComponentType.APPLICATION,
        bom_ref=project["name"],
        purl=PackageURL("pypi", name=project["name"], version=project["version"]),
        licenses=[licences.make_from_string(project["license"])],
    )
    parts = {
        one.name: Component(
            name=one.name,
            version=one.version,
            description=one.summary,
            bom_ref=one.name,
            purl=PackageURL("pypi", name=one.name, version=one.version),
            licenses=[licences.make_from_string(one.licence)],
            hashes=[HashType(alg=HashAlgorithm.SHA_256, content=digest) for digest in one.hashes],
        )
        for one in found
    }
    made = Bom(components=parts.values())
    made.metadata.component = root
    needed = {name for one in found for name in one.needs}
    made.register_dependency(root, [part for name, part in parts.items() if name not in needed])
    for one in found:
        made.register_dependency(parts[one.name], [parts[name] for name in one.needs])
    return JsonV1Dot6(made).output_as_string(indent=1)


def main() -> int:
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else FILE
    try:
        text = bom(packages())
    except SupplyError as error:
        print(error, file=sys.stderr)
        return 1
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text + "\n")
    print(target)
    return 0


if __name__ == "__main__":
    sys.exit(main())
