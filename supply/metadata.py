"""The build hook that writes the wheel's README: an index page has no files beside it, so a relative link would be dead there.

`BEAT_PROJECT_URL`, where the release sets it, is the address below which the files of this version can be read: links lead there. Without it
the file is named and not linked.
"""

import os
import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

LINK = re.compile(r"(!?)\[([^\]]+)\]\((?!https?://|#)([^)]+)\)")


def absolute(text: str, base: str | None) -> str:
    """The text with each relative link as one below `base`, or as plain words where there is no base."""

    def replaced(found: re.Match[str]) -> str:
        picture, words, target = found.groups()
        if base is None:
            return "" if picture else words
        return f"{picture}[{words}]({base.rstrip('/')}/{target.removeprefix('./')})"

    return LINK.sub(replaced, text)


class Metadata(MetadataHookInterface):
    def update(self, metadata: dict[str, Any]) -> None:
        base = os.environ.get("BEAT_PROJECT_URL") or None
        text = (Path(self.root) / "README.md").read_text("utf-8")
        metadata["readme"] = {"content-type": "text/markdown", "text": absolute(text, base)}
        if base is not None:
            metadata["urls"] = {"Source": base, "Changelog": f"{base.rstrip('/')}/CHANGELOG.md"}
