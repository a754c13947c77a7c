"""The key of the tools on this machine: one that works, private, and shown only by who made it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from beat_actors.access import keys
from beat_actors.access.keyring import Keyring
from beat_actors.access.scopes import Scope
from beat_actors.access.tokens import mint
from beat_actors.database import Database
from beat_actors.local.errors import LocalError
from beat_actors.local.first_key import FILE, FirstKey, first_key
from beat_actors.local.home import Home
from beat_actors.local.stack import Stack
from beat_actors.settings import Settings


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    home = Home(tmp_path / ".beat")
    home.lock()
    yield home
    home.erase()


async def listed(database: Database) -> list[keys.KeyView]:
    async with database.transaction() as transaction:
        return await keys.overview(transaction)


async def test_it_is_made_once_may_do_everything_and_is_nobody_elses(home, settings: Settings, database) -> None:
    made = await first_key(home, settings)
    assert (home.path / FILE).stat().st_mode & 0o777 == 0o600
    assert home.read(FILE) == f"{made.text}\n"
    again = await first_key(home, settings)
    assert (made.new, again) == (True, FirstKey(made.text, new=False))
    keyring = Keyring(database)
    assert (await keyring.caller(made.text)).scopes == frozenset(Scope)
    await keyring.close()
    (found,) = await listed(database)
    assert (found.name, found.account_id) == ("this machine", None)
    assert made.text.rpartition("_")[2] not in repr(made)


@pytest.mark.parametrize("spoilt", ["removed", "another installation's", "revoked", "cut off"])
async def test_one_that_does_not_work_any_more_is_replaced(home, settings: Settings, database, spoilt: str) -> None:
    made = await first_key(home, settings)
    if spoilt == "removed":
        (home.path / FILE).unlink()
    elif spoilt == "another installation's":
        home.write(FILE, mint().text)
    elif spoilt == "cut off":
        home.write(FILE, made.text[:-3])
    else:
        async with database.transaction() as transaction:
            await keys.revoke(transaction, made.text, reason="test", actor="test")
    new = await first_key(home, settings)
    assert new.new
    assert new.text != made.text
    assert not (await first_key(home, settings)).new


def test_there_is_none_before_the_stack_was_started(tmp_path: Path) -> None:
    stack = Stack(tmp_path / ".beat")
    try:
        with pytest.raises(LocalError, match="has not been started"):
            _ = stack.authorization
    finally:
        stack.close()
        stack.home.erase()
