"""What every command starts from: the settings in force, an engine and a mailbox."""

import asyncio
import getpass
import logging
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import redis
import structlog

from actors.mailbox import QUEUES, Mailbox
from beat_actors.cli.output import tell
from beat_actors.engine import Engine
from beat_actors.errors import BadSettings
from beat_actors.local import running_env
from beat_actors.settings import DatabaseSettings, Settings, load, load_database

T = TypeVar("T")

ASLEEP = "Redis does not answer, so nobody was woken; the scheduler finds it by itself"


@dataclass(frozen=True, slots=True)
class Session:
    """An engine and a mailbox, for the length of one command."""

    engine: Engine
    mailbox: Mailbox

    async def wake(self, platform: str) -> None:
        """Wake the platform's broker; where that fails, work is later and not lost, and the user is told so."""
        if not await self.mailbox.wake(platform):
            tell(ASLEEP)


def who() -> str:
    """Whoever runs this command, as the audit log has it."""
    try:
        name = getpass.getuser()
    except (OSError, KeyError):  # no name in the environment, and no entry for the number
        name = str(os.getuid())
    return f"cli:{name}"


def default_root() -> Path:
    """The data root of the local stack: BEAT_ROOT, or `.beat` in this folder."""
    return Path(os.environ.get("BEAT_ROOT") or ".beat")


def settings_in_force() -> Settings:
    """From BEAT_* variables; where there are none, from the stack that `beat up` runs over the data root. Raises `BadSettings`."""
    _adopt_running()
    return load("message_keys")


def database_settings_in_force() -> DatabaseSettings:
    """As `settings_in_force`, of the database alone."""
    _adopt_running()
    return load_database()


def _adopt_running() -> None:
    if "BEAT_DATABASE_URL" not in os.environ:
        root = default_root()
        env = running_env(root)
        if env is None:
            raise BadSettings(
                f"No stack runs over {root} and BEAT_DATABASE_URL is not set. Start the local stack with `beat up`, "
                "or set the BEAT_* variables of the one that you mean; `beat settings` lists them."
            )
        os.environ.update(env)


@asynccontextmanager
async def session() -> AsyncIterator[Session]:
    settings = settings_in_force()
    quiet_logs()
    engine, mailbox = Engine.start(settings, name="cli", actor=who()), Mailbox(settings)
    try:
        yield Session(engine, mailbox)
    finally:
        await engine.close()
        mailbox.close()


def run(work: Callable[[Session], Awaitable[T]]) -> T:
    """Run a command's work inside a session."""

    async def inside() -> T:
        async with session() as opened:
            return await work(opened)

    return asyncio.run(inside())


def queue_depths(settings: Settings) -> dict[str, int]:
    """How many messages lie in each queue. Raises `redis.RedisError`."""
    with redis.Redis.from_url(str(settings.redis_url), socket_timeout=1.0, socket_connect_timeout=1.0) as client:
        pipe = client.pipeline(transaction=False)
        for queue in QUEUES:
            pipe.llen(f"{settings.redis_namespace}:{queue}")
        return dict(zip(QUEUES, pipe.execute(), strict=True))


def quiet_logs() -> None:
    """What the libraries log goes to standard error, and only what is an error: standard output belongs to the command."""
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR),
        logger_factory=structlog.WriteLoggerFactory(sys.__stderr__),
    )
    logging.basicConfig(level=logging.ERROR, stream=sys.__stderr__)
    logging.getLogger("alembic").setLevel(logging.ERROR)
