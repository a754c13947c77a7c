"""How a stack is laid out for faults that need more than one server of a kind, or a proxy before it."""

import contextlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path
from typing import Self

import psycopg

from beat_actors.chaos.proxy import Proxy
from beat_actors.local.account import run_as, unprivileged
from beat_actors.local.servers import POSTGRES_SETTINGS, PostgresServer, ValkeyServer, postgres_binaries
from beat_actors.local.service import Service
from beat_actors.local.stack import Stack

SLOT = "standby"
"""The name of the standby's replication slot, and of the standby itself in `synchronous_standby_names`."""
UPLOADS = ("uploads-a", "uploads-b")
"""Processes that upload pictures."""


class Layout(Enum):
    """`PROXIED`: the processes reach PostgreSQL, Valkey and the simulator through proxies, and a second Valkey replicates the first.

    `STANDBY`: a second PostgreSQL replicates the first synchronously, and the processes know the addresses of both.
    `PICTURES`: two processes upload pictures, through a proxy before S3 that fails as an S3 may.
    """

    PLAIN = "plain"
    PROXIED = "proxied"
    STANDBY = "standby"
    PICTURES = "pictures"


@dataclass(frozen=True, slots=True)
class Proxies:
    """One proxy before each server that the processes use."""

    postgres: Proxy
    valkey: Proxy
    simulator: Proxy

    @classmethod
    def before(cls, stack: Stack, life: contextlib.ExitStack) -> Self:
        """Listen before the stack's servers until `life` ends."""
        servers = (stack.postgres, stack.valkey, stack.simulator)
        return cls(*(life.enter_context(Proxy.running(server.port)) for server in servers))

    def all(self) -> tuple[Proxy, ...]:
        return self.postgres, self.valkey, self.simulator

    def routes(self, stack: Stack) -> Mapping[str, str]:
        """For each server's address, the address that a process is given instead."""
        ports = (stack.postgres.port, stack.valkey.port, stack.simulator.port)
        return {address(port): address(proxy.port) for port, proxy in zip(ports, self.all(), strict=True)}


def address(port: int) -> str:
    return f"127.0.0.1:{port}"


def rerouted(service: Service, routes: Mapping[str, str]) -> Service:
    """The service with other addresses in its environment."""
    env = dict(service.env)
    for known, instead in routes.items():
        env = {name: value.replace(known, instead) for name, value in env.items()}
    return replace(service, env=env)


def with_pictures(faces: Sequence[Service], stack: Stack, port: int) -> list[Service]:
    """Also processes that upload pictures, for whom S3 is at another `port`; and an API that reads pictures from S3 itself."""
    instead = {address(stack.s3.port): address(port)}
    uploads = [replace(rerouted(stack.uploads(name=name), instead), backoff_most=1.0) for name in UPLOADS]
    reading = [replace(face, env={**face.env, **stack.s3.env}) if face.name == "api" else face for face in faces]
    return [*reading, *uploads]


def second_valkey(stack: Stack) -> tuple[ValkeyServer, Service]:
    """A replica of the stack's Valkey, with the same passwords and users."""
    place = _second_place(stack.home.path)
    replica = {"replicaof": f"127.0.0.1 {stack.valkey.port}", "masterauth": stack.valkey.password}
    server = replace(stack.valkey, place=place, port=stack.home.port("valkey-b"), settings=replica)
    return server, replace(server.service(), name="valkey-b")


def second_postgres(stack: Stack) -> tuple[PostgresServer, Service]:
    """A streaming standby of the stack's running PostgreSQL. Once the standby streams, `follow` makes commits wait for it."""
    account, first = unprivileged(), stack.postgres
    place = _second_place(first.place)
    if account:
        os.chown(place, account.uid, account.gid)
    source = f"{first.url_of('postgres')}?application_name={SLOT}"
    backup = ("-D", str(place / "postgres"), "-d", source, "--write-recovery-conf", "--wal-method=stream")
    binaries = postgres_binaries(first.place, account)
    run_as(
        account,
        (str(binaries / "pg_basebackup"), *backup, "--create-slot", f"--slot={SLOT}", "--checkpoint=fast"),
        cwd=place,
    )
    server = replace(first, place=place, port=stack.home.port("postgres-b"))
    settings = {**POSTGRES_SETTINGS, **first.settings, "port": str(server.port)}
    argv = (
        str(binaries / "postgres"),
        "-D",
        str(server.data),
        *(part for name, value in settings.items() for part in ("-c", f"{name}={value}")),
    )
    return server, replace(first.service(), name="postgres-b", argv=argv, cwd=place, ready=lambda: _answers(server))


def follow(first: PostgresServer) -> None:
    """From now on, each commit on the first server waits until the standby has it on disk."""
    with psycopg.connect(first.url_of("postgres"), autocommit=True) as connection:
        connection.execute(f"ALTER SYSTEM SET synchronous_standby_names = '{SLOT}'")
        connection.execute("SELECT pg_reload_conf()")


def both_hosts(url: str, first: PostgresServer, second: PostgresServer) -> str:
    """A URL that names the addresses of both servers."""
    return url.replace(address(first.port), f"{address(first.port)},{address(second.port)}")


def _second_place(beside: Path) -> Path:
    place = beside / "second"
    place.mkdir(mode=0o700)
    return place


def _answers(server: PostgresServer) -> bool:
    try:
        with psycopg.connect(server.url_of("postgres"), connect_timeout=2):
            return True
    except psycopg.Error:
        return False
