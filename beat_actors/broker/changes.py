"""How something that turns read is changed between them. This module loads nothing of a turn, since the commands of operators import it."""

from collections.abc import Awaitable, Callable

from beat_actors.database import Database, Pipeline, Statements, Transaction

SQL = Statements(__file__)
LOCK = SQL("lock", str)
LOOK_AGAIN = SQL("look_again")


async def lock(writer: Transaction | Pipeline, platform: str) -> None:
    """Serialize with every other turn of the platform, cluster-wide, until the transaction ends."""
    await writer.run(LOCK, {"platform": platform})


async def between_turns(database: Database, platform: str, change: Callable[[Transaction], Awaitable[None]]) -> None:
    """Run `change` in a transaction that no turn of the platform overlaps: a turn that is under way would write back what it had read.

    It runs again where PostgreSQL breaks it off, as when the turns before it took longer than the lock's time-out. Raises
    `StorageContended` after five tries.
    """

    async def once() -> None:
        async with database.transaction() as transaction:
            await lock(transaction, platform)
            await change(transaction)

    await database.again(once)


async def look_again(transaction: Transaction, platform: str) -> None:
    """Let the next turn look again at all lanes that wait: they may have waited for just what was changed."""
    await transaction.run(LOOK_AGAIN, {"platform": platform})
