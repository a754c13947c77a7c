"""What `beat doctor` finds on a host of the installation: every dependency, one line each, and how to fix what is wrong."""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any, NamedTuple

import aiohttp
import psycopg
import redis

from beat_actors import failpoints, running_code
from beat_actors.alerts import list_alerts
from beat_actors.cli import bucket, providers, sinks
from beat_actors.cli.failures import sentence
from beat_actors.cli.finding import Finding, of_alerts
from beat_actors.cli.session import Session, queue_depths, session
from beat_actors.database import Statements, durability, revisions
from beat_actors.database.processes import Process, processes
from beat_actors.database.sessions import shares_sessions
from beat_actors.engine import check_sources
from beat_actors.errors import BadSettings, BeatError, SecretMissing, VaultError
from beat_actors.moments import moment
from beat_actors.platforms.registry import platforms
from beat_actors.process_alerts import actions
from beat_actors.settings import Settings
from beat_actors.webhooks.deliveries import PROCESS, look

SKEW = 2.0
ANSWERS_WITHIN = 10.0
OLDEST_SERVER = 160_000

FILES = ["pg_read_server_files", "pg_write_server_files", "pg_execute_server_program"]


class Server(NamedTuple):
    """PostgreSQL: its version, its statement timeout, its clock (epoch seconds), and how far the database is migrated."""

    version: str
    number: int
    patience: str
    now: float
    migrated: bool
    in_cluster: bool
    standby: bool


class Schema(NamedTuple):
    """The schema's revision, and the oldest one of code that works with it."""

    revision: str
    oldest: str | None


class Active(NamedTuple):
    """Connections of one kind of process."""

    name: str
    n: int


class Role(NamedTuple):
    """What the processes' login may do besides changing rows. `files`: roles of its that reach the database's host."""

    name: str
    super: bool
    more: bool
    owns: bool
    creates: bool
    files: str


class Work(NamedTuple):
    """Lanes that wait, and requests that have not ended."""

    blocked: int
    open: int


SQL = Statements(__file__)
SERVER, SCHEMA = SQL("server", Server), SQL("schema", Schema)
RESTORED = SQL("restored", datetime)
MISSING = SQL("missing_tables", str)
ACTIVE, ROLE, WORK = SQL("active", Active), SQL("role", Role), SQL("work", Work)


Check = Callable[[Session], Awaitable[list[Finding]]]


async def examine() -> list[Finding]:
    findings: list[Finding] = []
    try:
        async with session() as opened:
            check_sources(opened.settings)
            findings += [Finding("settings", "read"), _environment(opened)]
            for name, check, fix in CHECKS:
                findings += await _ask(name, check, fix, opened)
    except BadSettings as error:
        findings.append(Finding("settings", str(error), "correct the variable, or start a local stack: `beat up`"))
    return findings


async def _ask(name: str, check: Check, fix: str, opened: Session) -> list[Finding]:
    try:
        async with asyncio.timeout(ANSWERS_WITHIN):
            return await check(opened)
    except TimeoutError:
        return [Finding(name, f"no answer within {ANSWERS_WITHIN:g} s", fix)]
    except (BeatError, OSError, aiohttp.ClientError, redis.RedisError, psycopg.Error) as error:
        return [Finding(name, sentence(error), fix)]


def _environment(opened: Session) -> Finding:
    if opened.settings.environment == "production":
        return Finding("environment", "production: the simulator and failpoints are refused")
    armed = os.environ.get(failpoints.VARIABLE)
    return Finding(
        "environment",
        f"rehearsal: the simulator and failpoints are allowed; {f'armed: {armed}' if armed else 'no failpoint is armed'}",
    )


async def _postgres(opened: Session) -> list[Finding]:
    before = time.time()
    async with opened.database.transaction() as transaction:
        row = await transaction.only(SERVER)
        after = time.time()
        schema = await transaction.row(SCHEMA) if row.migrated else None
        work = await transaction.row(WORK) if row.migrated else None
        tables = [entity.table for platform in platforms().values() for entity in platform.entities]
        missing = await transaction.rows(MISSING, {"tables": tables}) if row.migrated else []
        restored_at = await transaction.value(RESTORED) if row.in_cluster else None
        role = await transaction.only(ROLE, {"files": FILES})
    # The answer was written at some time in between.
    skew = max(before - row.now, row.now - after, 0.0)
    old = "use PostgreSQL 16 or newer" if row.number < OLDEST_SERVER else ""
    standby = "point BEAT_DATABASE_URL at the primary; this server cannot write" if row.standby else ""
    found = [
        Finding("PostgreSQL", f"version {row.version}{', a standby' if row.standby else ''}", standby or old),
        _schema(schema, revisions.newest()),
        _durability(await durability.unsafe(str(opened.settings.database_url))),
        _role(role),
        Finding(
            "statement timeout",
            "none" if row.patience == "0" else row.patience,
            "run `beat migrate`, which sets it as the database's default" if row.patience == "0" else "",
        ),
        Finding(
            "clock",
            f"{skew:.1f} s from the database's",
            "" if skew < SKEW else "synchronise this host's clock and the database's (NTP)",
        ),
    ]
    if missing:
        found.append(
            Finding("tables", f"those of an installed platform are missing: {', '.join(missing)}", "run `beat migrate`")
        )
    if restored_at is not None:
        found.append(
            Finding(
                "cluster",
                f"restored into this one, found at {moment(restored_at)}: changes after the dump are missing, "
                "cursors of /v1/changes from after the dump are refused, webhooks that were sent after it are sent again",
            )
        )
    if work is not None:
        many = f"{work.open:,}" if work.open <= 100_000 else "more than 100,000"
        found.append(Finding("requests", f"{many} unfinished; {work.blocked} lanes wait for limits or cooldowns"))
    return found


def _schema(schema: Schema | None, head: str | None) -> Finding:
    if schema is None:
        return Finding("schema", f"older than this code, which needs {head}", "run `beat migrate`")
    if revisions.works_with(schema.revision, schema.oldest):
        newer = "" if schema.revision == head else f", newer than this code ({head}), which works with it"
        return Finding("schema", f"revision {schema.revision}{newer}")
    ahead = head is not None and schema.revision > head
    return Finding(
        "schema",
        f"revision {schema.revision}, this code needs {head}",
        "deploy the newer code: this one does not work with the schema any more" if ahead else "run `beat migrate`",
    )


def _durability(unsafe: list[str]) -> Finding:
    """Settings with which PostgreSQL may lose what it has committed, and Beat what it has accepted."""
    if not unsafe:
        return Finding("durability", "committed data survives a crash")
    return Finding(
        "durability",
        f"{', '.join(unsafe)}: accepted requests may be lost when PostgreSQL or its host crashes, or another server takes over",
        durability.ACTION[0].lower() + durability.ACTION[1:],
    )


def _role(role: Role) -> Finding:
    """What the processes' login may do that no process needs."""
    if role.super:
        wrong = "a superuser: one injected statement runs programs on the database's host"
    elif role.files:
        wrong = f"which is a member of {role.files}: one injected statement reaches the database's host"
    elif role.more:
        wrong = "which may make roles or databases, or replicate"
    elif role.owns:
        wrong = "which owns the schema: one injected statement drops it"
    elif role.creates:
        wrong = "which may create tables"
    else:
        return Finding("database role", f"{role.name}, which may change rows only")
    fix = "make a role for the owner and one for the processes (`beat db roles`), and name the latter in BEAT_DATABASE_URL"
    return Finding("database role", f"{role.name}, {wrong}", fix)


async def _leadership(opened: Session) -> list[Finding]:
    if await shares_sessions(opened.settings.direct_url):
        return [
            Finding(
                "leadership",
                "a pooler gives out sessions by the transaction, so no scheduler can keep the lock by which it leads",
                "set BEAT_DATABASE_DIRECT_URL to PostgreSQL itself",
            )
        ]
    return [Finding("leadership", "the leader lock is on a dedicated session")]


async def _vault(opened: Session) -> list[Finding]:
    credentials = await opened.credentials.overview()
    if not credentials:
        return [Finding("credentials", "none", "add one: `beat credentials add SOURCE`")]
    states: dict[str, int] = {}
    for credential in credentials:
        states[credential.state] = states.get(credential.state, 0) + 1
    said = ", ".join(f"{n} {state}" for state, n in sorted(states.items()))
    usable = states.keys() - {"dead", "disabled"}
    fix = "" if usable else "none can be used: add one, or `beat credentials enable ID --reason …`"
    try:
        async with opened.database.transaction() as transaction:
            await opened.credentials.reveal(transaction, [c.id for c in credentials])
    except SecretMissing:
        return [
            Finding("vault", "BEAT_VAULT_KEYS is not set here, so no credential was opened"),
            Finding("credentials", said, fix),
        ]
    except VaultError as error:
        return [
            Finding("vault", str(error), "put the missing key back into BEAT_VAULT_KEYS, behind the first"),
            Finding("credentials", said, fix),
        ]
    keys = len({credential.key_id for credential in credentials})
    return [
        Finding("vault", f"opens all {len(credentials)} credentials, sealed with {keys} key{'s' if keys > 1 else ''}"),
        Finding("credentials", said, fix),
    ]


async def _redis(opened: Session) -> list[Finding]:
    info: dict[str, Any] = await asyncio.to_thread(opened.mailbox.server_info)
    depths = await asyncio.to_thread(queue_depths, opened.settings)
    policy = str(info.get("maxmemory_policy", "noeviction"))
    limit, used = int(info.get("maxmemory", 0)), int(info.get("used_memory", 0))
    full = bool(limit) and used > 0.7 * limit
    of = f" of {limit >> 20}" if limit else ""
    return [
        Finding("Redis", f"version {info.get('valkey_version') or info.get('redis_version')}"),
        Finding(
            "eviction",
            policy,
            "" if policy == "noeviction" else "set maxmemory-policy noeviction, or messages vanish under pressure",
        ),
        Finding("memory", f"{used >> 20}{of} MB used", "raise maxmemory: at the limit nothing is sent" if full else ""),
        Finding("queues", ", ".join(f"{queue} {depth}" for queue, depth in depths.items())),
    ]


async def _processes(opened: Session) -> list[Finding]:
    alive = await asyncio.to_thread(opened.mailbox.listeners)
    async with opened.database.transaction() as transaction:
        active = dict(await transaction.rows(ACTIVE))
    uploads = active.get("beat uploads", 0)
    scheduler, deliverer = active.get("beat scheduler", 0), active.get(f"beat {PROCESS}", 0)
    wanted = (await look(opened.database)).active
    living = await processes(opened.database)
    troubled = [each for each in living if each.troubles]
    return [
        *(await _code(opened, living)),
        *(
            Finding(
                f"{each.name} {each.host}:{each.pid}",
                "; ".join(each.troubles.values()),
                "; ".join(actions(each.troubles)),
            )
            for each in troubled
        ),
        Finding(
            "workers",
            f"{alive} processes listen",
            "" if alive else "start them: python -m actors",
        ),
        *_uploads(opened.settings, uploads),
        Finding(
            "scheduler",
            "connected to the database" if scheduler else "no connection of it to the database",
            "" if scheduler else "start it: python -m scheduler",
        ),
        Finding(
            "deliverer",
            "connected to the database"
            if deliverer
            else f"no connection of it to the database; {'webhooks wait' if wanted else 'no webhook waits for it'}",
            "start it: python -m scheduler.deliverer" if wanted and not deliverer else "",
        ),
    ]


def _uploads(settings: Settings, connections: int) -> list[Finding]:
    """The processes that upload pictures, if a bucket for them is named here."""
    if settings.asset_bucket is None:
        return []
    found = "connected to the database" if connections else "no connection of them to the database; pictures wait"
    return [Finding("uploads", found, "" if connections else "start them: python -m actors --queues assets")]


async def _code(opened: Session, living: list[Process]) -> list[Finding]:
    """What is newer than the running processes; what is installed here counts, since doctor is what is run after an installation."""
    async with opened.database.statements() as alone:
        schema = await alone.row(SCHEMA)
    here = running_code.own()
    found = running_code.stale(living, here.platforms or (), schema.revision if schema else None, here.version)
    return [Finding(f"restart: {one.kind}", one.sentence, running_code.RESTART) for one in found]


async def _alerts(opened: Session) -> list[Finding]:
    async with opened.database.transaction() as transaction:
        return of_alerts(await list_alerts(transaction))


async def _s3(opened: Session) -> list[Finding]:
    return await bucket.examine(opened.settings)


async def _providers(opened: Session) -> list[Finding]:
    return await providers.examine(opened.settings)


CHECKS: tuple[tuple[str, Check, str], ...] = (
    ("PostgreSQL", _postgres, "start it, or correct BEAT_DATABASE_URL"),
    ("leadership", _leadership, "start PostgreSQL, or correct BEAT_DATABASE_DIRECT_URL"),
    ("vault", _vault, "fix the database first"),
    ("Redis", _redis, "start it, or correct BEAT_REDIS_URL; until then work is slower, and nothing is lost"),
    ("workers", _processes, "fix PostgreSQL and Redis first"),
    ("alerts", _alerts, "fix PostgreSQL first"),
    ("events", sinks.examine, "fix PostgreSQL first"),
    ("S3", _s3, "start it, or correct BEAT_S3_ENDPOINT_URL"),
    (
        "providers",
        _providers,
        "start the simulator (`beat simulator run`), or unset BEAT_SIMULATOR_URL to call the real providers",
    ),
)
