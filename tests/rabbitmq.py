"""RabbitMQ from Debian's package: one node of its own, or a cluster. A node may be killed and started again, and keeps what it stored."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from beat_actors.events.sink import Place
from beat_actors.local.account import Account, unprivileged
from beat_actors.local.home import Home
from tests.certificates import certificate

GREETING = b"AMQP\x00\x00\x09\x01"
MOST_MEMORY = "1GB"
STARTED = 120.0
"""Seconds that a node may take until it takes connections."""


@dataclass
class RabbitMQ:
    """`binary`: the package's script `rabbitmq-server`, not its wrapper, which becomes another user."""

    binary: Path
    folder: Path
    account: Account | None
    port: int
    secure_port: int
    certificate: Path
    node: str
    password: str = field(repr=False)
    env: Mapping[str, str] = field(repr=False)
    joined: bool = False
    """The node uses the `epmd` of the one that it has joined."""
    _epmd: subprocess.Popen[bytes] | None = None
    _server: subprocess.Popen[bytes] | None = None

    @classmethod
    def at(cls, home: Home, binary: Path, name: str = "rabbitmq", *, joins: "RabbitMQ | None" = None) -> "RabbitMQ":
        """`joins`: a node that already runs when this one is started for the first time, and whose cluster this one joins."""
        account = unprivileged()
        folder = home.place_for(account) / name
        folder.mkdir()
        port, secure_port, distribution = (home.port(f"{name}-{of}") for of in ("amqp", "amqps", "distribution"))
        epmd = int(joins.env["ERL_EPMD_PORT"]) if joins else home.port("rabbitmq-epmd")
        pem = certificate(folder / "certificate.pem")
        password = home.secret("rabbitmq")
        cookie = folder / ".erlang.cookie"
        cookie.write_text(home.secret("rabbitmq-cookie"))
        (folder / "plugins").write_text("[].\n")
        (folder / "env.conf").write_text("")
        (folder / "rabbitmq.conf").write_text(
            f"listeners.tcp.1 = 127.0.0.1:{port}\nlisteners.ssl.1 = 127.0.0.1:{secure_port}\n"
            f"ssl_options.certfile = {pem}\nssl_options.keyfile = {pem}\ndefault_user = beat\ndefault_pass = {password}\n"
            f"disk_free_limit.absolute = 1MB\nvm_memory_high_watermark.absolute = {MOST_MEMORY}\n"
            "log.file.level = warning\n"
            + (f"cluster_formation.classic_config.nodes.1 = {joins.node}\n" if joins else "")
        )
        cookie.chmod(0o400)
        if account:
            for path in (folder, *folder.iterdir()):
                os.chown(path, account.uid, account.gid)
        node = f"beat-{port}@localhost"
        # Idle schedulers do not spin: other tests share the machine.
        erlang = "+S 2:2 +sbwt none +sbwtdcpu none +sbwtdio none -kernel inet_dist_use_interface {127,0,0,1}"
        env = {
            "PATH": os.environ["PATH"],
            "LANG": "C.UTF-8",
            "HOME": str(folder),
            "ERL_EPMD_PORT": str(epmd),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": node,
            "RABBITMQ_DIST_PORT": str(distribution),
            "RABBITMQ_CONF_ENV_FILE": str(folder / "env.conf"),
            "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq.conf"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
            "RABBITMQ_MNESIA_BASE": str(folder / "data"),
            "RABBITMQ_LOG_BASE": str(folder / "log"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": erlang,
        }
        return cls(binary, folder, account, port, secure_port, pem, node, password, env, joined=joins is not None)

    def url(self, *, user: str = "beat", password: str | None = None, vhost: str = "") -> str:
        return f"amqp://{user}:{password or self.password}@127.0.0.1:{self.port}/{vhost}"

    def place(self, *, user: str = "beat", password: str | None = None, vhost: str = "", **options: str) -> Place:
        return Place("bus", self.url(user=user, password=password, vhost=vhost), options=options)

    def secure_place(self, **options: str) -> Place:
        """Over TLS. The certificate signs itself, so it is its own authority."""
        url = f"amqps://beat:{self.password}@127.0.0.1:{self.secure_port}/"
        return Place("bus", url, options={"cafile": str(self.certificate), **options})

    def freeze(self) -> None:
        """The node stops, and its connections stay."""
        assert self._server is not None
        os.killpg(self._server.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._server is not None
        os.killpg(self._server.pid, signal.SIGCONT)

    def start(self) -> None:
        """Returns when the node takes connections; does nothing while it runs."""
        if self._server is not None:
            return
        if self._epmd is None and not self.joined:
            epmd = shutil.which("epmd")
            assert epmd, "Erlang's epmd is not on PATH"
            # Else the node starts one that outlives it.
            self._epmd = self._run((epmd, "-port", self.env["ERL_EPMD_PORT"], "-address", "127.0.0.1"))
        self._server = self._run((str(self.binary),))
        limit = time.monotonic() + STARTED
        while not self._answers():
            if self._server.poll() is not None or time.monotonic() > limit:
                raise AssertionError(f"RabbitMQ did not start: {self._log()}")
            time.sleep(0.1)

    def kill(self) -> None:
        """kill -9 of the whole node; does nothing while it does not run."""
        if self._server is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._server.pid, signal.SIGKILL)
        self._server.wait()
        self._server = None

    def stop(self) -> None:
        """For good."""
        self.kill()
        if self._epmd is not None:
            self._epmd.kill()
            self._epmd.wait()

    def ctl(self, *arguments: str) -> str:
        """`rabbitmqctl`, about two seconds."""
        done = subprocess.run(
            (str(self.binary.with_name("rabbitmqctl")), "--quiet", "--node", self.node, *arguments),
            **self._as(),
            capture_output=True,
            text=True,
            check=False,
            timeout=STARTED,
        )
        assert done.returncode == 0, done.stderr + done.stdout
        return done.stdout

    def _run(self, argv: tuple[str, ...]) -> subprocess.Popen[bytes]:
        with (self.folder / "output").open("ab") as output:
            return subprocess.Popen(
                argv, **self._as(), stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
            )

    def _as(self) -> dict[str, object]:
        account = self.account
        who = {"user": account.uid, "group": account.gid, "extra_groups": []} if account else {}
        return {"cwd": self.folder, "env": dict(self.env), **who}

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
                connection.settimeout(2)
                connection.sendall(GREETING)
                return connection.recv(1) == b"\x01"
        except OSError:
            return False

    def _log(self) -> str:
        return (self.folder / "output").read_text(errors="replace")[-2000:]


@contextlib.contextmanager
def running(home: Home, binary: Path) -> Iterator[RabbitMQ]:
    """A node for the length of a `with` block."""
    node = RabbitMQ.at(home, binary)
    try:
        node.start()
        yield node
    finally:
        node.stop()


@contextlib.contextmanager
def cluster(home: Home, binary: Path) -> Iterator[list[RabbitMQ]]:
    """Three nodes for the length of a `with` block."""
    first = RabbitMQ.at(home, binary)
    nodes = [first, *(RabbitMQ.at(home, binary, f"rabbitmq-{number}", joins=first) for number in (2, 3))]
    try:
        for node in nodes:
            node.start()
        yield nodes
    finally:
        for node in reversed(nodes):
            node.stop()
