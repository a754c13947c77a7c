"""`beat blast`, `beat restore` and `beat check`: what is printed, asked of the database and over the API."""

import asyncio
from datetime import timedelta

import pytest

from beat_actors.database import Database
from beat_actors.restoring.selection import Selection
from beat_actors.settings import Settings
from tests.integration.cli.conftest import Beat
from tests.integration.restoring.worlds import World


@pytest.fixture
def bug(settings: Settings) -> Selection:
    async def make() -> Selection:
        database = Database(settings, name="test")
        found = await World(database).bug(12)
        await database.close()
        return found

    return asyncio.run(make())


def test_s8_6_a_bad_parser_is_looked_at_planned_applied_and_undone_on_the_command_line(
    beat: Beat, bug: Selection
) -> None:
    assert bug.since is not None
    which = ("--since", f"{bug.since + timedelta():%Y-%m-%dT%H:%M:%SZ}", "--parser", "8", "--source", "lama")
    blast = beat("blast", *which)
    assert blast.code == 0, blast.err
    assert "12 observations of 12 entities" in blast.out
    assert ["instagram profiles", "biography", "12"] in blast.rows
    assert "reads are not logged per entity" in blast.out
    assert beat("blast", *which, "--json").json["entities"] == 12
    plan = beat("restore", *which, "--reason", "parser 8 is wrong")
    assert plan.code == 0, plan.err
    assert "12 of 12 entities would change" in plan.out
    assert ["000000", "followers", "1000000", "1001"] in plan.rows
    assert "beat restore apply 1" in plan.out
    done = beat("restore", "apply", "1", "--reason", "the plan is right", "--json").json
    assert (done["state"], done["changed"]) == ("DONE", 12)
    assert [row[1] for row in beat("restore", "list").rows] == ["DONE"]
    assert beat("restore", "show", "1").rows[-1] == [f"undo token: {done['token']}"]
    assert beat("restore", "resume", "1").code == 0
    undone = beat("restore", "undo", done["token"], "--reason", "the parser was right")
    assert "12 entities are as they were before" in undone.out
    assert beat("restore", "undo", "1-wrong", "--reason", "x").code == 4
    assert beat("restore", "cancel", "1", "--reason", "x").code != 0
    assert beat("restore", "--parser", "8", "--reason", "x").code == 2


def test_s8_3_check_names_what_differs_and_sets_it_right(beat: Beat, bug: Selection, settings: Settings) -> None:
    assert beat("check").code == 0

    async def drift() -> None:
        database = Database(settings, name="test")
        async with database.transaction() as transaction:
            await transaction.run("UPDATE instagram_account SET followers = 3 WHERE profile_id = '000002'")
        await database.close()

    asyncio.run(drift())
    found = beat("check", "--platform", "instagram")
    assert found.code == 1
    assert ["instagram profiles", "000002", "followers", "3", "1014000"] in found.rows
    assert beat("check", "--fix").code == 2
    fixed = beat("check", "--fix", "--reason", "changed by hand")
    assert fixed.code == 0, fixed.err
    assert "undo token" in fixed.out
    assert beat("check", "--table", "instagram_account", "--json").json["drifted"] == 0
    assert beat("check", "--table", "nothing").code == 2
