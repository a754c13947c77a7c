"""Between a claim and its commit: the lease that is renewed while work runs, and what lets go of a claim that nothing was done for."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from beat_actors.database import Database, Statements
from beat_actors.fetches.states import Stage

SQL = Statements(__file__)


class Held(NamedTuple):
    """A fetch and the fence under which it is held. A process may hold one fetch twice, when it lost the first claim and has not learnt of it."""

    id: int
    fence: int


class Claim(Protocol):
    """What a process has claimed: every row of a claim is one."""

    @property
    def id(self) -> int: ...
    @property
    def fence(self) -> int: ...


RENEW = SQL("renew", Held)
GIVE_BACK = SQL("give_back")


def held(claims: Sequence[Claim]) -> set[Held]:
    """These claims."""
    return {Held(claim.id, claim.fence) for claim in claims}


async def renew(database: Database, asked: Sequence[Held]) -> set[Held]:
    """Renew the leases of these; those that stand. Raises `StorageUnavailable`."""
    arrays = {"ids": [claim.id for claim in asked], "fences": [claim.fence for claim in asked]}
    async with database.statements() as alone:
        return set(await alone.rows(RENEW, {"lease": database.settings.stage_lease, **arrays}))


async def give_back(database: Database, claims: Sequence[Claim], stage: Stage, *, tried: bool) -> None:
    """Let go of claims, for a sweep to send again. `tried`: they may be at fault, so the try counts."""
    if claims:
        arrays = {"ids": [claim.id for claim in claims], "fences": [claim.fence for claim in claims]}
        async with database.transaction() as transaction:
            await transaction.run(GIVE_BACK, {"untried": int(not tried), "stage": stage, **arrays})
