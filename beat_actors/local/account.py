"""Another user for servers that refuse to run as root: who that is, what they can reach, and how a command runs as them."""

import os
import pwd
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from beat_actors.local.errors import LocalError


@dataclass(frozen=True, slots=True)
class Account:
    """The numeric user and group that a service runs as."""

    uid: int
    gid: int


def unprivileged() -> Account | None:
    """Whom PostgreSQL runs as: it refuses root, and `initdb` wants somebody whom the system knows by name. `None`: as ourselves."""
    if os.geteuid() != 0:
        return None
    try:
        entry = pwd.getpwnam("nobody")
    except KeyError:
        others = [entry for entry in pwd.getpwall() if entry.pw_uid != 0]
        if not others:
            raise LocalError("PostgreSQL cannot run as root, and this system has no other user") from None
        entry = others[0]
    return Account(entry.pw_uid, entry.pw_gid)


def run_as(account: Account | None, argv: tuple[str, ...], *, cwd: Path) -> str:
    """Run a command to its end and return its output. Raises `LocalError` with what it said."""
    done = subprocess.run(  # noqa: S603
        argv,
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        user=account.uid if account else None,
        group=account.gid if account else None,
        extra_groups=[] if account else None,
    )
    if done.returncode:
        raise LocalError(f"{Path(argv[0]).name} failed: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def reachable(path: Path, account: Account) -> bool:
    """Whether `account` may pass every folder down to and including `path`."""
    return all(_may(folder, account, 0o1) for folder in (path, *path.parents))


def readable_tree(tree: Path, account: Account, place: Path, *, sample: str) -> Path:
    """`tree` itself when `account` can run `sample` in it, else a copy under `place`, made once."""
    resolved = tree.resolve()
    if reachable((resolved / sample).parent, account) and _may(resolved / sample, account, 0o5):
        return resolved
    copy = place / tree.name
    if not copy.exists():
        partial = Path(tempfile.mkdtemp(prefix=f".{tree.name}.", dir=place))
        shutil.copytree(resolved, partial, dirs_exist_ok=True, symlinks=True)
        for path in (partial, *partial.rglob("*")):
            if not path.is_symlink():
                path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)
        partial.replace(copy)
    return copy


def _may(path: Path, account: Account, bits: int) -> bool:
    status = path.stat()
    shift = 6 if status.st_uid == account.uid else 3 if status.st_gid == account.gid else 0
    return (status.st_mode >> shift) & bits == bits
