"""Who answers for an endpoint: the API key that made it. Without a working key nothing is sent to it.

Endpoints made on the command line have no maker: those who reach the database answer for them.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from beat_actors.database import Statements, Transaction, arrays
from beat_actors.webhooks.signing import new_secret

if TYPE_CHECKING:
    from beat_actors.credentials.vault import Vault

SEALED_FOR = "webhook endpoint"
"""In the place of a source in the vault: no source has a space in its name."""
SQL = Statements(__file__)
PAUSED_BY = SQL("paused_by", int)
MADE_BY = SQL("made_by", int)
HAND_OVER = SQL("hand_over")


@dataclass(frozen=True, slots=True)
class HandedOver:
    """An endpoint with a new maker. `secret` is the only copy of what signs from now on."""

    id: int
    secret: str


async def paused_by(transaction: Transaction, key_id: int) -> list[int]:
    """The active endpoints that this key made: those that are sent nothing once it has ended."""
    return await transaction.rows(PAUSED_BY, {"key": key_id})


async def hand_over(
    transaction: Transaction, vault: "Vault", *, before: int, after: int, until: datetime
) -> list[HandedOver]:
    """Give what the key `before` made to the key `after`.

    The holder of the old key may know the signing secrets, so each endpoint gets a new one; the old one signs as well `until` the old
    key ends.
    """
    made = [HandedOver(number, new_secret()) for number in await transaction.rows(MADE_BY, {"key": before})]
    if made:
        sealed = [(one.id, *vault.seal(one.id, SEALED_FOR, {"secret": one.secret})) for one in made]
        values = {"after": after, "until": until}
        await transaction.run(HAND_OVER, values | arrays(sealed, "ids", "key_ids", "secrets"))
    return made
