"""`python -m supply.audit` asks pip-audit whether a vulnerability is known in a package that the image contains.

It fails for a known vulnerability. Where the data cannot be reached it prints `not audited: ...` and does not fail: that says nothing
about the packages.
"""

import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import msgspec

from supply.lock import LOCK

DEADLINE = 120.0
"""Seconds for all packages."""


def ask(command: Sequence[str], timeout: float = DEADLINE) -> tuple[int, str]:
    """The exit code, and what is printed. `command`: pip-audit with JSON as its output, or what stands for it."""
    try:
        asked = subprocess.run(command, capture_output=True, text=True, check=False, timeout=timeout)
        packages = msgspec.json.decode(asked.stdout, type=dict[str, Any])["dependencies"]
    except subprocess.TimeoutExpired:
        return 0, f"not audited: no answer within {timeout:g} s"
    except (msgspec.DecodeError, msgspec.ValidationError, KeyError):
        said = asked.stderr.strip().splitlines() or ["pip-audit said nothing"]
        return 0, f"not audited: {said[-1]}"
    known = [
        f"{one['name']} {one['version']}: {fault['id']}, fixed in {', '.join(fault['fix_versions']) or 'no version'}"
        for one in packages
        for fault in one.get("vulns", ())
    ]
    skipped = [one["skip_reason"] for one in packages if "skip_reason" in one]
    lines = list(known)
    if skipped:
        lines.append(f"not audited: {len(skipped)} of {len(packages)} packages, such as: {skipped[0]}")
    if not known and len(skipped) < len(packages):
        lines.append(f"no vulnerability is known in {len(packages) - len(skipped)} packages")
    return (1 if known else 0), "\n".join(lines)


def main() -> int:
    command = (sys.executable, "-m", "pip_audit", "--requirement", str(LOCK), "--no-deps", "--disable-pip")
    code, said = ask((*command, "--format", "json", "--progress-spinner", "off"))
    print(said)
    return code


if __name__ == "__main__":
    sys.exit(main())
