"""An account whose handle has changed is followed by its id, and a handle that was given away leads to the newcomer."""

from typing import Any

from beat_actors.engine import Engine
from beat_actors.simulator import SimulatorClient
from tests.integration.stages.test_gate import HANDLE, ask, go_on, only
from tests.observing import rows

ACCOUNTS = "SELECT profile_id, handle, followers FROM instagram_account ORDER BY profile_id"
ENDED = "SELECT status, data->'moved' AS moved, data->'error'->>'code' AS error, open_fetches FROM scrape_request_log WHERE id = %s"
CALLS = "SELECT operation FROM scrape_fetch WHERE request_id = %s ORDER BY id"


async def refreshed(engine: Engine, handle: str = HANDLE) -> tuple[int, Any]:
    """The request, and how it ended."""
    request = await ask(engine, handle)
    for _ in range(3):
        await go_on(engine)
    (found,) = await rows(engine.database, ENDED, (request,))
    return request, found


async def person(admin: SimulatorClient, handle: str) -> Any:
    return (await admin.person(handle))["person"]


async def test_the_old_handle_is_answered_with_the_account_of_the_new_one(
    engine: Engine, admin: SimulatorClient
) -> None:
    await only(engine, "lama")
    await refreshed(engine)
    known = await person(admin, HANDLE)
    key = str(known["pk"])
    await admin.let_happen("rename", HANDLE, to="ada")
    moved = {"operation": "profile_by_id", "handle": HANDLE, "profile_id": key}
    for _ in range(3):
        request, ended = await refreshed(engine)
        assert tuple(ended) == ("COMPLETE", moved, None, 0)
        assert await rows(engine.database, CALLS, (request,)) == [("profile_by_handle",), ("profile_by_id",)]
        assert await rows(engine.database, ACCOUNTS) == [(key, "ada", known["followers"])]
    assert await rows(engine.database, "SELECT 1 FROM held_record") == []
    _, ended = await refreshed(engine, "ada")
    assert tuple(ended) == ("COMPLETE", None, None, 0)


async def test_the_old_handle_leads_to_whoever_has_it_next(engine: Engine, admin: SimulatorClient) -> None:
    await only(engine, "jotucker", "lama")
    await refreshed(engine)
    known = await person(admin, HANDLE)
    await admin.let_happen("rename", HANDLE, to="ada")
    _, ended = await refreshed(engine)
    assert ended[1]["profile_id"] == str(known["pk"])
    await admin.let_happen("rename", "creator_000002", to=HANDLE)
    newcomer = await person(admin, HANDLE)
    _, ended = await refreshed(engine)
    assert tuple(ended) == ("COMPLETE", None, None, 0)
    found = {key: handle for key, handle, _ in await rows(engine.database, ACCOUNTS)}
    assert found == {str(known["pk"]): "ada", str(newcomer["pk"]): HANDLE}
    assert await rows(engine.database, "SELECT 1 FROM absence") == []


async def test_who_is_gone_under_the_id_too_is_missing_and_who_was_never_known_is_not_asked_for(
    engine: Engine, admin: SimulatorClient
) -> None:
    await only(engine, "lama")
    await refreshed(engine)
    missing = await rows(
        engine.database, "UPDATE instagram_account SET profile_id = '99999999999', handle = 'nobody_has_it' RETURNING 1"
    )
    assert len(missing) == 1
    request, ended = await refreshed(engine, "nobody_has_it")
    assert (ended[0], ended[2], ended[3]) == ("FAILED", "missing", 0)
    assert await rows(engine.database, CALLS, (request,)) == [("profile_by_handle",), ("profile_by_id",)]
    request, ended = await refreshed(engine, "nobody_ever_was")
    assert tuple(ended) == ("FAILED", None, "missing", 0)
    assert await rows(engine.database, CALLS, (request,)) == [("profile_by_handle",)]
    remembered = "SELECT code, times, ask_at > clock_timestamp() AS later FROM absence ORDER BY key"
    assert await rows(engine.database, remembered) == [("missing", 1, True)] * 2
