"""Entities that a restore changed are asked for again, with the lowest priority."""

import hashlib
from collections.abc import Sequence

import msgspec

from beat_actors.database import Transaction
from beat_actors.errors import BeatError, StorageUnavailable
from beat_actors.requests import intake
from beat_actors.requests.intake import NewRequest
from beat_actors.requests.states import Priority
from beat_actors.restoring import statements
from beat_actors.restoring.reading import Key, names_in
from beat_actors.restoring.selection import Target

OWNER = "restore"
"""The owner of the idempotency keys."""


async def scrape_again(transaction: Transaction, job: int, target: Target, keys: Sequence[Key]) -> int:
    """Ask once for each of these entities that can be asked for; how many are."""
    if not keys:
        return 0
    wanted = []
    for held in await statements.by_keys(transaction, statements.hold(target), names_in(keys)):
        request = None if held.row is None else _request(job, target, keys[held.nth - 1], msgspec.json.decode(held.row))
        if request is None:
            continue
        try:
            wanted.append(intake.prepare(request))
        except StorageUnavailable:
            raise
        except BeatError:
            continue  # what is known of it does not make a request, so it is refreshed when somebody reads it
    if wanted:
        await intake.submit(transaction, wanted)
    return len(wanted)


def _request(job: int, target: Target, key: Key, row: dict[str, object]) -> NewRequest | None:
    for refetch in target.entity.refetch:
        params = {param: row[field] for param, field in refetch.params.items() if row.get(field) is not None}
        if len(params) == len(refetch.params):
            return NewRequest(
                target.platform,
                refetch.flow,
                {**params, **refetch.fixed},
                priority=Priority.BATCH,
                account_id=key.account_id or None,
                idempotency_key=f"restore {job} {hashlib.sha256(chr(0).join((target.entity.table, *key)).encode()).hexdigest()}",
                idempotency_owner=OWNER,
            )
    return None
