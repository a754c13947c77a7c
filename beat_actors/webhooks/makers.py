"""Who answers for an endpoint: the API key that made it. Without a working key nothing is sent to it.

Endpoints made on the command line have no maker: whoever reaches the database answers for them.
"""

from dataclasses import dataclass
from datetime import datetime

from beat_actors.credentials.vault import Vault
from beat_actors.database import Transaction
from beat_actors.webhooks.signing import new_secret

SEALED_FOR = "webhook endpoint"
"""In the place of a source in the vault: no source has a space in its name."""

# Of the endpoint `e`. `least` passes over NULL: a key that is not revoked and does not expire has no end.
MAKER_LIVES = "NOT coalesce((SELECT least(k.revoked_at, k.expires_at) <= clock_timestamp() FROM api_key k WHERE k.id = e.api_key_id), false)"
PAUSED_BY = "SELECT id FROM webhook_endpoint WHERE api_key_id = %s AND state = 'active' ORDER BY id"
MADE_BY = "SELECT id FROM webhook_endpoint WHERE api_key_id = %s ORDER BY id FOR NO KEY UPDATE"
HAND_OVER = """
UPDATE webhook_endpoint e SET api_key_id = %s, old_key_id = e.key_id, old_secret = e.secret, old_until = %s,
    key_id = n.key_id, secret = n.secret
FROM unnest(%s::bigint[], %s::text[], %s::bytea[]) AS n(id, key_id, secret) WHERE e.id = n.id
"""


@dataclass(frozen=True, slots=True)
class HandedOver:
    """An endpoint with a new maker. `secret` is the only copy of what signs from now on."""

    id: int
    secret: str


async def paused_by(transaction: Transaction, key_id: int) -> list[int]:
    """The active endpoints that this key made: those that are sent nothing once it has ended."""
    return [row.id for row in await transaction.rows(PAUSED_BY, (key_id,))]


async def hand_over(
    transaction: Transaction, vault: Vault, *, before: int, after: int, until: datetime
) -> list[HandedOver]:
    """Give what the key `before` made to the key `after`.

    The holder of the old key may know the signing secrets, so each endpoint gets a new one; the old one signs as well `until` the old
    key ends.
    """
    made = [HandedOver(row.id, new_secret()) for row in await transaction.rows(MADE_BY, (before,))]
    if made:
        sealed = [vault.seal(one.id, SEALED_FOR, {"secret": one.secret}) for one in made]
        columns = ([one.id for one in made], [key_id for key_id, _ in sealed], [secret for _, secret in sealed])
        await transaction.run(HAND_OVER, (after, until, *columns))
    return made
