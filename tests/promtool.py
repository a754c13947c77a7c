"""promtool, of Debian's package `prometheus`: what it says of files. Tests that need it are skipped where it is not installed."""

import shutil
import subprocess
from pathlib import Path

import pytest

PROMTOOL = shutil.which("promtool")
needs_promtool = pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed (Debian's package prometheus)")


def promtool(*arguments: str, cwd: Path | None = None, stdin: str = "") -> str:
    """What it prints; fails the test where it finds a fault."""
    done = subprocess.run(
        [str(PROMTOOL), *arguments], cwd=cwd, input=stdin, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr
