"""The stack behind `beat up`: which services there are, over one data root, and the settings that make them one system."""

import asyncio
import contextlib
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from beat_actors import settings
from beat_actors.local.errors import LocalError
from beat_actors.local.first_key import FirstKey, first_key
from beat_actors.local.home import Home
from beat_actors.local.s3 import S3Server
from beat_actors.local.servers import PostgresServer, SimulatorServer, ValkeyServer
from beat_actors.local.service import Service, answers_http
from beat_actors.local.supervisor import Supervisor
from beat_actors.settings import Settings

WORKERS_STOP = 26.0
"""Seconds that workers have to finish what they hold; they give up by themselves a little earlier."""
DELIVERER_STOP = 18.0
"""Seconds that a deliverer has for the webhooks that it is just delivering, which may take 15."""
VAULT, MESSAGES = "BEAT_VAULT_KEYS", "BEAT_MESSAGE_KEYS"
S3_KEY = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
SECRETS = (VAULT, MESSAGES, *S3_KEY)
SERVERS = ("postgres", "valkey", "simulator")
ASSET_BUCKET = "beat-pictures"
"""What anybody may read is in a bucket of its own."""
EVENT_SINKS = '{"stream": {"url": "redis:"}}'
"""Where events are published to: a stream of the embedded Valkey."""
SHARED = (
    "BEAT_GRAPH_VERSION", "BEAT_LIMITS", "BEAT_LIMIT_PREFIX", "BEAT_OFF_PEAK", "BEAT_ON_DEMAND_SHARE", "BEAT_OPEN_REQUESTS", "BEAT_REDIS_NAMESPACE",
    "BEAT_SHOPIFY_VERSION", "BEAT_SOURCES", "BEAT_WEBHOOK_ALLOW_PRIVATE",
)  # fmt: skip
"""Variables of the shell that starts the stack which commands in another terminal need too."""


class Stack:
    """All of Beat on one machine. Two stacks over different data roots do not know of each other."""

    def __init__(
        self,
        root: Path = Path(".beat"),
        *,
        profiles: int = 1000,
        processes: int = 2,
        threads: int = 8,
        api_port: int = 8000,
        real: bool = False,
        postgres_settings: Mapping[str, str] | None = None,
        extra_env: Mapping[str, str] | None = None,
    ) -> None:
        """Take the data root and settle ports, passwords and keys; nothing is started yet.

        `profiles`: how many the simulator knows. `processes`, `threads`: of the workers. `api_port`: preferred when this root has not had
        another one. `real`: without a simulator, so that calls go to the providers. `extra_env`: BEAT_* variables on top.

        Raises `LocalError` when the root is in use or cannot be used.
        """
        self.home = Home(root)
        self.home.lock()
        self._supervisor: Supervisor | None = None
        self._first_key: FirstKey | None = None
        self._workers = (processes, threads)
        try:
            self.postgres = PostgresServer.at(self.home, postgres_settings)
            self.valkey = ValkeyServer.at(self.home)
            self.s3 = S3Server.at(self.home)
            self.home.of_providers("real" if real else "simulated", data_exists=self.postgres.data.exists())
            self.real = real
            self.simulator = SimulatorServer(self.home.port("simulator"), profiles)
            self.api_port = self.home.port("api", prefer=api_port)
            self.health_port = self.home.port("health")
            self.env: dict[str, str] = {
                "BEAT_ENVIRONMENT": "production" if real else "rehearsal",
                "BEAT_DATABASE_URL": self.postgres.process_url,
                "BEAT_REDIS_URL": self.valkey.url_of("operator"),
                "BEAT_S3_ENDPOINT_URL": self.s3.url,
                "BEAT_S3_BUCKET": self.s3.bucket,
                "BEAT_ASSET_BUCKET": ASSET_BUCKET,
                "BEAT_VAULT_KEYS": self.home.vault_keys(data_exists=self.postgres.data.exists()),
                "BEAT_MESSAGE_KEYS": self.home.message_keys(),
                **(
                    {}
                    if real
                    else {"BEAT_SIMULATOR_URL": self.simulator.url, "BEAT_ASSET_ORIGIN": f"{self.simulator.url}/_cdn"}
                ),
                **{name: os.environ[name] for name in SHARED if name in os.environ},
                "BEAT_EVENT_SINKS": os.environ.get("BEAT_EVENT_SINKS", EVENT_SINKS),
                "BEAT_API_HOST": "127.0.0.1",
                "BEAT_API_PORT": str(self.api_port),
                "BEAT_HEALTH_HOST": "127.0.0.1",
                "BEAT_HEALTH_PORT": str(self.health_port),
                # Somebody's real ones must not be sent to it.
                **self.s3.env,
                **(extra_env or {}),
            }
        except BaseException:
            self.home.unlock()
            raise

    @property
    def supervisor(self) -> Supervisor:
        """The supervisor while the stack runs. Raises `LocalError` otherwise."""
        if self._supervisor is None:
            raise LocalError("The stack is not running")
        return self._supervisor

    @property
    def first_key(self) -> FirstKey:
        """The API key of the tools on this machine. Raises `LocalError` before Beat itself was started."""
        if self._first_key is None:
            raise LocalError("The stack has not been started, so there is no API key yet")
        return self._first_key

    @property
    def authorization(self) -> dict[str, str]:
        """The header with which the API is called."""
        return {"Authorization": f"Bearer {self.first_key.text}"}

    @property
    def api_url(self) -> str:
        return f"http://127.0.0.1:{self.api_port}"

    def servers(self) -> tuple[Service, ...]:
        """What Beat stands on."""
        # S3 takes the longest to start, and nobody needs it before the first raw payloads are a day old.
        s3 = replace(self.s3.service(), ready=None)
        servers = (self.postgres, self.valkey, *(() if self.real else (self.simulator,)))
        return (*(server.service() for server in servers), s3)

    def faces(self) -> tuple[Service, ...]:
        """Beat itself; wants a migrated database."""
        return (
            self.workers(*self._workers),
            self.uploads(),
            self.scheduler(),
            self.deliverer(),
            self.publisher(),
            self.api(),
        )

    @property
    def settings(self) -> Settings:
        """Of a process that may do all that the command line may."""
        return settings.load(
            **{name[5:].lower(): value for name, value in self.env.items() if name.startswith("BEAT_")}
        )

    def env_of(self, *secrets: str, redis: str | None) -> dict[str, str]:
        """The variables of a process that is given these secrets alone, and is this user of Redis; `None`: of none."""
        own = {name: value for name, value in self.env.items() if name not in SECRETS or name in secrets}
        url = self.valkey.url_of(redis) if redis else f"redis://127.0.0.1:{self.valkey.port}/0"
        return {**own, "BEAT_REDIS_URL": url}

    def workers(self, processes: int, threads: int, *, name: str = "workers") -> Service:
        argv = (sys.executable, "-m", "actors", "--processes", str(processes), "--threads", str(threads))
        return Service(
            name=name,
            argv=argv,
            env=self.env_of(VAULT, MESSAGES, redis="worker"),
            stop_timeout=WORKERS_STOP,
            depends_on=SERVERS[:-1] if self.real else SERVERS,
        )

    def uploads(self, *, name: str = "uploads") -> Service:
        argv = (sys.executable, "-m", "actors", "--processes", "1", "--threads", "2", "--queues", "assets")
        return Service(
            name=name,
            argv=argv,
            env=self.env_of(MESSAGES, *S3_KEY, redis="worker"),
            stop_timeout=WORKERS_STOP,
            depends_on=(*(SERVERS[:-1] if self.real else SERVERS), "s3"),
        )

    def scheduler(self, *, name: str = "scheduler") -> Service:
        argv = (sys.executable, "-m", "scheduler")
        return Service(
            name=name,
            argv=argv,
            env=self.env_of(MESSAGES, *S3_KEY, redis="scheduler"),
            depends_on=("postgres", "valkey"),
        )

    def deliverer(self) -> Service:
        argv = (sys.executable, "-m", "scheduler.deliverer")
        return Service(
            name="deliverer",
            argv=argv,
            env=self.env_of(VAULT, redis=None),
            stop_timeout=DELIVERER_STOP,
            depends_on=("postgres",),
        )

    def publisher(self, *, name: str = "publisher") -> Service:
        argv = (sys.executable, "-m", "actors.publish")
        return Service(name=name, argv=argv, env=self.env_of(redis="publisher"), depends_on=("postgres", "valkey"))

    def api(self) -> Service:
        return Service(
            name="api",
            argv=(sys.executable, "-m", "api"),
            env=self.env_of(VAULT, MESSAGES, *S3_KEY, redis="api"),  # it sends pictures from the bucket
            ready=lambda: answers_http(self.health_port, "/healthz") and answers_http(self.api_port, "/healthz"),
            depends_on=("postgres", "valkey"),
        )

    @contextlib.contextmanager
    def running(
        self,
        *,
        migrate: Callable[[str, str], object] | None = None,
        faces: bool = True,
        handle_signals: bool = False,
    ) -> Iterator["Stack"]:
        """Run the stack for the length of a `with` block, once; at its end everything is stopped in order, and the data root is free.

        `migrate` is called with the owner's URL and that of the processes when the servers are up and before Beat itself starts. `handle_signals` (main thread
        only): SIGINT and SIGTERM set `supervisor.stop_requested`, a second one kills. Raises `LocalError`, and `Interrupted` when asked to
        stop while starting.
        """
        self._supervisor = Supervisor(self.home.logs, inherit=(self.home.lock(),))
        with contextlib.ExitStack() as cleanup:
            cleanup.callback(self.home.unlock)
            if handle_signals:
                cleanup.enter_context(self._supervisor.signals())
            cleanup.callback(self._supervisor.stop)
            # For people: `beat migrate` in another terminal. No service gets it.
            self.home.write_env({**self.env, "BEAT_DATABASE_OWNER_URL": self.postgres.owner_url})
            self._supervisor.start(*self.servers())
            if migrate:
                migrate(self.postgres.owner_url, self.postgres.process_url)
            if faces:
                self._first_key = asyncio.run(first_key(self.home, self.settings))
                self._supervisor.start(*self.faces())
            yield self

    def close(self) -> None:
        """Give the data root back without having run."""
        self.home.unlock()
