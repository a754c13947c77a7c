"""What every command starts from: the settings in force, an engine and a mailbox."""

import asyncio
import getpass
import logging
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from beat_actors.cli.output import tell
from beat_actors.errors import BadSettings
from beat_actors.logger import configure_at_first_line
from beat_actors.settings import DatabaseSettings, Settings, load, load_database

if TYPE_CHECKING:  # each is imported by the commands that need it, since its drivers take most of a command's time
    from structlog.typing import EventDict, ProcessorReturnValue

    from actors.mailbox import Mailbox
    from actors.queues import Queues
    from beat_actors.credentials.manager import CredentialManager
    from beat_actors.credentials.vault import Vault
    from beat_actors.database import Database
    from beat_actors.engine import Engine

T = TypeVar("T")

ASLEEP = "Redis does not answer; the scheduler will find the change within seconds"


class Session:
    """What a command works with, each part opened when it is first used."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    @cached_property
    def database(self) -> "Database":
        from beat_actors.database import Database
        from beat_actors.database.unpooled import Unpooled

        return Database(self.settings, name="cli", connections=Unpooled)

    @cached_property
    def vault(self) -> "Vault":
        from beat_actors.credentials.vault import Vault

        return Vault(self.settings)

    @cached_property
    def credentials(self) -> "CredentialManager":
        from beat_actors.credentials.manager import CredentialManager

        return CredentialManager(self.database, self.vault, actor=who())

    @cached_property
    def engine(self) -> "Engine":
        """For a command that calls a provider itself. Raises `BadSettings` where BEAT_SOURCES names an unknown source."""
        from beat_actors.engine import Engine, check_sources
        from beat_actors.transport.http import ProviderClient

        check_sources(self.settings)
        return Engine(self.settings, self.database, self.vault, self.credentials, ProviderClient(self.settings))

    @cached_property
    def mailbox(self) -> "Mailbox":
        from actors.mailbox import Mailbox

        return Mailbox(self.settings)

    @cached_property
    def queues(self) -> "Queues":
        from actors.queues import Queues

        return Queues(self.settings)

    async def close(self) -> None:
        opened = self.__dict__
        if "engine" in opened:
            await self.engine.client.close()
        if "database" in opened:
            await self.database.close()
        if "mailbox" in opened:
            self.mailbox.close()
        if "queues" in opened:
            self.queues.close()

    async def wake(self, platform: str) -> None:
        """Wake the platform's broker; where that fails, work is later and not lost, and the user is told so."""
        if not await self.mailbox.wake(platform):
            tell(ASLEEP)


def who() -> str:
    """The user who runs this command, as the audit log names it."""
    try:
        name = getpass.getuser()
    except (OSError, KeyError):  # no name in the environment, and no entry for the number
        name = str(os.getuid())
    return f"cli:{name}"


def default_root() -> Path:
    """The data root of the local stack: BEAT_ROOT, or `.beat` in this folder."""
    return Path(os.environ.get("BEAT_ROOT") or ".beat")


def settings_in_force(*, sends: bool = True) -> Settings:
    """From BEAT_* variables; where there are none, from the stack that `beat up` runs over the data root. `sends`: the command may send messages, so
    it needs the keys that sign them. Raises `BadSettings`."""
    _adopt_running()
    return load("message_keys") if sends else load()


def database_settings_in_force() -> DatabaseSettings:
    """As `settings_in_force`, of the database alone."""
    _adopt_running()
    return load_database()


def _adopt_running() -> None:
    if "BEAT_DATABASE_URL" not in os.environ:
        from beat_actors.local.home import running_env

        root = default_root()
        env = running_env(root)
        if env is None:
            raise BadSettings(
                f"No stack runs over {root} and BEAT_DATABASE_URL is not set. Start the local stack with `beat up`, "
                "or set the BEAT_* variables of the one that you mean; `beat settings` lists them."
            )
        os.environ.update(env)


@asynccontextmanager
async def session(*, sends: bool = True) -> AsyncIterator[Session]:
    settings = settings_in_force(sends=sends)
    quiet_logs()
    opened = Session(settings)
    try:
        yield opened
    finally:
        await opened.close()


def run(work: Callable[[Session], Awaitable[T]], *, sends: bool = True) -> T:
    """Run a command's work inside a session. `sends`: as in `settings_in_force`."""

    async def inside() -> T:
        async with session(sends=sends) as opened:
            return await work(opened)

    return asyncio.run(inside())


def queue_depths(settings: Settings) -> dict[str, int]:
    """How many messages lie in each queue. Raises `redis.RedisError`."""
    import redis

    from actors.mailbox import QUEUES

    with redis.Redis.from_url(str(settings.redis_url), socket_timeout=1.0, socket_connect_timeout=1.0) as client:
        pipe = client.pipeline(transaction=False)
        for queue in QUEUES:
            pipe.llen(f"{settings.redis_namespace}:{queue}")
        return dict(zip(QUEUES, pipe.execute(), strict=True))


def _masked(logger: object, method: str, event: "EventDict") -> "ProcessorReturnValue":
    from beat_actors.masking import mask  # loads what most commands do without

    return mask(logger, method, event)


class _MaskingFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        from beat_actors.masking import masked  # as above

        return masked(super().format(record))


def quiet_logs() -> None:
    """What the libraries log goes to standard error, and only what is an error: standard output belongs to the command."""
    configure_at_first_line(_configure_structlog, level=logging.ERROR)
    handler = logging.StreamHandler(sys.__stderr__)
    handler.setFormatter(_MaskingFormatter("%(levelname)s:%(name)s:%(message)s"))
    logging.basicConfig(level=logging.ERROR, handlers=[handler])
    logging.getLogger("alembic").setLevel(logging.ERROR)


def _configure_structlog() -> None:
    import structlog

    structlog.configure(
        # Where none are given, a traceback shows the values of local variables, which may be secrets.
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.format_exc_info,
            _masked,
            structlog.dev.ConsoleRenderer(colors=False),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR),
        logger_factory=structlog.WriteLoggerFactory(sys.__stderr__),
    )
