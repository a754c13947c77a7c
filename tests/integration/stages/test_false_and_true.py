"""False answers that are refuted, and true events that look like them, on the whole way from the call to the row."""

from typing import Any, NamedTuple

import pytest

from beat_actors.engine import Engine
from beat_actors.requests import intake
from beat_actors.requests.intake import NewRequest
from beat_actors.simulator import SimulatorClient
from tests.integration.stages.test_gate import CHAIN, FLOW, HANDLE, ended, go_on, only
from tests.observing import rows

FIRST = CHAIN[0]
CREDENTIALS = "SELECT source, enabled, dead_at, disabled_till, ladder FROM credential ORDER BY source, id"
OPEN = "SELECT source, operation FROM trust_cohort WHERE open_since IS NOT NULL"
ENDS = "SELECT kind, state, count(*) FROM held_record GROUP BY kind, state ORDER BY kind, state"
POSTS = "SELECT shortcode, likes, comments FROM instagram_post ORDER BY shortcode"


async def refreshed(engine: Engine, flow: str = FLOW, **params: object) -> int:
    wanted = NewRequest("instagram", flow, {"posts": 12, **params}, force=True)
    (accepted,) = await intake.accept(engine.database, [wanted])
    await go_on(engine)
    return accepted.id


class Account(NamedTuple):
    handle: str
    is_verified: bool | None
    followers: int
    following: int
    is_held: bool


async def account(engine: Engine, pk: object) -> Account:
    sql = "SELECT handle, is_verified, followers, following, held_since IS NOT NULL FROM instagram_account WHERE profile_id = %s"
    (row,) = await rows(engine.database, sql, (str(pk),))
    return Account(*row)


async def true_posts(admin: SimulatorClient, known: dict[str, tuple[int, int]]) -> dict[str, tuple[int, int]]:
    posts = (await admin.person(HANDLE, posts=60))["posts"]
    return {post["shortcode"]: (post["likes"], post["comments"]) for post in posts if post["shortcode"] in known}


async def posts_of(engine: Engine) -> dict[str, tuple[int, int]]:
    return {row[0]: (row[1], row[2]) for row in await rows(engine.database, POSTS)}


@pytest.mark.parametrize("kind", ["negative", "three", "stale"])
async def test_s6_3_and_s6_6_and_s8_4_what_one_source_says_falsely_is_not_served_and_no_credential_is_blamed(
    engine: Engine, admin: SimulatorClient, kind: str
) -> None:
    """Yesterday's numbers are those from before a viral day, which was confirmed."""
    await refreshed(engine, handle=HANDLE)
    await admin.let_happen("viral", HANDLE, size=3.0)
    await refreshed(engine, handle=HANDLE)
    # Of one answer three records are asked about; the posts that wait are confirmed when they are observed again elsewhere.
    await rows(engine.database, "DELETE FROM held_record WHERE decided_at IS NULL RETURNING 1")
    truth = (await admin.person(HANDLE))["person"]
    before, posts = await rows(engine.database, CREDENTIALS), await posts_of(engine)
    await admin.add_fault("corrupt", FIRST, body=kind)
    request = await refreshed(engine, handle=HANDLE)
    row = await account(engine, truth["pk"])
    assert (row.followers, row.following, row.is_held) == (truth["followers"], truth["following"], False)
    assert await ended(engine, request) == [("COMPLETE", None)]
    now, true = await posts_of(engine), await true_posts(admin, posts)
    assert len(posts) >= 5
    assert all(now[code] in (posts[code], true[code]) for code in posts)
    if kind == "negative":
        sql = "SELECT DISTINCT kind, source FROM quarantine WHERE request_id = %s"
        assert await rows(engine.database, sql, (request,)) == [("malformed", FIRST)]
    else:
        what = "profiles" if kind == "stale" else "posts"
        states = {(one[0], one[1]) for one in await rows(engine.database, ENDS)}
        assert (what, "rejected") in states
    assert await rows(engine.database, CREDENTIALS) == before
    assert await rows(engine.database, OPEN) == []


async def verified(admin: SimulatorClient) -> Any:
    """Somebody who is verified and public."""
    for number in range(50):
        person = (await admin.person(f"creator_{number:06}"))["person"]
        if person["is_verified"] and not person["is_private"]:
            return person
    raise AssertionError("nobody is verified")


async def test_s6_6_and_s8_4_a_verification_that_was_truly_lost_is_confirmed_and_served(
    engine: Engine, admin: SimulatorClient
) -> None:
    person = await verified(admin)
    await refreshed(engine, handle=person["handle"])
    assert (await account(engine, person["pk"])).is_verified is not False
    await only(engine, "jotucker", "lama")
    await refreshed(engine, handle=person["handle"])
    assert (await account(engine, person["pk"])).is_verified is True
    before = await rows(engine.database, CREDENTIALS)
    await admin.let_happen("unverify", person["handle"])
    request = await refreshed(engine, handle=person["handle"])
    row = await account(engine, person["pk"])
    assert (row.is_verified, row.is_held) == (False, False)
    assert await rows(engine.database, ENDS) == [("profiles", "accepted", 1)]
    assert await ended(engine, request) == [("COMPLETE", None)]
    assert await rows(engine.database, CREDENTIALS) == before


async def test_s6_6_and_s8_4_a_new_handle_is_served_at_once_and_is_no_fault(
    engine: Engine, admin: SimulatorClient
) -> None:
    await only(engine, "lama")
    person = (await admin.person(HANDLE))["person"]
    await refreshed(engine, handle=HANDLE)
    await admin.let_happen("rename", HANDLE, to="ada")
    await refreshed(engine, "refresh_profile_by_profile_id", profile_id=str(person["pk"]))
    row = await account(engine, person["pk"])
    assert (row.handle, row.followers, row.is_held) == ("ada", person["followers"], False)
    assert await rows(engine.database, "SELECT 1 FROM held_record WHERE kind = 'profiles'") == []
    assert await rows(engine.database, "SELECT 1 FROM quarantine") == []


async def test_s6_6_and_s8_4_a_handle_that_was_given_away_leads_to_the_newcomer_once_it_is_confirmed(
    engine: Engine, admin: SimulatorClient
) -> None:
    person = (await admin.person(HANDLE))["person"]
    await only(engine, "jotucker", "lama")
    await refreshed(engine, handle=HANDLE)
    await admin.let_happen("recycle", HANDLE)
    newcomer = (await admin.person(HANDLE))["person"]
    assert newcomer["pk"] != person["pk"]
    request = await refreshed(engine, handle=HANDLE)
    row = await account(engine, newcomer["pk"])
    assert (row.handle, row.followers, row.is_held) == (HANDLE, newcomer["followers"], False)
    assert (await account(engine, person["pk"])).followers == person["followers"]
    ends = await rows(engine.database, ENDS)
    assert {(kind, state) for kind, state, _ in ends if kind == "profiles"} == {("profiles", "accepted")}
    assert await ended(engine, request) == [("COMPLETE", None)]


async def test_s6_6_and_s8_4_likes_that_are_hidden_are_never_served_as_three(
    engine: Engine, admin: SimulatorClient
) -> None:
    """Sources that read the page say three, each for itself. So they do not confirm each other."""
    await only(engine, "jotucker", "lama")
    await refreshed(engine, handle=HANDLE)
    posts = await posts_of(engine)
    before = await rows(engine.database, CREDENTIALS)
    await admin.let_happen("hide_likes", HANDLE)
    request = await refreshed(engine, handle=HANDLE)
    now = await posts_of(engine)
    assert len(posts) >= 5
    assert [code for code in posts if now[code][0] == 3 and posts[code][0] != 3] == []
    assert await ended(engine, request) == [("COMPLETE", None)]
    assert await rows(engine.database, CREDENTIALS) == before
