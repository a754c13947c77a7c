"""Objects whose bytes are not those that their name says: a reader found out, and one of the assets is uploaded again.

`storing` compares the object and replaces it. A reader that finds the same damage meanwhile changes nothing.
"""

from beat_actors.database import Database, Statements

AGAIN = Statements(__file__)("again", bool)


async def upload_again(database: Database, content: bytes) -> bool:
    """Returns whether an asset with this content is uploaded again because of this call. Raises `StorageUnavailable`."""
    async with database.statements() as alone:
        return await alone.only(AGAIN, {"content": content})
