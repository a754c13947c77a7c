"""Which results answer later requests: a result is as old as the oldest answer that it contains."""

from collections.abc import Mapping
from datetime import datetime

from beat_actors.database import Statements, Transaction, arrays

OLDER = Statements(__file__)("older")


async def no_newer_than(transaction: Transaction, results: Mapping[int, datetime | None]) -> None:
    """What is known of the entities of these requests is that old now; None: nothing is known of some. `max_age` goes by it."""
    if results:
        await transaction.run(OLDER, arrays(sorted(results.items()), "ids", "times"))
