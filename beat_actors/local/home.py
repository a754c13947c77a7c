"""The data root: one folder that holds all that a local stack keeps, and the lock that lets one supervisor use it.

.beat/lock       held by the supervisor (and by its guard, until the last child is gone)
.beat/env        BEAT_* variables of the running stack, for commands in another terminal
.beat/vault.key  the key ring of the credential vault; without it the stored credentials are lost
.beat/message.key  the key ring that signs messages; a new one makes those that wait unusable, and the scheduler sends them again
.beat/providers  whether its data is of real or of simulated providers
.beat/api.key    the API key of the tools on this machine
.beat/*.json     passwords and ports
.beat/log/       a file a service
.beat/elsewhere  where the servers' data lies, when they may not reach this folder
"""

import base64
import contextlib
import fcntl
import json
import os
import random
import secrets
import shlex
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal

from beat_actors.local.account import Account, reachable
from beat_actors.local.errors import LocalError

LOCK_TIMEOUT = 25.0
"""Seconds to wait for the children of a supervisor that was killed."""
PORTS = range(15_000, 32_000)
"""Below the range from which systems take the ports of outgoing connections."""


class Home:
    """An opened data root. `lock` before writing to it."""

    def __init__(self, path: Path) -> None:
        """Create the folder when needed. Raises `LocalError` when it cannot be used."""
        self.path = path.absolute()
        self.lock_fd: int | None = None
        self._claims: dict[int, socket.socket] = {}
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            foreign = not (self.path / "lock").exists() and any(self.path.iterdir())
            if foreign:
                raise LocalError(
                    f"{self.path} holds other files; choose an empty folder, or a new one, as the data root"
                )
            # As root, the servers run as somebody else who must pass through; every file in it is private anyway.
            self.path.chmod(0o711 if os.geteuid() == 0 else 0o700)
            (self.path / "lock").touch(mode=0o600)
        except OSError as error:
            raise LocalError(f"The data root {self.path} cannot be used: {error.strerror}") from None

    @property
    def logs(self) -> Path:
        return self.path / "log"

    def lock(self, *, timeout: float = LOCK_TIMEOUT) -> int:
        """Take the data root for this process, once; the descriptor that holds the lock is returned.

        Raises `LocalError`, naming the holder, when another supervisor has it. One that was killed is waited for while its children end.
        """
        if self.lock_fd is not None:
            return self.lock_fd
        descriptor = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        deadline = time.monotonic() + timeout
        while not _flock(descriptor):
            holder = os.pread(descriptor, 32, 0).decode(errors="replace").strip() or "unknown"
            if _alive(holder):
                os.close(descriptor)
                raise LocalError(
                    f"The data root {self.path} is in use by process {holder}. Stop that one, or choose another data root"
                )
            if time.monotonic() > deadline:
                os.close(descriptor)
                raise LocalError(
                    f"The data root {self.path} belonged to process {holder}, which is dead, but what it had started still runs"
                )
            time.sleep(0.1)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        self.lock_fd = descriptor
        return descriptor

    def unlock(self) -> None:
        if self.lock_fd is not None:
            os.close(self.lock_fd)
            self.lock_fd = None
        for claim in self._claims.values():
            claim.close()
        self._claims.clear()

    def of_providers(self, kind: Literal["real", "simulated"], *, data_exists: bool) -> None:
        """Settle, once, whose data this root holds. Raises `LocalError` where it is the other kind's: keys and data of real and of
        simulated providers never meet."""
        known = (self.read("providers") or ("simulated" if data_exists else kind)).strip()
        if known != kind:
            raise LocalError(
                f"{self.path} holds data of {known} providers, which {kind} ones must not mix with: choose another data root, such as "
                f"--root {self.path.with_name(f'{self.path.name}-{kind}')}"
            )
        self.write("providers", f"{kind}\n")

    def write(self, name: str, text: str) -> None:
        """Replace a private file, all or nothing."""
        descriptor, temporary = tempfile.mkstemp(prefix=f".{name}.", dir=self.path)
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(self.path / name)

    def read(self, name: str) -> str | None:
        path = self.path / name
        return path.read_text() if path.exists() else None

    def secret(self, name: str, *, data_exists: bool = False) -> str:
        """The password called `name`, made on first use. Raises `LocalError` when it is lost while its data is not."""
        known: dict[str, str] = json.loads(self.read("secrets.json") or "{}")
        if name not in known:
            self._refuse_new(f"the password of {name} in secrets.json", data_exists)
            known[name] = secrets.token_urlsafe(32)
            self.write("secrets.json", json.dumps(known))
        return known[name]

    def vault_keys(self, *, data_exists: bool) -> str:
        """The vault's key ring as BEAT_VAULT_KEYS wants it, made on first use."""
        return self._keys("vault.key", data_exists)

    def message_keys(self) -> str:
        """The key ring that signs messages as BEAT_MESSAGE_KEYS wants it, made on first use."""
        return self._keys("message.key", data_exists=False)

    def _keys(self, name: str, data_exists: bool) -> str:
        ring = self.read(name)
        if ring is None:
            self._refuse_new(name, data_exists)
            ring = f"local:{base64.b64encode(secrets.token_bytes(32)).decode()}"
            self.write(name, ring)
        return ring.strip()

    def port(self, name: str, *, prefer: int | None = None) -> int:
        """A free port on the loopback: the one of last time, the preferred one, or a random one."""
        known: dict[str, int] = json.loads(self.read("ports.json") or "{}")
        others = {port for other, port in known.items() if other != name}
        wished = [port for port in (known.get(name), prefer) if port]
        known[name] = next(
            port
            for port in (*wished, *random.SystemRandom().sample(PORTS, 200))
            if port not in others and self._claim(port)
        )
        self.write("ports.json", json.dumps(known))
        return known[name]

    def _claim(self, port: int) -> bool:
        """Whether the port is free, and from now on this root's. Between the choice and the server's start another stack could
        choose it too, and with SO_REUSEPORT both servers would start; a name that the kernel forgets with us prevents that."""
        if port in self._claims:
            return True
        if not _port_is_free(port):
            return False
        claim = socket.socket(socket.AF_UNIX)
        try:
            if sys.platform == "linux":
                claim.bind(f"\0beat-port-{port}")
        except OSError:
            claim.close()
            return False
        self._claims[port] = claim
        return True

    def place_for(self, account: Account | None) -> Path:
        """A folder for servers' data that `account` can reach: the data root, or one in /var/tmp that `elsewhere` remembers."""
        if account is None or reachable(self.path, account):
            return self.path
        recorded = self.read("elsewhere")
        if recorded:
            place = Path(recorded.strip())
            if not place.is_dir() or place.is_symlink() or place.stat().st_uid != os.geteuid():
                raise LocalError(
                    f"The servers' data was in {place}, as {self.path / 'elsewhere'} says, and is not there any more"
                )
            return place
        place = Path(tempfile.mkdtemp(prefix="beat-", dir="/var/tmp"))
        place.chmod(0o711)
        self.write("elsewhere", f"{place}\n")
        return place

    def write_env(self, env: Mapping[str, str]) -> None:
        """Leave the variables for other terminals, in a form that a shell can source too."""
        self.write("env", "".join(f"{name}={shlex.quote(value)}\n" for name, value in env.items()))

    def erase(self) -> None:
        """Remove the data root and what it keeps elsewhere, for good. Raises `LocalError` when it is in use."""
        self.lock()
        recorded = self.read("elsewhere")
        for place in (Path(recorded.strip()) if recorded else None, self.path):
            if place:
                shutil.rmtree(place, ignore_errors=True)
        self.unlock()

    def _refuse_new(self, what: str, data_exists: bool) -> None:
        if data_exists:
            raise LocalError(
                f"{self.path} holds data, but {what} is missing: put it back, or remove the data root to start from nothing"
            )


@contextlib.contextmanager
def temporary_home(parent: Path | None = None) -> Iterator[Home]:
    """A locked data root in `parent`, or where temporary files are, for the length of a `with` block; for tests."""
    home = Home(Path(tempfile.mkdtemp(prefix="beat-", dir=parent)))
    home.lock()
    try:
        yield home
    finally:
        home.erase()


def running_env(root: Path) -> dict[str, str] | None:
    """The BEAT_* variables of the stack that runs over `root`; `None` when none does."""
    with contextlib.suppress(OSError):
        descriptor = os.open(root / "lock", os.O_RDWR | os.O_CLOEXEC)
        try:
            if not _flock(descriptor):
                lines = (root / "env").read_text().splitlines()
                return dict(shlex.split(line)[0].split("=", 1) for line in lines)
        finally:
            os.close(descriptor)
    return None


def _flock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _alive(pid: str) -> bool:
    try:
        os.kill(int(pid), 0)
    except (ValueError, ProcessLookupError):
        return False
    except PermissionError:
        return True
    return True


def _port_is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
