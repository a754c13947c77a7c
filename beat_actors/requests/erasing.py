"""What stands beside a request and tells what it asked for: hashes of its tags and of its work. The erasure of a person takes it away (`privacy/pages`)."""

from collections.abc import Sequence

from beat_actors.database import Statements, Transaction

SQL = Statements(__file__)
UNTAG, TAG = SQL("untag"), SQL("tag")


async def before(transaction: Transaction, ids: Sequence[int]) -> None:
    """Call it before the texts of these requests, which the caller has locked, are rewritten."""
    await transaction.run(UNTAG, {"ids": list(ids)})


async def after(transaction: Transaction, ids: Sequence[int]) -> None:
    """Call it when they are."""
    await transaction.run(TAG, {"ids": list(ids)})
