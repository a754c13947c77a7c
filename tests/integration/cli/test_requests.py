"""`beat requests`, `beat why`, `beat scrape`: what is shown, and with which exit code."""

import json
from collections.abc import Callable
from datetime import datetime

import psycopg

from beat_actors.requests.intake import Accepted
from beat_actors.settings import Settings
from tests.integration.cli.conftest import Beat

Submit = Callable[..., list[Accepted]]


def test_requests_are_listed_newest_first(beat: Beat, submit: Submit) -> None:
    first, second = submit("one", "two")
    said = beat("requests")
    assert said.code == 0
    assert [row[:5] for row in said.rows] == [
        [str(second.id), "PENDING", "instagram", "refresh_profile_by_handle", "two"],
        [str(first.id), "PENDING", "instagram", "refresh_profile_by_handle", "one"],
    ]


def test_requests_as_json_with_a_filter(beat: Beat, submit: Submit) -> None:
    submit("one", "two", "three")
    said = beat("requests", "--status", "pending", "--limit", "2", "--json")
    assert [one["status"] for one in said.json] == ["PENDING", "PENDING"]
    assert beat("requests", "--status", "complete", "--json").json == []
    lines = beat("requests", "--limit", "2", "--json-lines").out.splitlines()
    assert [json.loads(line)["id"] for line in lines] == [one["id"] for one in said.json]
    head, *rows = beat("requests", "--header").rows
    assert head[:3] == ["id", "status", "platform"]
    assert len(rows) == 3


def test_one_request(beat: Beat, submit: Submit) -> None:
    (one,) = submit("somebody")
    assert ["params", "handle=somebody, posts=12"] in beat("requests", str(one.id)).rows
    assert beat("requests", str(one.id), "--json").json["id"] == one.id


def test_the_command_line_asks_without_a_key_and_without_a_cap(beat: Beat, settings: Settings, monkeypatch) -> None:
    monkeypatch.setenv("BEAT_OPEN_REQUESTS", "1")
    for name in ("one", "two"):
        assert beat("scrape", "instagram", name, "--timeout", "0").code == 5  # it goes on
    ids = [row[0] for row in beat("requests").rows]
    assert beat("cancel", *ids, "--reason", "test").code == 0
    for number in ids:
        assert beat("retry", number).code == 0
    with psycopg.connect(str(settings.database_url)) as connection:
        found = connection.execute("SELECT status, api_key_id, account_id FROM scrape_request_log").fetchall()
    assert found == [("PENDING", None, None)] * 2


def test_s4_5_what_takes_long_is_shown_before_it_is_taken_away(beat: Beat, submit: Submit, settings: Settings) -> None:
    (one,) = submit("somebody")
    with psycopg.connect(str(settings.database_url), autocommit=True) as connection:
        connection.execute(
            "UPDATE scrape_request_log SET status = 'PROCESSING', picked_at = clock_timestamp() - interval '11 minutes'"
        )
        connection.execute(
            "UPDATE scrape_fetch SET stage = 'RETRIEVED', claimed_at = clock_timestamp() - interval '11 minutes', "
            "lease_until = clock_timestamp() + interval '1 hour'"
        )
    assert beat("stuck", "--minutes", "12").out == ""
    ((*shown, started, held, held_for, _, _),) = beat("stuck").rows
    assert (shown, held, held_for) == ([str(one.id), "instagram", "refresh_profile_by_handle"], "1", "11 min")
    assert datetime.fromisoformat(started).tzinfo is not None
    assert beat("stuck", "--json").json[0]["held"] == 1
    unsaid = beat("stuck", "--requeue")
    assert (unsaid.code, unsaid.out) == (2, "")
    assert "--reason" in unsaid.err
    assert "1 fetches of 1 requests" in beat("stuck", "--requeue", "--reason", "it hangs").out
    assert beat("stuck", "--json").json[0]["held"] == 0
    assert beat("audit", "--json").json[0]["action"] == "request.requeue"


def test_s2_13_tables_are_listed_and_vacuumed(beat: Beat) -> None:
    assert {"scrape_fetch", "credential_usage"} <= {row[0] for row in beat("db", "--all").rows}
    assert "beat cli" in {row[0] for row in beat("db", "connections").rows}
    assert "connections are taken" in beat("db", "connections").out
    assert "beat cli" in {one["name"] for one in beat("db", "connections", "--json").json}
    assert beat("db", "vacuum", "lane").out == "vacuumed: lane\n"
    assert beat("db", "vacuum", "nothing").code == 4


def test_what_does_not_exist_is_code_4(beat: Beat) -> None:
    for command in (("requests", "4711"), ("why", "4711"), ("credentials", "enable", "4711", "--reason", "x")):
        said = beat(*command)
        assert said.code == 4
        assert said.out == ""
        assert "4711" in said.err


def test_why_names_each_blocker_and_when_it_clears(beat: Beat, submit: Submit, settings: Settings) -> None:
    (one,) = submit("somebody")
    with psycopg.connect(str(settings.database_url)) as connection:
        connection.execute(
            "UPDATE lane SET blocked_until = '2031-02-03 04:05:06Z', reasons = "
            """'[{"source": "graphapi", "why": "the hour is spent", "until": 1927944306, "credential_id": 3},"""
            """ {"source": "lama", "why": "dead", "until": null}]'"""
        )
    said = beat("why", str(one.id))
    assert said.code == 0
    assert ["profile_by_handle", "graphapi", "3", "the hour is spent", "2031-02-04T04:05:06Z"] in said.rows
    assert ["profile_by_handle", "lama", "", "dead", "needs manual action"] in said.rows
    assert len(beat("why", str(one.id), "--json").json["fetches"][0]["blockers"]) == 2


def test_scrape_that_is_not_done_in_time_goes_on(beat: Beat) -> None:
    said = beat("scrape", "instagram", "somebody", "--timeout", "0.2")
    assert said.code == 5
    (row,) = said.rows
    assert row[:2] == ["somebody", "PENDING"]
    assert f"beat why {row[-1]}" in said.err
    assert beat("requests", row[-1]).code == 0


def test_scrape_shows_what_its_own_request_brought(beat: Beat, settings: Settings) -> None:
    with psycopg.connect(settings.owner_url, autocommit=True) as connection:
        # Stands for the workers: a request is complete as soon as it is asked for.
        connection.execute("""
            CREATE FUNCTION complete() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                UPDATE scrape_request_log SET status = 'COMPLETE', scraped_at = clock_timestamp(), data = '{"source": "lama"}' WHERE id = NEW.id;
                INSERT INTO profile_log VALUES (clock_timestamp(), 'instagram', '1', 'lama', 1, NEW.id, 1, '{"handle": "x"}', '{"followers": 4321}');
                INSERT INTO post_log SELECT clock_timestamp(), 'instagram', p::text, 'lama', 1, NEW.id, 1, '{}', '{}' FROM unnest(ARRAY[1, 2, 2]) p;
                RETURN NULL;
            END $$;
            CREATE TRIGGER complete AFTER INSERT ON scrape_request_log FOR EACH ROW EXECUTE FUNCTION complete();
        """)
    said = beat("scrape", "instagram", "x", "--posts", "2")
    assert said.code == 0, said.err
    assert said.rows[0][:5] == ["x", "COMPLETE", "4321", "2", "lama"]
    (document,) = beat("scrape", "instagram", "x", "--json").json
    assert document["profile"]["metrics"] == {"followers": 4321}
    assert len(document["posts"]) == 2


def test_scrape_that_failed_is_code_1_with_the_reason(beat: Beat, settings: Settings) -> None:
    with psycopg.connect(settings.owner_url, autocommit=True) as connection:
        connection.execute("""
            CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                UPDATE scrape_request_log SET status = 'FAILED', data = '{"error": {"code": "missing", "message": "no such user"}}' WHERE id = NEW.id;
                RETURN NULL;
            END $$;
            CREATE TRIGGER fail AFTER INSERT ON scrape_request_log FOR EACH ROW EXECUTE FUNCTION fail();
        """)
    said = beat("scrape", "instagram", "x")
    assert said.code == 1
    assert said.rows[0][:2] == ["x", "FAILED"]
    assert "missing: no such user" in said.err
    ((*_, created, code),) = beat("requests", "--status", "failed").rows
    assert (datetime.fromisoformat(created).tzinfo is not None, code) == (True, "missing")


def test_scrape_by_the_flow_that_goes_by_number(beat: Beat) -> None:
    said = beat("scrape", "instagram", "17841", "--flow", "refresh_profile_by_profile_id", "--timeout", "0", "--json")
    assert said.code == 5
    assert said.json[0]["request"]["params"] == {"profile_id": "17841", "posts": 12}


def test_each_platform_is_scraped_by_its_first_flow(beat: Beat) -> None:
    for platform, subject, flow in (
        ("instagram", "x", "refresh_profile_by_handle"),
        ("shopify", "example.myshopify.com", "refresh_orders_by_store"),
    ):
        (document,) = beat("scrape", platform, subject, "--timeout", "0", "--json").json
        assert (document["request"]["platform"], document["request"]["flow"]) == (platform, flow)


def test_what_is_not_wanted_is_cancelled_and_run_again(beat: Beat, submit: Callable[..., list[Accepted]]) -> None:
    first, second, third = submit("one", "two", "three")
    said = beat("cancel", str(first.id), str(second.id), "999", "--reason", "a mistake")
    assert said.code == 1
    assert said.out.startswith("2 cancelled")
    assert "request 999 was not found" in said.err
    assert beat("requests", str(first.id), "--json").json["data"]["error"]["message"] == "a mistake"
    assert beat("retry", str(third.id)).code == 1
    assert beat("retry", "999").code == 4
    assert beat("retry", str(first.id)).out.startswith(f"Queued request {first.id} for retry")
    assert beat("retry", "--status", "cancelled", "--platform", "instagram").out.startswith(
        "Queued 1 request for retry"
    )
    statuses = {one["id"]: one["status"] for one in beat("requests", "--json").json}
    assert statuses == dict.fromkeys((first.id, second.id, third.id), "PENDING")
    assert beat("retry", "--status", "complete").code == 2


def test_what_operators_did_to_requests_is_on_record(
    beat: Beat, submit: Callable[..., list[Accepted]], database_url: str
) -> None:
    first, second = submit("one", "two")
    beat("cancel", str(first.id), str(second.id), "--reason", "a mistake")
    beat("retry", str(first.id))
    beat("retry", "--status", "cancelled")
    with psycopg.connect(database_url) as connection:
        found = connection.execute("SELECT action, target, detail FROM audit_log ORDER BY id").fetchall()
    assert found == [
        ("request.cancel", f"request/{first.id}", {"reason": "a mistake"}),
        ("request.cancel", f"request/{second.id}", {"reason": "a mistake"}),
        ("request.retry", f"request/{first.id}", {"ids": [first.id]}),
        ("request.retry", f"request/{second.id}", {"ids": [second.id]}),
    ]


def test_uncollected_results_can_be_listed(
    beat: Beat, submit: Callable[..., list[Accepted]], database_url: str
) -> None:
    first, _ = submit("one", "two")
    beat("cancel", str(first.id), "--reason", "a mistake")
    assert [one["id"] for one in beat("requests", "--uncollected", "--json").json] == [first.id]
    assert [one["id"] for one in beat("requests", "--error", "cancelled", "--json").json] == [first.id]
