"""Takes a restore back: its observations count again, and rows that nobody has observed since are put back as they were, bit by bit.

A row that was observed again since is the fold of its log with these observations: what is newer stays, and is named.
"""

from collections.abc import Sequence
from datetime import datetime

import msgspec

from beat_actors.database import Transaction, arrays
from beat_actors.restoring import statements
from beat_actors.restoring.change import change_of
from beat_actors.restoring.reading import Key, folds, names_in
from beat_actors.restoring.selection import Target
from beat_actors.restoring.statements import COLUMNS, HeldItem, Written

_DECODER = msgspec.json.Decoder(dict[str, msgspec.Raw])


async def undo(
    transaction: Transaction, job: int, target: Target, keys: Sequence[Key], *, since: datetime, until: datetime
) -> tuple[list[Written], int]:
    """What was written, and how many entities keep a field that was observed since."""
    names = {**names_in(keys), "job": job, "platform": target.platform, "since": since, "until": until}
    await statements.by_keys(transaction, statements.hold(target), names)
    await transaction.run(statements.include(target), names)
    held = await statements.by_keys(transaction, statements.held_items(target), names)
    # Nothing is written where the restore changed nothing, or the entity is gone since.
    back = {one.nth: one.before for one in held if one.untouched}
    touched = [one for one in held if not one.untouched and one.row is not None and one.fields]
    kept = await _folded(transaction, target, keys, touched, since, back) if touched else {}
    given = [
        (*keys[one.nth - 1], back.get(one.nth), msgspec.json.encode(kept.get(one.nth, [])).decode()) for one in held
    ]
    columns = tuple(await transaction.rows(COLUMNS, {"table": target.entity.table}))
    values = {**arrays(given, "keys", "accounts", "owners", "before", "kept"), "job": job}
    return await statements.by_keys(transaction, statements.put_back(target, columns), values), sum(
        bool(some) for some in kept.values()
    )


async def _folded(
    transaction: Transaction,
    target: Target,
    keys: Sequence[Key],
    touched: Sequence[HeldItem],
    since: datetime,
    back: dict[int, str | None],
) -> dict[int, list[str]]:
    """Add the rows that are to be written to `back`; of each the fields that are not as they were."""
    wanted = {keys[one.nth - 1]: one.fields for one in touched}
    folded = await folds(transaction, target, wanted, begins=since)
    rows = []
    for one in touched:
        key = keys[one.nth - 1]
        change = change_of(target.entity, _DECODER.decode(one.row or "{}"), folded[key], wanted[key])
        rows.append((one, one.row, "{}" if change.removed else change.text))
    values = arrays([row[1:] for row in rows], "rows", "values")
    kept = {}
    for merged in await transaction.rows(statements.merged(target), values):
        one = rows[merged.nth - 1][0]
        back[one.nth] = merged.row
        before, now = _DECODER.decode(one.before or "{}"), _DECODER.decode(merged.row or "{}")
        kept[one.nth] = [name for name in one.fields if before.get(name) != now.get(name)]
    return kept
