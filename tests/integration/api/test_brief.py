"""GET /v1/brief: the page, the timeline, and who is told who did what."""

from datetime import UTC, datetime, timedelta
from typing import Any

from beat_actors import audit
from beat_actors.access.scopes import Scope
from beat_actors.alerts import Alert, report
from beat_actors.database import Database
from beat_actors.moments import moment
from tests.integration.api.conftest import bearer

LED = "INSERT INTO leader (name, holder, seen_at, elected_at) VALUES ('scheduler', 'test', now(), now())"


async def trouble(database: Database) -> None:
    """A source fails, soon after an operator did something."""
    alert = Alert(
        key="source:lama",
        severity="critical",
        cause="lama is failing: HTTP 503",
        impact="i",
        automatic="a",
        action="`beat sources lama` shows it",
        source="lama",
    )
    async with database.transaction() as transaction:
        await transaction.run(LED, ())
        await audit.record(
            transaction, actor="cli:ana", action="flow.set", target="flow/instagram/x", detail={"reason": "of ana"}
        )
        await report(transaction, "source", [alert])


async def test_the_page_names_operators_to_those_alone_who_may_read_the_audit_log(
    api: Any, database: Database, new_key: Any
) -> None:
    await trouble(database)
    page = await api.simulate_get("/v1/brief")
    assert page.status_code == 200, page.text
    assert (page.json["status"], page.json["sentence"]) == ("trouble", "lama is failing")
    (problem,) = page.json["problems"]
    assert (problem["key"], problem["command"]) == ("source:lama", "beat sources lama")
    # The keys that this test made are changes, too.
    assert ("cli:ana", "flow.set flow/instagram/x (of ana)") in [
        (one["who"], one["what"]) for one in page.json["before"]
    ]
    operator = bearer(await new_key(Scope.OPERATE))
    said = await api.simulate_get("/v1/brief", headers=operator)
    assert said.status_code == 200
    assert {one["who"] for one in said.json["before"] if one["kind"] == "operator"} == {None}
    assert "ana" not in said.text.replace("instagram", "")
    reader = bearer(await new_key(Scope.READ))
    assert (await api.simulate_get("/v1/brief", headers=reader)).status_code == 403


async def test_a_timeline_is_of_a_time_that_was(api: Any, database: Database) -> None:
    await trouble(database)
    since = moment(datetime.now(UTC) - timedelta(minutes=30))
    page = await api.simulate_get(f"/v1/brief?since={since}")
    assert page.json["status"] == "past"
    assert [one["what"] for one in page.json["timeline"] if one["kind"] == "alert"] == [
        "alert source:lama opened (critical): lama is failing: HTTP 503"
    ]
    assert 6 <= len(page.json["throughput"]) <= 24
    for query, field in (("until=2020-01-01T00:00:00Z", "since"), ("since=2020-01-01T00:00:00Z", "since")):
        refused = await api.simulate_get(f"/v1/brief?{query}")
        assert (refused.status_code, refused.json["field"]) == (400, field)
