"""Events about assets: `beat.asset.stored` and `beat.asset.lost`, written in the transaction that stores them or gives them up."""

from collections.abc import Mapping, Sequence
from functools import cache
from uuid import UUID

from beat_actors.database import Pipeline, Statements, Transaction, jsonb
from beat_actors.platforms.registry import platforms

SQL = Statements(__file__)
TELL = SQL("tell")


async def tell(
    transaction: Transaction | Pipeline,
    *,
    stored: Sequence[UUID] = (),
    lost: Sequence[UUID] = (),
    replaced: Mapping[UUID, bytes] | None = None,
) -> None:
    """Write the events about these assets, after the statement that changed them. `replaced`: the content that an asset had before. A `Pipeline` sends
    the statement along with others."""
    if stored or lost:
        values = {
            "stored": list(stored),
            "lost": list(lost),
            "kinds": _kinds(),
            "replaced": jsonb({str(asset): content.hex() for asset, content in (replaced or {}).items()}),
        }
        await transaction.run(TELL, values)


@cache
def _kinds() -> str:
    """What consumers call the entities of each table."""
    return jsonb(
        {
            f"{name}/{entity.table}": entity.kind
            for name, platform in platforms().items()
            for entity in platform.entities
        }
    )
