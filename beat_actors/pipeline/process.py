"""Process: one transaction that writes what was read, adds follow-ups, and ends what is done. All of it or nothing."""

import time
from collections.abc import Sequence

import psycopg

from beat_actors.database import Statements
from beat_actors.engine import Engine
from beat_actors.errors import StorageBrokenOff, StorageUnavailable
from beat_actors.failpoints import hit
from beat_actors.fetches import completion
from beat_actors.fetches.claims import Ingested, claim_ingested
from beat_actors.fetches.holding import give_back
from beat_actors.fetches.states import Stage
from beat_actors.logger import get_logger
from beat_actors.pipeline.records import unpack_records
from beat_actors.pipeline.stage import StageResult, fenced, left_undone_given_back, renewing, staged
from beat_actors.pipeline.writing import tally, write
from beat_actors.requests.lifecycle import fail_fetches

log = get_logger(__name__)
SQL = Statements(__file__)
QUARANTINE = SQL("quarantine")


async def process(engine: Engine, fetch_ids: Sequence[int], *, isolated: bool = False) -> StageResult:
    """Claim these fetches and commit them together; if one of them cannot be written, each by itself.

    `isolated`: this process holds nothing else, so fetches may be claimed that are to be isolated.
    """
    result = StageResult()
    hit("process.before_claim", fetch_ids)
    claims = await engine.database.again(lambda: claim_ingested(engine.database, fetch_ids, isolated=isolated))
    began = time.monotonic()
    if claims:
        engine.database.metrics.claimed("process", claims)
        hit("process.after_claim", fetch_ids)
    poison = [claim for claim in claims if claim.poison]
    sound = [claim for claim in claims if not claim.poison]
    async with left_undone_given_back(engine.database, claims, Stage.INGESTED):
        try:
            await engine.database.again(lambda: _commit(engine, sound, result))
        except Exception as error:
            if isinstance(error, StorageUnavailable) and not isinstance(error, StorageBrokenOff):
                raise
            # One of them cannot be written, or takes too long: its neighbours can.
            async with renewing(engine.database, sound):
                for claim in sound:
                    await _commit_alone(engine, claim, result)
        for claim in poison:
            died = "it could not be written, or its worker died, each time that it was processed"
            await _quarantine(engine, claim, died, died)
    if claims:
        staged(engine.database, "process", len(claims), time.monotonic() - began)
        hit("process.after_commit", fetch_ids)
    return result


async def _commit_alone(engine: Engine, claim: Ingested, result: StageResult) -> None:
    try:
        await engine.database.again(lambda: _commit(engine, [claim], result))
    except (psycopg.DataError, psycopg.IntegrityError) as error:
        said = f"PostgreSQL refuses it: {str(error).splitlines()[0]}"
        await _quarantine(engine, claim, said, "PostgreSQL refuses the parsed records")
    except Exception as error:
        if isinstance(error, StorageUnavailable) and not isinstance(error, StorageBrokenOff):
            raise
        engine.own_trouble.caused(error)
        broken_off = isinstance(error, StorageBrokenOff)
        log.error("not_processed", fetch=claim.id, request=claim.request_id, error=str(error), exc_info=not broken_off)
        # That PostgreSQL takes this shows that it is not PostgreSQL that is slow: where it does not, no try is counted.
        await give_back(engine.database, [claim], Stage.INGESTED, tried=True)


async def _commit(engine: Engine, claims: Sequence[Ingested], result: StageResult) -> None:
    if not claims:
        return
    async with engine.database.transaction() as transaction:
        passed = await completion.written(transaction, claims)
        done = [claim for claim in claims if claim.id in passed]
        wrote = await write(transaction, [(claim, unpack_records(claim.records)) for claim in done])
        hit("process.before_commit", passed)
    result.zombies += len(claims) - len(done)
    fenced(engine.database, "process", len(claims) - len(done))
    tally(done, wrote.judged)
    result.wake |= wrote.wake


async def _quarantine(engine: Engine, claim: Ingested, error: str, message: str) -> None:
    """`error` is for operators, `message` for the request's account: the first may quote what the provider said."""
    async with engine.database.transaction() as transaction:
        await transaction.run(QUARANTINE, {"error": error, "id": claim.id})
        await fail_fetches(transaction, [(claim.id, {"code": "poison", "message": message})], stages=(Stage.INGESTED,))
    log.error("quarantined", fetch=claim.id, request=claim.request_id, error=message)
