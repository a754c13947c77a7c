"""PgBouncer in transaction mode, from Debian's package: a pool of few connections, so that sessions really are shared."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

import psycopg

from beat_actors.local.account import Account, unprivileged
from beat_actors.local.home import Home
from beat_actors.local.servers import PostgresServer
from beat_actors.local.service import Service

POOL = 4


@dataclass(frozen=True)
class PgBouncer:
    config: Path
    binary: str
    port: int
    postgres: PostgresServer
    account: Account | None

    @classmethod
    def at(
        cls,
        home: Home,
        postgres: PostgresServer,
        binary: str,
        *,
        pool: int = POOL,
        behind: int | None = None,
        settings: Mapping[str, str] | None = None,
    ) -> Self:
        """`behind`: the port by which PostgreSQL is reached, where that is not its own. `settings`: more lines of the configuration."""
        account = unprivileged()
        place = home.place_for(account) / "pgbouncer"
        place.mkdir(exist_ok=True)
        place.chmod(0o755)
        servers = [urlsplit(url) for url in (postgres.url, postgres.process_url)]
        port = home.port("pgbouncer")
        (place / "users").write_text("".join(f'"{one.username}" "{one.password}"\n' for one in servers))
        (place / "config").write_text(
            f"[databases]\n* = host=127.0.0.1 port={behind or postgres.port}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n"
            f"unix_socket_dir =\nauth_type = plain\nauth_file = {place / 'users'}\npool_mode = transaction\n"
            f"default_pool_size = {pool}\nmax_client_conn = 500\nserver_idle_timeout = 5\nlogfile =\n"
            + "".join(f"{name} = {value}\n" for name, value in (settings or {}).items())
        )
        for file in place.iterdir():
            file.chmod(0o644)
        return cls(place / "config", binary, port, postgres, account)

    def service(self) -> Service:
        return Service(
            name="pgbouncer",
            argv=(self.binary, str(self.config)),
            ready=self._ready,
            account=self.account,
            cwd=self.config.parent,
            depends_on=("postgres",),
        )

    def url_of(self, database_url: str) -> str:
        """The same database, through the pooler."""
        parts = urlsplit(database_url)
        return f"postgresql://{parts.username}:{parts.password}@127.0.0.1:{self.port}{parts.path}"

    def _ready(self) -> bool:
        try:
            psycopg.connect(
                self.url_of(self.postgres.url_of("postgres")), connect_timeout=1, prepare_threshold=None
            ).close()
        except psycopg.OperationalError:
            return False
        return True
