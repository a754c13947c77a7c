"""`beat held`: the list with both values side by side, one record as JSON, and a decision with its reason."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime

import msgspec
import pytest

from beat_actors.database import Database
from beat_actors.holds.records import About, HeldRecord, put
from beat_actors.platforms.instagram import InstagramAccount
from beat_actors.requests.intake import Accepted
from beat_actors.settings import Settings
from beat_actors.trust.judgement import Reason, Ruling
from beat_actors.trust.memory import Known
from beat_actors.trust.witnesses import Held, Report, State
from tests.integration.cli.conftest import Beat
from tests.observing import observe
from tests.observing import rows as rows_of

BEFORE, AFTER = datetime(2026, 1, 31, 12, tzinfo=UTC), datetime(2026, 1, 31, 18, tzinfo=UTC)


def stored(settings: Settings, request: int, handle: str, state: State) -> int:
    """A profile with 50,000 followers, of which a later answer said 50; its id."""

    async def work() -> int:
        database = Database(settings, name="test")
        known = InstagramAccount(profile_id=handle, handle=handle, followers=50_000)
        await observe(database, "instagram", known, at=BEFORE, source="lama")
        says = InstagramAccount(profile_id=handle, handle=handle, followers=50)
        report = Report("lama", {"followers": 50}, AFTER.timestamp())
        good = {"followers": Known(50_000, int(BEFORE.timestamp()))}
        record = HeldRecord(
            about=About("instagram", "profiles", handle, "", ""),
            fetch_id=request,
            request_id=request,
            operation="profile_by_handle",
            parser_version=1,
            rules_version=1,
            priority=2,
            observed_at=AFTER,
            record=msgspec.Raw(msgspec.json.encode(says)),
            fields=("followers",),
            reasons=(Reason("drop", Ruling.HOLD, "followers", 60, 50_000.0, 50.0),),
            score=40,
            held=Held(report, good, AFTER.timestamp(), state, why="no independent source confirms or refutes it"),
            question=None,
        )
        async with database.transaction() as transaction:
            await put(transaction, [record])
        await database.close()
        return record.id

    return asyncio.run(work())


def followers(settings: Settings, handle: str) -> int:
    async def work() -> int:
        database = Database(settings, name="test")
        ((found,),) = await rows_of(database, f"SELECT followers FROM instagram_account WHERE handle = '{handle}'")
        await database.close()
        return int(found)

    return asyncio.run(work())


@pytest.fixture
def held(settings: Settings, submit: Callable[..., list[Accepted]]) -> tuple[int, int]:
    """One that waits for its next round, and one that waits for a person."""
    first, second = submit("ada", "bob")
    return (
        stored(settings, first.id, "ada", State.WAITING),
        stored(settings, second.id, "bob", State.PERSON),
    )


def test_s6_6_what_waits_for_a_person_is_listed_first(beat: Beat, held: tuple[int, int]) -> None:
    waiting, person = held
    assert [row[:6] for row in beat("held").rows] == [
        [str(person), "person", "instagram profiles bob", "lama", "followers=50000", "followers=50"],
        [str(waiting), "waiting", "instagram profiles ada", "lama", "followers=50000", "followers=50"],
    ]
    assert [row[0] for row in beat("held", "list", "--state", "waiting").rows] == [str(waiting)]
    assert beat("held", "list", "--state", "accepted").rows == []
    shown = beat("held", "show", str(person)).json
    assert (shown["known"], shown["says"]) == ({"followers": 50_000}, {"followers": 50})
    assert [reason["rule"] for reason in shown["reasons"]] == ["drop"]


def test_s6_6_a_person_accepts_or_rejects_and_says_why(beat: Beat, settings: Settings, held: tuple[int, int]) -> None:
    waiting, person = held
    assert beat("held", "accept", str(person)).code == 2  # without a reason
    accepted = beat("held", "accept", str(person), "--reason", "the platform removed fake accounts")
    assert (accepted.code, accepted.out) == (
        0,
        "instagram profiles bob: accepted; followers=50 instead of followers=50000\n",
    )
    assert beat("held", "reject", str(waiting), "--reason", "a bug of the parser", "--json").json["state"] == "rejected"
    assert (followers(settings, "bob"), followers(settings, "ada")) == (50, 50_000)
    assert beat("held").rows == []
    again = beat("held", "reject", str(person), "--reason", "no")
    assert (again.code, "is decided: accepted" in again.err) == (1, True)
    audited = {(entry["action"], entry["target"]) for entry in beat("audit", "--json").json}
    assert {("held.accept", f"held/{person}"), ("held.reject", f"held/{waiting}")} <= audited


def test_what_there_is_not_is_said(beat: Beat) -> None:
    assert beat("held").code == 0
    assert beat("held", "show", "17").code == 4
    assert beat("held", "accept", "17", "--reason", "no").code == 4
    wrong = beat("held", "list", "--state", "odd")
    assert (wrong.code, "person" in wrong.err) == (2, True)
