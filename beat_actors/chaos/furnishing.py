"""What a new stack is given before its first run: credentials, and a key that may call as often as it wants."""

from collections.abc import Mapping
from hashlib import blake2b

from beat_actors.access import keys
from beat_actors.access.keys import MOST_CALLS, NewKey
from beat_actors.access.scopes import Scope
from beat_actors.engine import Engine
from beat_actors.settings import Settings

# So few that the providers' limits are felt, so many that they do not decide how long a run takes.
CREDENTIALS = {"graphapi": 3, "arraybobo": 3, "jotucker": 4, "lama": 3, "bestsolutions": 3}


async def furnish(settings: Settings) -> dict[str, str]:
    """Add the credentials. Returns the header with which the API is called."""
    engine = Engine.start(settings, name="chaos")
    try:
        async with engine.database.transaction() as transaction:
            key = NewKey("chaos", (Scope.SUBMIT,), rate_limit=MOST_CALLS)
            created = await keys.create(transaction, key, actor="beat chaos")
        await _add(engine, CREDENTIALS)
    finally:
        await engine.close()
    return {"Authorization": f"Bearer {created.minted.text}"}


async def add_credentials(settings: Settings, counts: Mapping[str, int]) -> None:
    """Give sources so many credentials each."""
    engine = Engine.start(settings, name="chaos")
    try:
        await _add(engine, counts)
    finally:
        await engine.close()


async def _add(engine: Engine, counts: Mapping[str, int]) -> None:
    for source, count in counts.items():
        for i in range(count):
            # Nothing that the simulator may say in an answer: an answer that repeats a key is not kept.
            secret = {"key": blake2b(f"{source} {i}".encode(), digest_size=12).hexdigest()}
            if source == "graphapi":
                secret = {"token": f"chaos-token-{i}", "user_id": str(17_841_400_000_000_001 + i)}
            await engine.credentials.add(source, secret)
