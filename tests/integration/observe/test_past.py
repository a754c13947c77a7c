"""`beat brief --since`: the timeline of an incident that is over."""

from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from beat_actors.alerts import Alert, report
from beat_actors.broker import flows, sources
from beat_actors.broker.turn import turn
from beat_actors.engine import Engine
from beat_actors.errors import BadInput
from beat_actors.observe import past as pasts
from beat_actors.observe.markdown import markdown
from beat_actors.observe.page import Entry
from beat_actors.observe.past import fitting, past, step
from beat_actors.requests import intake
from beat_actors.requests.intake import NewRequest
from tests.worlds import TOY

FIELDS = {"impact": "i", "automatic": "a", "action": "do"}


async def incident(engine: Engine, admin: psycopg.Connection[Any]) -> datetime:
    """Half an hour ago a source failed, became critical, was paused, and came back; a flow was paused meanwhile. When it began."""
    await engine.credentials.add("toy-first", {"key": "a"})
    await intake.accept(engine.database, [NewRequest("toy", "look", {"name": f"n{i}"}) for i in range(3)])
    await turn(engine.database, TOY)
    async with engine.database.statements() as alone:
        for severity in ("warning", "critical"):
            await report(
                alone, "source", [Alert(key="source:toy-first", severity=severity, cause="it fails", **FIELDS)]
            )
        await report(alone, "hand", [Alert(key="hand:flow:toy:look", severity="warning", cause="forgotten", **FIELDS)])
    await sources.open_breaker(engine.database, "toy-first", None, seconds=60, actor="cli:ana", reason="look at it")
    await sources.close_breaker(engine.database, "toy-first", None, actor="cli:ana", reason="it is back")
    await flows.change(engine.database, "look", "toy", paused=True, actor="cli:bo", reason="too much")
    async with engine.database.statements() as alone:
        await report(alone, "source", [])
    admin.execute("UPDATE alert SET opened_at = now() - interval '30 minutes'")
    admin.execute("UPDATE alert SET opened_at = now() - interval '2 days' WHERE key LIKE 'hand%'")
    admin.execute("UPDATE alert SET resolved_at = now() - interval '10 minutes' WHERE resolved_at IS NOT NULL")
    admin.execute("UPDATE audit_log SET at = now() - interval '20 minutes' + (id || ' s')::interval")
    admin.execute("UPDATE event SET at = now() - interval '25 minutes' WHERE type LIKE 'beat.%'")
    admin.execute("UPDATE broker_decision SET at = now() - interval '29 minutes'")
    return datetime.now(UTC) - timedelta(minutes=45)


async def test_a_timeline_has_alerts_breakers_operators_and_the_throughput_in_their_order(
    engine: Engine, admin: psycopg.Connection[Any]
) -> None:
    since = await incident(engine, admin)
    page = await past(engine.database, since)
    said = [(one.kind, one.what) for one in page.timeline]
    assert said[0][1].startswith("alert hand:flow:toy:look stands since ")
    assert ("alert", "alert source:toy-first opened (critical): it fails") in said
    assert ("alert", "alert source:toy-first is now critical") in said
    assert ("breaker", "breaker of toy-first look opened by an operator") in said
    assert ("breaker", "breaker of toy-first look closed by an operator") in said
    assert any(
        kind == "operator" and what == "cli:bo: flow.set flow/toy/look: paused true (too much)" for kind, what in said
    )
    assert ("alert", "alert source:toy-first resolved after 1,200 s") in said
    assert [one.at for one in page.timeline] == sorted(one.at for one in page.timeline)
    assert "1 alert opened, 1 resolved, 1 stood before, the first at " in page.sentence
    busy = [one for one in page.throughput if one.leases]
    assert len(busy) == 1
    assert round(busy[0].leases * (busy[0].until - busy[0].since).total_seconds() / 60) == 3
    text = markdown(page)
    assert text.startswith(f"# {page.sentence}")
    assert "| from (UTC) | leases/min | outcomes/min |" in text
    assert "ana" not in markdown(await past(engine.database, since, actors=False))
    earlier = await past(engine.database, since - timedelta(days=5), since - timedelta(days=4))
    assert (earlier.timeline, "no alert was open" in earlier.sentence) == ([], True)


async def test_a_span_that_is_empty_or_too_long_is_refused(engine: Engine) -> None:
    now = datetime.now(UTC)
    with pytest.raises(BadInput, match="there is no time between"):
        await past(engine.database, now + timedelta(hours=1))
    with pytest.raises(BadInput, match="31 days at most"):
        await past(engine.database, now - timedelta(days=32))


async def test_many_dispatch_cycles_are_estimated_from_the_first_of_an_interval(
    engine: Engine, admin: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pasts, "CYCLES", 10)
    admin.execute(
        "INSERT INTO broker_decision (at, platform, seed, settled, leased, detail) SELECT now() - interval '10 minutes' + (n || ' s')::interval, 'toy', 1, 2, 3, '{}' FROM generate_series(1, 590) n"
    )
    page = await past(engine.database, datetime.now(UTC) - timedelta(minutes=9))
    assert any(one.estimated for one in page.throughput)
    assert all(one.leases == pytest.approx(180, rel=0.2) for one in page.throughput if one.estimated)


def test_a_timeline_leaves_out_breakers_first() -> None:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    entries = [Entry(at=at + timedelta(seconds=n), kind="breaker", what=str(n)) for n in range(pasts.ENTRIES)]
    entries.append(Entry(at=at + timedelta(hours=1), kind="operator", what="resume"))
    kept = fitting(entries)
    assert len(kept) == pasts.ENTRIES
    assert kept[-1].kind == "operator"
    assert all(one.kind == "operator" for one in fitting([entries[-1]] * 500))


@pytest.mark.parametrize(("hours", "seconds"), [(0.2, 60), (1, 300), (2, 300), (24, 3600), (24 * 31, 172_800)])
def test_an_interval_is_a_round_number(hours: float, seconds: int) -> None:
    assert step(timedelta(hours=hours)) == seconds
