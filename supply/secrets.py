"""`python -m supply.secrets [FILE ...]` looks for secrets in the files that git would commit, or in those that are named.

It knows the forms of Beat's own secrets, of its providers' and of those that usually leak. It reads files only, never a network. A line
of a test that needs something of the form carries the mark `not a secret`.
"""

import base64
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from beat_actors.access import tokens

ROOT = Path(__file__).parents[1]
MARK = "not a secret"
FORMS = {
    "API key of Beat": tokens.FORM,
    "key ring of Beat": re.compile(r"\b[A-Za-z0-9._-]{1,64}:(?P<key>[A-Za-z0-9+/]{43}=)(?![A-Za-z0-9+/=])"),
    "access token of Meta": re.compile(r"\b(?:EAA|IGQ|IGAA)[A-Za-z0-9_-]{60,}"),
    "API key of RapidAPI": re.compile(r"\b[0-9a-f]{10}msh[0-9a-f]{15}p[0-9a-f]{6}jsn[0-9a-f]{12}\b"),
    "API key of Google": re.compile(r"\bAIza[0-9A-Za-z_-]{35}\b"),
    "OAuth secret of Google": re.compile(r"\bGOCSPX-[0-9A-Za-z_-]{28}\b"),
    "OAuth token of Google": re.compile(r"\b(?:ya29\.|1//0)[0-9A-Za-z_-]{40,}"),
    "token of Shopify": re.compile(r"\bshp(?:at|ca|pa|ss|tka)_[0-9a-fA-F]{32}\b"),
    "access key of AWS": re.compile(r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"),
    "token of GitHub": re.compile(r"\b(?:gh[pousr]_[0-9A-Za-z]{36}|github_pat_[0-9A-Za-z_]{60,})"),
    "token of GitLab": re.compile(r"\bglpat-[0-9A-Za-z_-]{20}\b"),
    "token of a package registry": re.compile(r"\b(?:pypi-AgE[0-9A-Za-z_-]{50,}|npm_[0-9A-Za-z]{36})\b"),
    "token of Slack": re.compile(r"\bxox[abeoprs]-[0-9A-Za-z-]{20,}"),
    "key of Stripe": re.compile(r"\b[rs]k_live_[0-9A-Za-z]{20,}"),
    "JSON web token": re.compile(r"\beyJ[0-9A-Za-z_-]{16,}\.eyJ[0-9A-Za-z_-]{16,}\.[0-9A-Za-z_-]{16,}"),
    "private key": re.compile(r"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----"),
}


def found(text: str) -> Iterator[tuple[int, str]]:
    """The line numbers (from 1) at which something has the form of a secret, and which."""
    for number, line in enumerate(text.splitlines(), 1):
        if MARK in line:
            continue
        for what, form in FORMS.items():
            if any(_is_one(what, match) for match in form.finditer(line)):
                yield number, what


def _is_one(what: str, match: re.Match[str]) -> bool:
    """Whether it is more than of the form: a good checksum, or bytes that somebody drew."""
    if what == "API key of Beat":
        return tokens.parse(match[0]) is not None
    if what == "key ring of Beat":
        key = base64.b64decode(match["key"])
        return len(set(key)) > 16 and sorted(key) != list(key)
    return True


def committed() -> list[Path]:
    """What git tracks or would add."""
    listed = subprocess.run(
        ("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return [path for name in listed.stdout.split("\0") if name and (path := ROOT / name).is_file()]


def look(paths: Iterable[Path]) -> list[str]:
    """One sentence for each find, without the secret itself."""
    return [
        f"{path}:{number}: {what}"
        for path in paths
        for number, what in found(path.read_text(encoding="utf-8", errors="replace"))
    ]


def main() -> int:
    finds = look([Path(name) for name in sys.argv[1:]] or committed())
    for find in finds:
        print(find, file=sys.stderr)
    if finds:
        print(
            f"Revoke what is real, also if it was never pushed. Mark a line of a test with `{MARK}`.",
            file=sys.stderr,
        )
    return 1 if finds else 0


if __name__ == "__main__":
    sys.exit(main())
