"""Secrets at rest: bound to their credential, rotated while in use, shown by nothing."""

import base64
import json
import logging
import pickle

import pytest

from beat_actors.credentials.manager import CredentialManager
from beat_actors.credentials.vault import Vault
from beat_actors.database import Database
from beat_actors.errors import BadInput, NoAvailableSources, NotFound, VaultError
from beat_actors.settings import Settings
from tests.conftest import VAULT_KEYS
from tests.worlds import TOY, registered

CANARY = "canary-9e41c7"
NEW_KEY = f"second:{base64.b64encode(b'k' * 32).decode()}"


@pytest.fixture(autouse=True)
def toy():
    with registered(TOY):
        yield


@pytest.fixture
def manager(database: Database, settings: Settings) -> CredentialManager:
    return CredentialManager(database, Vault(settings))


async def test_a_secret_comes_back_and_nothing_prints_it(manager: CredentialManager, database: Database) -> None:
    credential, new = await manager.add("toy-first", {"key": CANARY})
    assert new
    async with database.transaction() as transaction:
        opened = (await manager.reveal(transaction, [credential]))[credential]
        stored = await transaction.row("SELECT * FROM credential")
    assert opened["key"] == CANARY
    assert CANARY not in f"{opened} {opened!r} {stored}"
    for leak in (lambda: json.dumps(opened), lambda: pickle.dumps(opened)):
        with pytest.raises(TypeError):
            leak()
    logging.getLogger("test").warning("%s", opened)
    assert CANARY.encode() not in bytes(stored.secret)


async def test_a_ciphertext_copied_to_another_row_does_not_open(manager: CredentialManager, database: Database) -> None:
    one, _ = await manager.add("toy-first", {"key": "one"})
    two, _ = await manager.add("toy-first", {"key": "two"})
    async with database.transaction() as transaction:
        await transaction.run(
            "UPDATE credential SET secret = (SELECT secret FROM credential WHERE id = %s) WHERE id = %s", (one, two)
        )
    async with database.transaction() as transaction:
        with pytest.raises(VaultError, match=f"credential {two} does not open"):
            await manager.reveal(transaction, [two])


async def test_s3_9_the_same_secret_twice_is_one_credential(manager: CredentialManager) -> None:
    first, _ = await manager.add("toy-first", {"key": CANARY})
    assert await manager.add("toy-first", {"key": CANARY}) == (first, False)
    other, new = await manager.add("toy-second", {"key": CANARY})
    assert new
    assert other != first


async def test_rotation_seals_everything_anew_and_the_old_key_can_go(
    manager: CredentialManager, database: Database, settings: Settings
) -> None:
    ids = [(await manager.add("toy-first", {"key": f"{CANARY}-{i}"}))[0] for i in range(5)]
    both = Vault(settings.model_copy(update={"vault_keys": type(settings.vault_keys)(f"{NEW_KEY},{VAULT_KEYS}")}))
    only_new = Vault(settings.model_copy(update={"vault_keys": type(settings.vault_keys)(NEW_KEY)}))
    async with database.transaction() as transaction:
        with pytest.raises(VaultError, match="add it back"):
            await CredentialManager(database, only_new).reveal(transaction, ids)
    assert await CredentialManager(database, both).rotate_keys(batch=2) == 5
    assert await CredentialManager(database, both).rotate_keys() == 0
    async with database.transaction() as transaction:
        opened = await CredentialManager(database, only_new).reveal(transaction, ids)
        assert await transaction.value("SELECT count(*) FROM credential WHERE key_id <> 'second'") == 0
    assert [opened[i]["key"] for i in ids] == [f"{CANARY}-{i}" for i in range(5)]
    # A duplicate is still noticed under the new key.
    assert await CredentialManager(database, only_new).add("toy-first", {"key": f"{CANARY}-3"}) == (ids[3], False)


@pytest.mark.parametrize(
    ("source", "secret", "said"),
    [
        ("nowhere", {"key": "x"}, "there is no source"),
        ("toy-first", {}, "has the fields key"),
        ("toy-first", {"key": ""}, "none of them empty"),
        ("toy-first", {"key": "x", "more": "y"}, "has the fields key"),
        ("toy-first", {"key": "x\0"}, "U+0000"),
    ],
)
async def test_a_bad_credential_is_refused_with_a_sentence(manager: CredentialManager, source, secret, said) -> None:
    with pytest.raises(BadInput) as refused:
        await manager.add(source, secret)
    assert said in str(refused.value)
    assert await manager.overview() == []


async def test_s3_8_what_people_do_is_recorded_and_takes_effect(manager: CredentialManager, database: Database) -> None:
    credential, _ = await manager.add("toy-first", {"key": CANARY})
    assert await manager.fetch_enabled_sources("toy", "look") == ["toy-first"]
    await manager.disable(credential, reason="leaked")
    assert await manager.fetch_enabled_sources("toy", "look") == []
    await manager.enable(credential, reason="replaced")
    assert await manager.get_enabled_cred("toy", "look") == credential
    assert await manager.fetch_enabled_sources("toy", "look", exclusions=["toy-first"]) == []
    with pytest.raises(NotFound):
        await manager.reset(credential + 1, reason="no such")
    async with database.transaction() as transaction:
        events = await transaction.rows("SELECT kind, cause->>'reason' AS reason FROM credential_event ORDER BY id")
    assert [(event.kind, event.reason) for event in events] == [
        ("added", None),
        ("disabled", "leaked"),
        ("enabled", "replaced"),
    ]


async def test_s1_8_sources_and_single_credentials_are_excluded(manager: CredentialManager) -> None:
    one, two, other = [
        (await manager.add(source, {"key": key}))[0]
        for source, key in (("toy-first", "a"), ("toy-first", "b"), ("toy-second", "c"))
    ]

    async def sources(*exclusions: str | int) -> list[str]:
        return await manager.fetch_enabled_sources("toy", "look", exclusions=exclusions)

    assert await sources() == ["toy-first", "toy-second"]
    assert await sources(one) == ["toy-first", "toy-second"]  # its source has another
    assert await sources(one, two) == ["toy-second"]
    assert await sources("toy-first") == ["toy-second"]
    assert await sources("toy-first", other) == await sources(one, two, other) == []
    for _ in range(20):
        assert await manager.get_enabled_cred("toy", "look", exclusions=[one]) == two
    assert await manager.get_enabled_cred("toy", "look", exclusions=[one, two]) == other
    assert await manager.get_enabled_cred("toy", "look", exclusions=["toy-first"]) == other
    with pytest.raises(NoAvailableSources) as refused:
        await manager.get_enabled_cred("toy", "look", exclusions=[one, two, other])
    assert {reason["source"] for reason in refused.value.reasons} == {"toy-first", "toy-second", "toy-third"}
