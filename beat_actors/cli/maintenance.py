"""`beat migrate`, `beat settings`, `beat doctor`."""

import asyncio
import time
from dataclasses import dataclass
from typing import Annotated, Any

import aiohttp
from cyclopts import Parameter

from beat_actors.cli.session import FAILED, Session, out, session, settings_in_force, show_json, show_rows
from beat_actors.database import migrate as migrations
from beat_actors.errors import BeatError, VaultError
from beat_actors.settings import table
from beat_actors.simulator.client import SimulatorClient

SKEW = 5.0


def migrate() -> None:
    """Bring the database to the newest schema. Safe to run at any time, by many at once."""
    in_force = settings_in_force()
    revision = migrations.upgrade(in_force.direct_url, statement_timeout=in_force.database_statement_timeout)
    out.print(f"the database is at revision {revision}")


def settings() -> None:
    """Print every BEAT_* variable with its default and meaning, as a Markdown table."""
    print(table())


@dataclass(frozen=True, slots=True)
class Finding:
    """`mend` is what to do; empty where all is well."""

    check: str
    said: str
    mend: str = ""


def doctor(*, json: Annotated[bool, Parameter(negative="")] = False) -> int:
    """Check every dependency; say what is wrong and how to mend it. Exits with 1 if anything is."""
    findings = asyncio.run(_examine())
    if json:
        show_json([{"check": f.check, "ok": not f.mend, "said": f.said, "mend": f.mend} for f in findings])
    else:
        rows = [("ok" if not f.mend else "WRONG", f.check, f.said, f.mend) for f in findings]
        show_rows(("", "check", "found", "how to mend it"), rows, empty="")
    return FAILED if any(f.mend for f in findings) else 0


async def _examine() -> list[Finding]:
    findings: list[Finding] = []
    async with session() as opened:
        for name, check in (
            ("PostgreSQL", _postgres),
            ("vault", _vault),
            ("Redis", _redis),
            ("workers", _workers),
            ("S3", _s3),
            ("simulator", _simulator),
        ):
            try:
                findings += await check(opened)
            except (BeatError, OSError, aiohttp.ClientError, TimeoutError) as error:
                findings.append(
                    Finding(
                        name, str(error) or type(error).__name__, f"start it, or correct its BEAT_* variable ({name})"
                    )
                )
    return findings


async def _postgres(opened: Session) -> list[Finding]:
    before = time.time()
    async with opened.engine.database.transaction() as transaction:
        row = await transaction.row(
            "SELECT current_setting('server_version') AS version, current_setting('statement_timeout') AS patience, "
            "extract(epoch FROM clock_timestamp())::float8 AS now, to_regclass('alembic_version') IS NOT NULL AS migrated"
        )
        assert row is not None
        revision = await transaction.value("SELECT version_num FROM alembic_version") if row.migrated else None
        waiting = await transaction.value("SELECT count(*) FROM lane WHERE reasons IS NOT NULL") if row.migrated else 0
    skew = abs(row.now - (before + time.time()) / 2)
    head = migrations.head()
    return [
        Finding("PostgreSQL", f"version {row.version}"),
        Finding(
            "schema", f"revision {revision}", "" if revision == head else f"run `beat migrate`; this code needs {head}"
        ),
        Finding("statement timeout", row.patience, "run `beat migrate`, which sets it" if row.patience == "0" else ""),
        Finding("clock", f"{skew:.1f} s from the database's", "" if skew < SKEW else "synchronise the clocks (NTP)"),
        Finding("lanes", f"{waiting} blocked" if waiting else "none blocked"),
    ]


async def _vault(opened: Session) -> list[Finding]:
    credentials = await opened.engine.credentials.overview()
    if not credentials:
        return [Finding("credentials", "none", "add one: beat credentials add SOURCE")]
    try:
        async with opened.engine.database.transaction() as transaction:
            await opened.engine.credentials.reveal(transaction, [c.id for c in credentials])
    except VaultError as error:
        return [Finding("vault", str(error), "put the key that is missing back into BEAT_VAULT_KEYS")]
    states = {
        state: sum(c.state == state for c in credentials)
        for state in ("ready", "probing", "cooling", "disabled", "dead")
    }
    said = ", ".join(f"{n} {state}" for state, n in states.items() if n)
    return [Finding("vault", f"opens {len(credentials)} credentials"), Finding("credentials", said)]


async def _redis(opened: Session) -> list[Finding]:
    info: dict[str, Any] = await asyncio.to_thread(opened.mailbox.server_info)
    policy = str(info.get("maxmemory_policy", "noeviction"))
    limit, used = int(info.get("maxmemory", 0)), int(info.get("used_memory", 0))
    full = limit and used > 0.7 * limit
    return [
        Finding("Redis", f"version {info.get('valkey_version') or info.get('redis_version')}"),
        Finding(
            "eviction", policy, "" if policy == "noeviction" else "set maxmemory-policy noeviction, or messages vanish"
        ),
        Finding(
            "memory",
            f"{used >> 20} MB used",
            "raise maxmemory: at the limit nothing can be acknowledged" if full else "",
        ),
    ]


async def _workers(opened: Session) -> list[Finding]:
    alive = await asyncio.to_thread(opened.mailbox.listeners)
    return [Finding("workers", f"{alive} processes listen", "" if alive else "start them: `dramatiq actors`")]


async def _s3(opened: Session) -> list[Finding]:
    url = opened.engine.settings.s3_endpoint_url
    if url is None:
        return [Finding("S3", "AWS, not asked")]
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=3)) as http, http.get(url) as response:
        return [Finding("S3", f"answers with HTTP {response.status}")]


async def _simulator(opened: Session) -> list[Finding]:
    if opened.engine.settings.simulator_url is None:
        return [Finding("providers", "the real ones")]
    async with SimulatorClient(opened.engine.settings.simulator_url) as simulator:
        faults = await simulator.faults()
    return [Finding("providers", f"simulated, {len(faults)} faults on")]
