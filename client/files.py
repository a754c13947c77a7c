"""The build hook of `beat-client`: the modules of `beat_actors.client`, under the name of a package of their own.

So the two distributions can be installed side by side, and no file belongs to both.
"""

import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SOURCE, NAME = "beat_actors.client", "beat_client"


class Files(BuildHookInterface[Any]):
    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        del version
        package = Path(self.root).parent / SOURCE.replace(".", "/")
        self.made = tempfile.TemporaryDirectory()
        for path in sorted(package.glob("*.py")):
            made = Path(self.made.name) / path.name
            made.write_text(path.read_text("utf-8").replace(SOURCE, NAME), "utf-8")
            build_data["force_include"][str(made)] = f"{NAME}/{path.name}"
        typed = Path(self.made.name) / "py.typed"
        typed.touch()
        build_data["force_include"][str(typed)] = f"{NAME}/py.typed"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        del version, build_data, artifact_path
        self.made.cleanup()
