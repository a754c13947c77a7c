"""Sources, quarantine and alerts on the command line."""

import io
import sys

import psycopg
import pytest
from rich.console import Console

from beat_actors.cli import output
from beat_actors.pipeline.records import pack
from beat_actors.platforms.registry import platforms
from tests.integration.cli.conftest import Beat


@pytest.fixture
def rows(database_url: str) -> psycopg.Connection:
    return psycopg.connect(database_url, autocommit=True)


def test_a_source_is_opened_and_closed_and_the_audit_log_says_who(beat: Beat) -> None:
    assert beat("credentials", "add", "lama", "--json", stdin="key=abc").code == 0
    opened = beat("sources", "open", "lama", "--operation", "profile_by_handle", "--reason", "maintenance")
    assert (opened.code, opened.out) == (0, "lama is paused for 3,600 s: profile_by_handle\n")
    (lama,) = [row for row in beat("sources").rows if row[1] == "lama"]
    assert lama[:6] == ["instagram", "lama", "1", "1", "0", "0"]
    assert lama[6].endswith("Z: profile_by_handle")
    assert beat("sources", "close", "lama", "--reason", "over").code == 0
    (lama,) = [one for one in beat("sources", "--json").json if one["source"] == "lama"]
    assert lama["breakers"] == []
    audited = beat("audit", "source/lama", "--json").json
    assert [(entry["action"], entry["detail"]["reason"]) for entry in audited] == [
        ("breaker.close", "over"),
        ("breaker.open", "maintenance"),
    ]
    assert beat("sources", "open", "nobody", "--reason", "x").code == 4


def test_the_answers_of_a_source_are_distrusted_and_trusted_and_the_audit_log_says_who(beat: Beat) -> None:
    opened = beat("sources", "distrust", "lama", "--operation", "profile_by_handle", "--reason", "yesterday's numbers")
    assert (opened.code, opened.out) == (0, "the answers of lama are not used: profile_by_handle\n")
    version = platforms()["instagram"].sources["lama"].endpoints["profile_by_handle"].version
    (lama,) = [row for row in beat("sources").rows if row[1] == "lama"]
    assert lama[6] == f"open by hand: profile_by_handle (data, parser version {version})"
    (lama,) = [one for one in beat("sources", "--json").json if one["source"] == "lama"]
    (breaker,) = lama["breakers"]
    assert (breaker["kind"], breaker["by_hand"], breaker["parser_version"]) == ("data", True, version)
    trusted = beat("sources", "trust", "lama", "--operation", "profile_by_handle", "--reason", "corrected")
    assert (trusted.code, trusted.out) == (0, "the answers of lama are used again: profile_by_handle\n")
    (lama,) = [one for one in beat("sources", "--json").json if one["source"] == "lama"]
    assert lama["breakers"] == []
    audited = beat("audit", "source/lama", "--json").json
    assert [(entry["action"], entry["detail"]["reason"]) for entry in audited] == [
        ("data_breaker.close", "corrected"),
        ("data_breaker.open", "yesterday's numbers"),
    ]
    assert beat("sources", "distrust", "nobody", "--reason", "x").code == 4
    of_none = beat("sources", "distrust", "lama", "--parser-version", "1", "--reason", "x")
    assert (of_none.code, "name the operation too" in of_none.err) == (2, True)


def test_resolved_alerts_keep_their_severity_and_have_an_end_and_a_duration(
    beat: Beat, rows: psycopg.Connection
) -> None:
    rows.execute(
        "INSERT INTO alert (key, severity, cause, impact, automatic, action, opened_at, resolved_at) "
        "SELECT 'backlog:' || n, 'critical', 'it was full', 'none', 'none', 'none', now() - n * interval '1 hour', "
        "CASE WHEN n <> 2 THEN now() - n * interval '1 hour' + interval '5 minutes' END FROM generate_series(1, 3) n"
    )
    found = beat("alerts", "--resolved", "--header").rows
    heads, shown = found[0], [dict(zip(found[0], row, strict=True)) for row in found[1:]]
    assert {"severity", "since", "resolved", "lasted"} <= set(heads)
    assert [one["severity"] for one in shown] == ["critical"] * 3
    assert [one["lasted"] for one in shown] == ["5 min", "", "5 min"]
    assert [one["since"] for one in shown] == sorted((one["since"] for one in shown), reverse=True)
    assert len(beat("alerts").rows) == 1


def test_quarantine_is_listed_shown_and_resolved(beat: Beat, rows: psycopg.Connection) -> None:
    rows.execute(
        "INSERT INTO quarantine (kind, platform, source, operation, error, path, shape) "
        "SELECT 'malformed', 'instagram', 'lama', 'profile_by_handle', 'no id', '$.id', '0123456789ab' FROM generate_series(1, 2)"
    )
    ((count, _, fingerprint, kind, place, path, shape, newest, _, _, why),) = beat("quarantine").rows
    assert (count, kind, place, path, shape, why) == (
        "2", "malformed", "instagram lama profile_by_handle", "$.id", "0123456789ab", "no id",
    )  # fmt: skip
    assert beat("quarantine", "show", newest).json["error"] == "no id"
    again = beat("quarantine", "replay", "malformed", "--newest", newest, "--reason", "the parser is fixed")
    assert (again.code, again.out) == (0, "Queued 0 entries for replay. Those that still fail are listed again\n")
    assert beat("quarantine", "replay", "message", "--newest", newest, "--reason", "x").code == 2
    of_none = beat("quarantine", "resolve", "malformed", "--fingerprint", "none", "--reason", "the parser is fixed")
    assert of_none.out == "0 resolved\n"
    which = ("--newest", newest, "--fingerprint", fingerprint)
    resolved = beat("quarantine", "resolve", "malformed", *which, "--reason", "the parser is fixed")
    assert (resolved.code, resolved.out) == (0, "2 resolved\n")
    assert beat("quarantine").out == ""
    assert beat("quarantine", "show", "99").code == 4


def test_the_payload_of_a_quarantined_answer_is_shown(beat: Beat, rows: psycopg.Connection) -> None:
    rows.execute(
        "INSERT INTO raw_payload (fetch_id, created_at, attempt, source, body) VALUES (7, now(), 1, 'lama', %s)",
        [pack(b'{"id": null}')],
    )
    rows.execute(
        "INSERT INTO quarantine (kind, platform, source, operation, error, path, fetch_id, payload_at) "
        "SELECT 'malformed', 'instagram', 'lama', 'profile_by_handle', 'no id', '$.id', fetch_id, created_at FROM raw_payload "
        "UNION ALL SELECT 'malformed', 'instagram', 'lama', 'profile_by_handle', 'no id', '$.id', 8, now() "
        "UNION ALL SELECT 'message', NULL, NULL, NULL, 'no actor', NULL, NULL, NULL"
    )
    kept, gone, message = (number for (number,) in rows.execute("SELECT id::text FROM quarantine ORDER BY id"))
    assert beat("quarantine", "show", kept, "--payload").json == {"id": None}
    refused = beat("quarantine", "show", gone, "--payload")
    assert (refused.code, "past its retention" in refused.err) == (4, True)
    refused = beat("quarantine", "show", message, "--payload")
    assert (refused.code, "no call of a provider" in refused.err) == (4, True)
    assert beat("quarantine", "resolve", "malformed", "--reason", "the parser is fixed").out == "2 resolved\n"


def test_alerts_are_listed_and_silenced(beat: Beat, rows: psycopg.Connection) -> None:
    rows.execute(
        "INSERT INTO alert (key, severity, cause, impact, automatic, action) VALUES ('source:lama', 'critical', 'c', 'i', 'a', 'x')"
    )
    ((number, severity, _, *told),) = beat("alerts").rows
    assert (severity, told) == ("critical", ["c", "i", "a", "x"])
    assert beat("alerts", "silence", number, "--reason", "known").out == "source:lama is silenced\n"
    assert beat("alerts").rows[0][1] == "critical, silenced"
    assert beat("alerts", "silence", "99", "--reason", "known").code == 4


def test_on_a_screen_of_80_by_24_an_alert_does_not_scroll_away_above_those_that_it_explains(
    beat: Beat, rows: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows.execute(
        "INSERT INTO alert (key, severity, cause, impact, automatic, action, silenced) "
        "SELECT 'rule:' || n, 'critical', repeat('the cause ', 15), repeat('an impact ', 15), repeat('Beat waits ', 15), repeat('do this ', 15), n > 1 "
        "FROM generate_series(1, 6) n"
    )
    written = io.StringIO()
    with monkeypatch.context() as screen:
        screen.setattr(sys.stdout, "isatty", lambda: True, raising=False)
        screen.setattr(output, "out", Console(file=written, width=80, height=24, highlight=False))
        assert beat("alerts").code == 0
        seen = written.getvalue()
        assert beat("alerts", "--silenced").code == 0
        whole = written.getvalue()[len(seen) :]
    assert len(seen.splitlines()) <= 23
    assert "5 more silenced" in seen
    assert seen.count("the cause the cause") < whole.count("the cause the cause")
    assert len(beat("alerts").rows) == len(beat("alerts", "--json").json) == 6
    rows.execute("UPDATE alert SET silenced = true")
    with monkeypatch.context() as screen:
        screen.setattr(sys.stdout, "isatty", lambda: True, raising=False)
        screen.setattr(output, "out", Console(file=(only := io.StringIO()), width=80, height=24, highlight=False))
        assert beat("alerts").code == 0
    assert "more silenced" not in only.getvalue()


def test_a_flow_is_shown_changed_paused_and_resumed(beat: Beat) -> None:
    def shown() -> list[str]:
        return next(row for row in beat("flows").rows if row[1] == "refresh_tiktok_profiles")

    assert shown()[:7] == ["tiktok", "refresh_tiktok_profiles", "0", "25", "5", "5", "0"]
    changed = beat("flows", "set", "refresh_tiktok_profiles", "--workers", "2", "--reason", "overload")
    told = "tiktok refresh_tiktok_profiles: running, limit 2 x 5 = 10 concurrent calls\n"
    assert (changed.code, changed.out) == (0, told)
    assert shown()[3:] == ["10", "2", "5", "0", "", "declared 5 x 5"]
    assert (
        "paused (limit when resumed: " in beat("flows", "pause", "refresh_tiktok_profiles", "--reason", "overload").out
    )
    assert shown()[-1] == "paused"
    assert "running" in beat("flows", "resume", "refresh_tiktok_profiles", "--reason", "over").out
    assert beat("flows", "reset", "refresh_tiktok_profiles", "--reason", "over").code == 0
    (flow,) = [one for one in beat("flows", "--json").json if one["flow"] == "refresh_tiktok_profiles"]
    assert (flow["limit"], flow["paused"]) == (25, False)
    audited = beat("audit", "flow/tiktok/refresh_tiktok_profiles", "--json").json
    assert [entry["detail"]["reason"] for entry in audited] == ["over", "over", "overload", "overload"]
    assert beat("flows", "pause", "refresh_profile_by_handle", "--reason", "x").code == 2
    assert beat("flows", "pause", "none", "--reason", "x").code == 4
