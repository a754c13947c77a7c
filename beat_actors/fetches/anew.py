"""How a fetch that has failed, or waits for another source, begins anew: it is asked for again, or its payload is read again."""

from collections.abc import Mapping, Sequence

from beat_actors.database import Statements, Transaction

SQL = Statements(__file__)
ASK_AGAIN = SQL("ask_again")
REREAD = SQL("reread", int)


async def ask_again(transaction: Transaction, lanes: Mapping[int, int]) -> None:
    """Let fetches, which the caller has locked, wait in these lanes, with every source open to them."""
    await transaction.run(ASK_AGAIN, {"ids": list(lanes), "lanes": list(lanes.values())})


async def reread(transaction: Transaction, entries: Sequence[int]) -> list[int]:
    """Let the payloads of these entries of the quarantine be read; their fetches, which the caller has locked."""
    return await transaction.rows(REREAD, {"entries": list(entries)})
