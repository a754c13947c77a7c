"""Ingest: parse and validate what was retrieved, by the source's parser. A payload that cannot be read harms only itself."""

import asyncio
import time
import traceback
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import msgspec
import psycopg

from beat_actors.broker.breaker import bucket_of
from beat_actors.database import Statements, Transaction, jsonb
from beat_actors.engine import Engine
from beat_actors.errors import Malformed, Missing, Private, StorageUnavailable
from beat_actors.failpoints import hit
from beat_actors.fetches import completion
from beat_actors.fetches.claims import Retrieved, claim_retrieved
from beat_actors.fetches.holding import give_back
from beat_actors.fetches.settlements import settle, settlement_row
from beat_actors.fetches.states import Stage
from beat_actors.holds import cohorts
from beat_actors.logger import get_logger
from beat_actors.payloads.structure import structure_of
from beat_actors.pipeline.builds import software
from beat_actors.pipeline.holes import read as read_page
from beat_actors.pipeline.listing import holding_the_mark, listing_of
from beat_actors.pipeline.records import decode, encode, pack, unpack
from beat_actors.pipeline.stage import StageResult, fenced, left_undone_given_back, renewing, staged
from beat_actors.pipeline.writing import tally, write
from beat_actors.platforms.interface import Endpoint, FetchSpec, Outcome, Parsed, Platform, Record, observed
from beat_actors.platforms.registry import platforms
from beat_actors.scores.tally import TALLY, filling

log = get_logger(__name__)


Read = tuple[Retrieved, dict[str, Any], Outcome]
"""A claim, the row that is committed of it, and what its payload came to."""

SQL = Statements(__file__)
SET_ASIDE = SQL("set_aside")


async def ingest(
    engine: Engine, fetch_ids: Sequence[int], *, isolated: bool = False, go_on: bool = False
) -> StageResult:
    """Claim these fetches, and `read` them. `isolated`: this process holds nothing else, so fetches may be claimed that are to be isolated."""
    result = StageResult()
    hit("ingest.before_claim", fetch_ids)
    claims = await engine.database.again(lambda: claim_retrieved(engine.database, fetch_ids, isolated=isolated))
    if not claims:
        return result
    engine.database.metrics.claimed("ingest", claims)
    hit("ingest.after_claim", fetch_ids)
    async with left_undone_given_back(engine.database, claims, Stage.RETRIEVED), renewing(engine.database, claims):
        await read(engine, claims, result, go_on=go_on)
    hit("ingest.after_commit", fetch_ids)
    return result


async def read(engine: Engine, claims: Sequence[Retrieved], result: StageResult, *, go_on: bool) -> None:
    """Parse the payloads of these claims, and commit records or the reason why there are none. What is to be done next is added to `result`.

    `go_on`: what can be read is written at once, as the stage `process` does, so that the ordinary way has one claim and one transaction
    less. Records are kept for that stage only where this fails.
    """
    began = time.monotonic()
    found = await _read_all(engine, claims)
    hit("ingest.after_parse", [claim.id for claim in claims])
    if go_on:
        found = await _go_on(engine, found, result)
    try:
        if found:
            await engine.database.again(lambda: _commit(engine, found, result))
    except StorageUnavailable:
        raise
    except Exception:  # noqa: BLE001 - one of them cannot be stored: its neighbours can
        for item in found:
            await _commit_alone(engine, item, result)
    staged(engine.database, "ingest", len(claims), time.monotonic() - began)


async def _read_all(engine: Engine, claims: Sequence[Retrieved]) -> list[Read]:
    """Parse the payloads. One for which this process has no memory is given back: another process may read it. Between two payloads the
    process's calls go on."""
    read: list[Read] = []
    canaries = await engine.canaries.shares(engine.database, (f"{claim.source}/{claim.operation}" for claim in claims))
    for claim in claims:
        await asyncio.sleep(0)
        try:
            read.append((claim, *_named(claim, *_read(claim, canaries, engine.settings.deploy))))
        except MemoryError as error:
            engine.own_trouble.caused(error)
            await give_back(engine.database, [claim], Stage.RETRIEVED, tried=True)
    return read


async def _go_on(engine: Engine, read: list[Read], result: StageResult) -> list[Read]:
    """Write what can be read; what is left. Only at the first try: what kills its worker when it is written is to be found by its stage."""
    good = [item for item in read if item[2] is Outcome.PARSED and item[0].stage_attempts == 1]
    if not good:
        return read
    ids = [claim.id for claim, *_ in good]
    try:
        hit("through.before_write", ids)
        await engine.database.again(lambda: _write_through(engine, good, result))
    except Exception as error:  # noqa: BLE001 - which of them it was, the stage finds out; PostgreSQL may refuse this write alone
        engine.own_trouble.caused(error)
        log.warning("not_written_at_once", fetches=len(good), error=type(error).__name__)
        return read
    hit("through.after_commit", ids)
    return [item for item in read if item[0].id not in set(ids)]


async def _write_through(engine: Engine, good: Sequence[Read], result: StageResult) -> None:
    """From the payload to the end of the fetch in one transaction."""
    async with engine.database.transaction() as transaction:
        passed = await completion.written_at_once(transaction, [(claim, row["version"]) for claim, row, _ in good])
        done = [item for item in good if item[0].id in passed]
        await _keep_aside(transaction, done)
        wrote = await write(
            transaction,
            [
                (msgspec.structs.replace(claim, parser_version=row["version"]), decode(row["records"]))
                for claim, row, _ in done
            ],
        )
        hit("through.before_commit", passed)
    _count(engine, good, done, result)
    tally([claim for claim, *_ in done], wrote.judged)
    result.wake |= wrote.wake


async def _keep_aside(transaction: Transaction, done: Sequence[Read]) -> None:
    """The records that could not be read, and what the broker is to settle."""
    holes = [
        {"id": row["id"], "error": hole.error[:1000], "path": hole.path, "shape": hole.shape}
        for _, row, _ in done
        for hole in row.get("holes", ())
    ]
    if holes:
        await transaction.run(SET_ASIDE, {"holes": jsonb(holes)})
    await settle(transaction, _settlements(done))


def _count(engine: Engine, read: Sequence[Read], done: Sequence[Read], result: StageResult) -> None:
    for claim, row, outcome in done:
        of = (claim.platform, claim.source, claim.operation)
        if outcome is Outcome.PARSED:
            TALLY.read(*of, row["filling"])
        else:
            TALLY.unread(*of, outcome)
    result.zombies += len(read) - len(done)
    fenced(engine.database, "ingest", len(read) - len(done))
    result.wake |= {claim.platform for claim, _, outcome in done if outcome is not Outcome.PARSED or claim.probe}


async def _commit_alone(engine: Engine, item: Read, result: StageResult) -> None:
    claim, row, _ = item
    try:
        await engine.database.again(lambda: _commit(engine, [item], result))
    except psycopg.DataError as error:
        refused = {"id": row["id"], "fence": row["fence"], "version": row["version"], "kind": "malformed"}
        said = f"PostgreSQL cannot store the parsed records: {str(error).splitlines()[0]}"
        unread = _named(claim, {**refused, "error": said}, Outcome.MALFORMED)
        await _commit(engine, [(claim, *unread)], result)
    except StorageUnavailable:
        raise
    except Exception:
        log.exception("not_ingested", fetch=claim.id, request=claim.request_id)
        await give_back(engine.database, [claim], Stage.RETRIEVED, tried=True)


async def _commit(engine: Engine, read: Sequence[Read], result: StageResult) -> None:
    async with engine.database.transaction() as transaction:
        good = [row for _, row, outcome in read if outcome is Outcome.PARSED]
        records = [(row["id"], pack(row["records"])) for row in good]
        results = [
            {name: row[name] for name in row if name not in ("records", "holes", "filling")} for _, row, _ in read
        ]
        passed = await completion.read(transaction, results, records)
        done = [item for item in read if item[0].id in passed]
        await _keep_aside(transaction, done)
        await cohorts.count_unread(transaction, _unread(done))
        hit("ingest.before_commit", [fetch_id for fetch_id, _ in records])
    _count(engine, read, done, result)
    result.next += [claim.id for claim, _, outcome in done if outcome is Outcome.PARSED]


def _unread(done: Sequence[Read]) -> Counter[cohorts.Key]:
    """How many answers each parser version could not read."""
    return Counter(
        cohorts.Key(claim.platform, claim.source, claim.operation, row["version"])
        for claim, row, outcome in done
        if outcome is Outcome.MALFORMED
    )


def _read(claim: Retrieved, canaries: Mapping[str, float], deploy: str | None) -> tuple[dict[str, Any], Outcome]:
    """Parse one payload: the row that is committed, and what it came to. Nothing that a payload does raises here. `canaries`: the share of answers
    that the next parser reads, by source and operation. `deploy`: the name of what runs."""
    row: dict[str, Any] = {"id": claim.id, "fence": claim.fence, "version": 0}
    if claim.poison:
        return row | {"kind": "poison", "error": "its worker died each time that it was parsed"}, Outcome.MALFORMED
    try:
        platform = platforms()[claim.platform]
        declared = platform.sources[claim.source].endpoints[claim.operation]
    except KeyError as error:
        said = (
            f"this version of Beat has no {error} to read it with ({claim.platform}, {claim.source}, {claim.operation})"
        )
        return row | {"kind": "malformed", "error": said}, Outcome.MALFORMED
    endpoint = declared.reading(claim.id, canaries.get(f"{claim.source}/{claim.operation}", 0.0))
    row["version"] = endpoint.version
    if claim.body is None:
        return row | {"kind": "malformed", "error": "its payload is gone"}, Outcome.MALFORMED
    spec = FetchSpec(claim.operation, claim.params, claim.cursor, claim.source, claim.page, claim.owner)
    hit("ingest.parse", (claim.source, claim.params))
    try:
        parsed, holes = read_page(lambda body: _parse(endpoint, body, spec), unpack(claim.body), platform.record_lists)
        if parsed.next_cursor is None and claim.next_cursor is not None:
            parsed = replace(parsed, next_cursor=claim.next_cursor)
        flow = platform.flows[claim.flow]
        listing, fresh = listing_of(claim.listing).read(parsed, platform)
        # A source that is asked about a held record answers one question; what follows the record was asked for when it was read.
        is_witness = claim.witness_of is not None
        wanted = (
            () if is_witness else flow.follow_ups(spec, claim.request_params, fresh, claim.items + len(fresh.records))
        )
        listing, follow_ups = listing.bounded(spec, wanted)
        if listing.partial is not None and flow.resume is not None:
            follow_ups = holding_the_mark(follow_ups, flow.resume.field)
        records = encode(
            {
                "entities": _by_table(platform, parsed, endpoint),
                "follow_ups": follow_ups,
                "items": 0 if is_witness else len(fresh.records),
                "partial": listing.partial,
                "software": software(deploy),
            }
        )
    except Missing as error:
        return row | {"error": str(error)}, Outcome.MISSING
    except Private as error:
        return row | {"error": str(error)}, Outcome.PRIVATE
    except Malformed as error:
        return row | {"kind": "malformed", "error": str(error), "path": error.path}, Outcome.MALFORMED
    except MemoryError:
        raise
    except Exception as error:  # noqa: BLE001 - a parser's bug is that payload's misfortune, not its neighbours'
        where = traceback.extract_tb(error.__traceback__)[-1]
        said = f"{type(error).__name__}: {error} ({where.name}, line {where.lineno})"
        return row | {"kind": "malformed", "error": said[:1000]}, Outcome.MALFORMED
    return row | {"records": records, "holes": holes, "filling": filling(parsed.records)}, Outcome.PARSED


def _named(claim: Retrieved, row: dict[str, Any], outcome: Outcome) -> tuple[dict[str, Any], Outcome]:
    """With the structure of a payload that goes to quarantine, unless to look at it may kill this process too."""
    if row.get("kind") != "malformed" or claim.body is None:
        return row, outcome
    try:
        return row | {"shape": structure_of(unpack(claim.body))}, outcome
    except ValueError:  # the frame is damaged
        return row, outcome


def _parse(endpoint: Endpoint, body: bytes, spec: FetchSpec) -> Parsed:
    try:
        return endpoint.parse(body, spec)
    except RecursionError:
        raise Malformed("the answer is nested too deeply") from None


def _by_table(platform: Platform, parsed: Parsed, endpoint: Endpoint) -> dict[str, list[Record]]:
    by_table: dict[str, list[Record]] = {}
    for record in parsed.records:
        by_table.setdefault(platform.entity_of(record).table, []).append(observed(record, endpoint.tells))
    return by_table


def _settlements(done: Sequence[Read]) -> list[dict[str, Any]]:
    rows = []
    parsed: defaultdict[tuple[str, str, str, bool, str, int], list[float]] = defaultdict(list)
    for claim, row, outcome in done:
        answered = claim.payload_at.timestamp()
        if outcome is Outcome.PARSED:
            of = (claim.platform, claim.source, claim.operation, claim.probe, claim.owner or "", bucket_of(answered))
            parsed[of].append(answered)
        else:
            # The credential was settled when the call ended; what the parser finds is no fault of its own.
            said = {"code": row.get("path") or "", "detail": row["error"][:300], "began": answered}
            rows.append(settlement_row(claim, outcome.value, credential_id=0, **said))
    for (platform, source, operation, probe, owner, _), times in parsed.items():
        rows.append(
            {"platform": platform, "source": source, "operation": operation, "probe": probe, "owner": owner}
            | {"credential_id": 0, "outcome": Outcome.PARSED.value, "code": "", "detail": "", "calls": len(times)}
            | {"began": min(times)}
        )
    return rows
