"""The build hook of `beat-actors-rehearsal`: its files are those that the production wheel excludes."""

import tomllib
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class Files(BuildHookInterface[Any]):
    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        del version
        root = Path(self.root).parent
        wheel = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
        for pattern in wheel["exclude"]:
            for path in root.glob(pattern.removeprefix("/")):
                build_data["force_include"][str(path)] = str(path.relative_to(root))
