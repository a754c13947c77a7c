"""The key that the tools on this machine call the API with: made where none works, kept in the data root, shown by who made it."""

from dataclasses import dataclass, field

from beat_actors.access import keys
from beat_actors.access.keyring import Keyring
from beat_actors.access.keys import NewKey
from beat_actors.access.scopes import Scope
from beat_actors.database import Database
from beat_actors.errors import Unauthenticated
from beat_actors.local.home import Home
from beat_actors.settings import Settings

FILE = "api.key"


@dataclass(frozen=True, slots=True)
class FirstKey:
    """`new`: it was made just now, and is to be shown."""

    text: str = field(repr=False)
    new: bool


async def first_key(home: Home, settings: Settings) -> FirstKey:
    """The data root's key, which may do everything. Wants a migrated database."""
    database = Database(settings, name="up")
    keyring = Keyring(database)
    try:
        kept = (home.read(FILE) or "").strip()
        try:
            await keyring.caller(kept)
        except Unauthenticated:
            async with database.transaction() as transaction:
                created = await keys.create(transaction, NewKey("this machine", (Scope.ADMIN,)), actor="beat up")
                # Before the commit: a kept text that is no key is replaced the next time, a key that nobody has would stay.
                home.write(FILE, f"{created.minted.text}\n")
            return FirstKey(created.minted.text, new=True)
        return FirstKey(kept, new=False)
    finally:
        await keyring.close()
        await database.close()
