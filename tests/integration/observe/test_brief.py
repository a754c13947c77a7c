"""`beat brief`: in each fault the page names the cause first, counts who is affected, says what happens next, and has a command that can be typed."""

import json
from collections.abc import Callable
from typing import Any

import psycopg
import pytest
import redis

from beat_actors.alerts import Alert, list_alerts, silence
from beat_actors.broker import flows
from beat_actors.broker.turn import turn
from beat_actors.cli.app import app
from beat_actors.database import Database
from beat_actors.database.reporting import Reporter
from beat_actors.engine import Engine
from beat_actors.holds import cohorts
from beat_actors.observe import brief as page_of
from beat_actors.observe.brief import brief
from beat_actors.observe.markdown import markdown
from beat_actors.observe.page import Brief, Trouble
from beat_actors.requests import intake
from beat_actors.requests.intake import NewRequest
from beat_actors.running_code import own
from beat_actors.settings import Settings
from beat_actors.watch import WATCHES, servers
from beat_actors.watch import assets as assets_rules
from tests.commands import SPAN, Named
from tests.integration.assets.backlog_rows import PENDING
from tests.integration.events.rows import EVENTS, PLACES, SINK
from tests.integration.observe.conftest import BREAKER, looked, reported
from tests.worlds import TOY


async def asked(engine: Engine, count: int = 5) -> list[int]:
    """Requests of two accounts."""
    wanted = [NewRequest("toy", "look", {"name": f"n{i}"}, account_id=f"a{i % 2}") for i in range(count)]
    return [one.id for one in await intake.accept(engine.database, wanted)]


def first(page: Brief) -> Trouble:
    """The first problem; every command of the page can be typed, and the page is one page."""
    text = markdown(page)
    assert page.status == "trouble", text
    for said in SPAN.findall(text):
        app.parse_args(Named("brief", said, whole=True).words, exit_on_error=False, print_error=False)
    lines = [line for line in text.splitlines() if line]
    assert lines[0] == f"# {page.sentence}"
    assert lines[2].startswith(f"## 1. {page.problems[0].key} ({page.problems[0].severity}), since ")
    assert len(lines) < 60, text
    assert len(page.sentence) < 200
    return page.problems[0]


def standing(key: str, cause: str) -> Alert:
    return Alert(key=key, severity="warning", cause=cause, impact="-", automatic="-", action="-")


def parts(problem: Trouble) -> set[str]:
    return {one.key for one in problem.parts}


async def test_s0_1_all_credentials_limited_is_a_platform_at_a_standstill(
    engine: Engine, admin: psycopg.Connection[Any]
) -> None:
    for source in TOY.sources:
        await engine.credentials.add(source, {"key": "a"})
    admin.execute(
        "UPDATE credential SET disabled_till = now() + interval '10 minutes', disabled_reason = 'rate_limited 429'"
    )
    ids = await asked(engine)
    await turn(engine.database, TOY)
    page = await looked(engine.database)
    problem = first(page)
    assert problem.key == "platform:toy"
    assert page.sentence == "toy is at a standstill"
    assert "(cooling down: " in problem.cause
    assert parts(problem) == {f"credentials:{source}" for source in TOY.sources}
    assert (problem.affected.requests, problem.affected.accounts, problem.affected.flows) == (5, 2, ["toy look"])
    assert problem.affected.sentence == "5 requests of 2 accounts wait (toy look)"
    row = admin.execute("SELECT min(blocked_until), min(created_at) FROM lane, scrape_fetch").fetchone()
    assert row is not None
    assert problem.next_at is not None
    assert abs((problem.next_at - row[0]).total_seconds()) < 1
    assert problem.affected.oldest == row[1]
    assert problem.command == f"beat why {ids[0]}"
    assert f"`beat why {ids[0]}`" in markdown(page)


async def test_s0_1_a_source_that_is_down_and_has_others_affects_nobody_who_waits(
    engine: Engine, admin: psycopg.Connection[Any], process: Callable[..., None]
) -> None:
    process()
    for source in TOY.sources:
        await engine.credentials.add(source, {"key": "a"})
    admin.execute(BREAKER, ("toy-first", "upstream"))
    admin.execute("UPDATE credential SET dead_at = now() WHERE source = 'toy-first'")
    page = await looked(engine.database)
    problem = first(page)
    assert problem.key == "source:toy-first"
    assert page.sentence == "toy-first is failing"
    assert "7 of 9 calls failed within a minute (HTTP 503)" in problem.cause
    assert "credentials:toy-first" in parts(problem)
    assert problem.affected.requests == 0
    assert problem.affected.sentence == "no request waits for it"
    assert problem.next.startswith("one probe call to toy-first")
    assert problem.next_at is not None


async def test_s0_1_a_source_that_is_down_and_has_no_other_names_who_waits(
    engine: Engine, admin: psycopg.Connection[Any]
) -> None:
    await engine.credentials.add("toy-first", {"key": "a"})
    await asked(engine, 3)
    admin.execute("UPDATE lane SET sources = '{toy-first}'")
    admin.execute(BREAKER, ("toy-first", "upstream"))
    problem = first(await looked(engine.database))
    assert problem.key == "source:toy-first"
    assert (problem.affected.requests, problem.affected.accounts) == (3, 2)


async def test_s0_1_a_slow_database_comes_before_the_work_that_it_delays(
    engine: Engine, admin: psycopg.Connection[Any], process: Callable[..., None]
) -> None:
    for _ in range(3):
        process("worker", p99=2.0, claims=8.0)
    await asked(engine)
    admin.execute("UPDATE scrape_fetch SET created_at = now() - interval '15 minutes'")
    page = await looked(engine.database)
    problem = first(page)
    assert problem.key == "database:slow"
    assert page.sentence.startswith("p99 statement latency is up to 2.0 s")
    assert {"database:claims", "claims:toy", "waiting:toy:look"} <= parts(problem)
    assert problem.severity == "critical"  # no dispatch cycle runs
    assert problem.affected.requests == 5
    assert problem.command == "beat db processes"


async def test_s0_1_killed_workers_come_before_the_work_that_waits(
    engine: Engine, admin: psycopg.Connection[Any], process: Callable[..., None]
) -> None:
    await asked(engine)
    admin.execute("UPDATE scrape_fetch SET created_at = now() - interval '15 minutes'")
    await reported(engine.database, "workers", *servers.workers(0))
    problem = first(await looked(engine.database))
    assert problem.key == "workers:none"
    assert "waiting:toy:look" in parts(problem)
    assert "claims:toy" not in parts(problem)  # absent workers are announced alone
    process("worker", troubles='{"crashes": "3 workers of its parent died within 10 min"}')
    problem = first(await looked(engine.database))
    assert problem.key == "process:crashes"
    assert "workers:none" in parts(problem)
    assert problem.affected.requests == 5


async def test_s0_1_redis_that_is_away_comes_before_workers_that_are_not_seen(engine: Engine) -> None:
    await asked(engine)
    await reported(engine.database, "workers", *servers.workers(0))
    await reported(engine.database, "redis", *servers.redis(None))
    problem = first(await looked(engine.database))
    assert problem.key == "redis:away"
    assert "workers:none" in parts(problem)
    assert problem.command == "beat doctor"


async def test_s0_1_a_bus_that_is_down_is_named_with_its_trouble(
    engine: Engine, admin: psycopg.Connection[Any]
) -> None:
    admin.execute(EVENTS, (10,))
    admin.execute(PLACES)
    admin.execute(SINK, ("bus", 2))
    admin.execute("UPDATE event_sink SET trouble = 'unreachable', since = now() - interval '20 seconds'")
    admin.execute("UPDATE event_log SET at = now() - interval '70 seconds'")
    problem = first(await looked(engine.database))
    assert problem.key == "events:bus:unreachable"
    assert parts(problem) == {"events:bus:lag"}
    assert not problem.affected.counted
    assert "8 wait" in problem.impact


async def test_s0_1_answers_that_cannot_be_parsed_are_the_cause_of_the_quarantine(
    engine: Engine, admin: psycopg.Connection[Any], process: Callable[..., None]
) -> None:
    process()
    admin.execute(BREAKER, ("toy-first", "parser"))
    admin.execute(
        "INSERT INTO quarantine (kind, platform, source, operation, error) SELECT 'malformed', 'toy', 'toy-first', 'look', 'no field id' FROM generate_series(1, 20)"
    )
    await asked(engine, 4)
    admin.execute(
        """UPDATE scrape_request_log SET status = 'FAILED', scraped_at = now() + interval '1 second',
           data = jsonb_build_object('error', jsonb_build_object('code', CASE WHEN id % 2 = 0 THEN 'malformed' ELSE 'missing' END))"""
    )
    problem = first(await looked(engine.database))
    assert problem.key == "parser:toy-first"
    assert parts(problem) == {"quarantine:malformed:toy-first:look"}
    assert problem.affected.failed == 2
    assert problem.command == "beat quarantine"


async def test_s0_1_a_backlog_of_assets_counts_assets_and_accounts(
    engine: Engine, admin: psycopg.Connection[Any], process: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    process()
    monkeypatch.setattr(assets_rules, "BACKLOG_OPENS", 100)
    monkeypatch.setattr(assets_rules, "BACKLOG_RESOLVES", 50)
    admin.execute(PENDING, (200,))
    problem = first(await looked(engine.database))
    assert problem.key == "backlog:assets"
    assert problem.affected.accounts == 5
    assert problem.affected.sentence.startswith("200 assets of 5 accounts wait to be stored")
    assert problem.command == "beat assets backlog"


async def test_s0_1_a_daily_limit_that_is_used_up_is_named(
    engine: Engine, settings: Settings, process: Callable[..., None]
) -> None:
    process()
    name = "refresh_profile_insta_daily"
    with redis.Redis.from_url(str(settings.redis_url)) as valkey:
        valkey.set(f"{settings.limit_prefix}{name}", 20_000)
        page = await looked(engine.database)
        valkey.delete(f"{settings.limit_prefix}{name}")
    problem = first(page)
    assert problem.key == f"limit:{name}"
    assert page.sentence == f"the limit {name} is exhausted"
    assert problem.command == "beat limits"
    assert "not counted" in problem.affected.sentence


async def test_several_causes_are_ordered_by_their_severity_and_those_that_are_silenced_come_last(
    engine: Engine, admin: psycopg.Connection[Any], process: Callable[..., None]
) -> None:
    process()
    for source in TOY.sources:
        await engine.credentials.add(source, {"key": "a"})
    for source in ("toy-first", "toy-second"):
        admin.execute(BREAKER, (source, "upstream"))
    await reported(engine.database, "redis", *servers.redis(None))
    page = await looked(engine.database)
    assert [one.key for one in page.problems] == ["redis:away", "source:toy-first", "source:toy-second"]
    assert page.sentence == "Redis does not answer the scheduler, and 2 more problems"
    async with engine.database.statements() as alone:
        (number,) = [one.id for one in await list_alerts(alone) if one.key == "redis:away"]
        await silence(alone, number, silenced=True, actor="test", reason="known")
    page = await looked(engine.database)
    assert [one.key for one in page.problems] == ["source:toy-first", "source:toy-second", "redis:away"]
    assert page.problems[-1].silenced


async def test_a_calm_system_is_one_line(
    engine: Engine, admin: psycopg.Connection[Any], process: Callable[..., None]
) -> None:
    process()
    process("api")
    page = await looked(engine.database)
    assert page.status == "calm"
    text = markdown(page)
    assert text.startswith("Nothing is wrong: 0 requests in progress, 1 api, 1 worker running (")
    assert text.count("\n") == 1
    admin.execute(
        "INSERT INTO alert (key, severity, cause, impact, automatic, action) VALUES ('quota:x', 'info', 'half of it is used', '', '', '')"
    )
    text = markdown(await brief(engine.database))
    assert "; noted: half of it is used (" in text
    assert text.count("\n") == 1


async def test_a_source_that_answers_wrongly_comes_before_the_records_that_are_held_for_it(
    engine: Engine, admin: psycopg.Connection[Any], process: Callable[..., None]
) -> None:
    process()
    for source in TOY.sources:
        await engine.credentials.add(source, {"key": "a"})
    admin.execute(
        "INSERT INTO trust_cohort (platform, source, operation, parser_version, cohort, breaker, open_since, why)"
        " VALUES ('toy', 'toy-first', 'look', 1, '', '', now() - interval '2 hours', 'its sample was refuted')"
    )
    admin.execute(
        "INSERT INTO held_record (platform, kind, key, fetch_id, request_id, source, operation, rules_version, priority, observed_at, record, fields,"
        " reasons, score, said, good, state, held_at) SELECT 'toy', 'profile', 'k' || n, 1, 1, 'toy-first', 'look', 1, 2, now(), '{}', '{}', '[]', 0, '{}',"
        " '{}', 'person', now() - interval '25 hours' FROM generate_series(1, 3) n"
    )
    problem = first(await looked(engine.database))
    assert problem.key == "data:toy-first:look"
    assert "are wrong: its sample was refuted" in problem.cause
    assert parts(problem) == {"held:toy-first:look"}
    assert problem.command == "beat held"


async def test_open_data_breakers_are_listed_with_their_share_and_a_safe_action(
    engine: Engine, admin: psycopg.Connection[Any], process: Callable[..., None]
) -> None:
    """Also one that a person opened a moment ago, of which no alert tells yet."""
    process()
    key = cohorts.Key("toy", "toy-first", "look", 1)
    async with engine.database.transaction() as transaction:
        standing, now = await cohorts.take(transaction, {key})
        standing[key].count(cohorts.Counts(seen=40, odd=20, bad=20), now)
        await cohorts.write(transaction, standing)
    admin.execute(
        "INSERT INTO trust_cohort (platform, source, operation, parser_version, cohort, breaker, open_since, by_hand)"
        " VALUES ('toy', 'toy-second', 'look', 3, '', '', now(), true)"
    )
    page = await looked(engine.database)
    assert [(one.source, one.operation, one.parser_version, one.share, one.by_hand) for one in page.data_breakers] == [
        ("toy-first", "look", 1, 0.5, False),
        ("toy-second", "look", 3, None, True),
    ]
    assert first(page).key == "data:toy-first:look"
    text = markdown(page)
    assert "50 % of the last 40 records were bad; 0.2 % is usual; 50% of its last answers were out of range." in text
    assert "an operator opened it. Safe action: `beat audit source/toy-second`." in text
    admin.execute("DELETE FROM trust_cohort WHERE NOT by_hand")
    calm = await looked(engine.database)
    assert (calm.status, len(calm.data_breakers)) == ("calm", 1)
    assert "- **toy-second look** (parser version 3), since " in markdown(calm)


async def test_sinks_that_take_no_message_are_the_problem_of_who_would_be_told(
    engine: Engine, admin: psycopg.Connection[Any], process: Callable[..., None]
) -> None:
    process()
    process("deliverer")
    await reported(
        engine.database, "limit", standing("limit:daily:2026-01-01", "four fifths of the limit daily are used")
    )
    await reported(
        engine.database, "forecast", standing("forecast:daily:2026-01-01", "the limit daily will be used up")
    )
    admin.execute(
        "INSERT INTO notify_sink (name, kind, target, key_id, secret, severity, group_by, failures)"
        " VALUES ('pager', 'webhook', 'https://pager.example', 'k', '', 'warning', 'all', 4)"
    )
    admin.execute(
        "INSERT INTO notification (sink_id, group_key, expires_at, error) SELECT id, 'all', now() + interval '1 day', 'HTTP 503' FROM notify_sink"
    )
    for one in WATCHES:
        if one.name == "notify":
            await one.run(engine.database)
    page = await brief(engine.database)
    problem = first(page)
    assert (problem.key, problem.severity) == ("notify:pager", "critical")
    assert problem.command == "beat notify test pager"
    assert {one.key: parts(one) for one in page.problems[1:]} == {
        "limit:daily:2026-01-01": {"forecast:daily:2026-01-01"}
    }


async def test_without_a_scheduler_the_page_says_that_it_may_be_out_of_date(
    engine: Engine, admin: psycopg.Connection[Any]
) -> None:
    admin.execute("UPDATE leader SET seen_at = now() - interval '1 minute'")
    page = await brief(engine.database)
    assert (page.status, page.problems[0].key) == ("blind", "scheduler:none")
    assert "no worker process has reported" in page.problems[0].cause
    assert (page.at - page.problems[0].since).total_seconds() >= 60
    assert "python -m scheduler" in markdown(page)


async def test_what_changed_in_the_hour_before_is_told_and_what_changed_since(
    engine: Engine, admin: psycopg.Connection[Any], process: Callable[..., None]
) -> None:
    process()
    await Reporter(engine.database, name="worker", code=own()).report()
    newer = Database(engine.settings.model_copy(update={"asset_uploads": 7}), name="worker")
    code = own()._replace(version="99.0", platforms=("toy",))
    for _ in range(3):  # of many that start at the same time one is recorded
        await Reporter(newer, name="worker", code=code).report()
    await newer.close()
    for _ in range(2):
        await flows.change(engine.database, "look", "toy", paused=True, actor="cli:ana", reason="too slow")
    admin.execute("UPDATE audit_log SET at = now() - interval '20 minutes'")
    admin.execute(BREAKER, ("toy-first", "upstream"))
    page = await looked(engine.database)
    assert first(page).since is not None
    deploys = [one for one in page.before if one.kind == "deploy"]
    assert [one.what for one in deploys][-1] == (
        f"worker: version {own().version} -> 99.0, "
        + ", ".join(f"platform {name} removed" for name in own().platforms if name != "toy")
        + ", BEAT_ASSET_UPLOADS default -> 7"
    )
    assert len(deploys) == 2
    (acted,) = [one for one in page.before if one.kind == "operator"]
    assert (acted.who, acted.times) == ("cli:ana", 2)
    assert acted.what == "flow.set flow/toy/look: paused true (too slow)"
    assert "cli:ana: flow.set flow/toy/look: paused true (too slow) (2 times)" in markdown(page)
    admin.execute("UPDATE alert SET opened_at = now() - interval '15 minutes' WHERE resolved_at IS NULL")
    page = await brief(engine.database)
    assert [one.kind for one in page.before] == ["operator"]
    assert {one.kind for one in page.after} >= {"deploy"}
    assert "## Changed since" in markdown(page)


async def test_the_page_of_a_key_without_the_audit_log_names_no_operator(
    engine: Engine, admin: psycopg.Connection[Any]
) -> None:
    await flows.change(engine.database, "look", "toy", paused=True, actor="cli:ana", reason="of ana")
    admin.execute(BREAKER, ("toy-first", "upstream"))
    await looked(engine.database)
    page = await brief(engine.database, actors=False)
    (acted,) = [one for one in page.before if one.kind == "operator"]
    assert (acted.who, acted.what) == (None, "flow.set flow/toy/look")
    assert "ana" not in markdown(page)


WAITING = 60_000
FETCHES = f"""
INSERT INTO lane (platform, operation, flow, priority, sources) SELECT 'toy', 'look', 'look', 2, ARRAY['toy-first', 's' || n] FROM generate_series(1, 50) n;
INSERT INTO scrape_request_log (platform, flow, params, live) SELECT 'toy', 'look', '{{}}', true FROM generate_series(1, {WAITING});
INSERT INTO scrape_fetch (request_id, lane_id, platform, operation, params, priority, tenant)
SELECT r.id, l.id, 'toy', 'look', '{{}}', 2, 'account/' || r.id % 7 FROM (SELECT id, row_number() OVER () AS n FROM scrape_request_log) r
JOIN (SELECT id, row_number() OVER (ORDER BY id) AS n FROM lane) l ON l.n = 1 + r.n % 50;
"""


@pytest.mark.slow
def test_what_the_page_reads_does_not_grow_with_what_waits(admin: psycopg.Connection[Any]) -> None:
    admin.execute(FETCHES)
    admin.execute("VACUUM ANALYZE scrape_fetch, scrape_request_log, lane")
    scopes = [{"n": n, "since": "2026-01-01T00:00:00Z"} for n in range(page_of.LISTED)]
    params = {"scopes": json.dumps(scopes), "most": 100}
    row = admin.execute(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {page_of.AFFECTED.text}", params).fetchone()
    assert row is not None
    plan = row[0][0]["Plan"]
    assert '"Relation Name": "scrape_fetch"' in json.dumps(row[0])
    assert plan["Shared Hit Blocks"] + plan["Shared Read Blocks"] < 4000
    found = admin.execute(page_of.AFFECTED.text, params).fetchall()
    assert [fetches for _, _, _, fetches, *_ in found] == [100] * page_of.LISTED
    params = {"most": 100, "seconds": 30, "breakers": 20}
    row = admin.execute(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {page_of.NOW.text}", params).fetchone()
    assert row is not None
    assert row[0][0]["Plan"]["Shared Hit Blocks"] < 1000
