"""What providers said to be missing or private: intake answers from it, the end of a request writes it, and here the oldest of it is forgotten."""

from beat_actors.database import Database, Statements
from beat_actors.requests.swept import Swept

BATCH, UNASKED = 1000, 30
"""Rows of one run, and the days since something could have been asked for again after which it is forgotten."""
SQL = Statements(__file__)
FORGET = SQL("forget")


async def forget(database: Database, epoch: int | None = None) -> Swept:
    """Forget what nobody has asked for again for long."""
    async with database.statements() as alone:
        return Swept(count=await alone.run(FORGET, {"days": UNASKED, "batch": BATCH, "epoch": epoch}))
