"""Every list of the command line on a terminal of 80 columns, with long names in it: what somebody copies is whole."""

import io
import re
import sys
from collections.abc import Callable, Iterator

import psycopg
import pytest
from cyclopts import App
from rich.console import Console

from beat_actors.cli import output
from beat_actors.cli.app import COMMANDS, app
from beat_actors.requests.intake import Accepted
from tests.integration.cli.conftest import Beat

WIDTH = 80
ACCOUNT = "a-customer-of-long-standing-with-a-long-name"
HANDLE = "somebody.with_quite.a_long_"
URL = "https://hooks.a-customer-of-long-standing.example.com/beat/events?of=scrape-requests"
FLOW = "refresh_profile_by_handle"
WORDS = "the provider said that it is asked too often and that the first call may go out again in some minutes"
COMMAND = re.compile(r"`beat [^`]*`")
IDENTIFIER = re.compile(r"(?=.*[a-z0-9])[\w.:/@-]*[A-Za-z0-9][._:/@-][\w.:/@-]*\w")
"""Words that are copied: with a sign between letters or digits."""
FILLED = f"""
INSERT INTO alert (key, severity, cause, impact, automatic, action, source, resolved_at)
SELECT 'credentials:bestsolutions-' || n, 'critical', '{WORDS}', '{WORDS}', '{WORDS}', '`beat credentials list bestsolutions`', 'bestsolutions',
       CASE WHEN n > 2 THEN now() + interval '1 minute' END FROM generate_series(1, 4) n;
INSERT INTO quarantine (kind, platform, source, operation, error, path)
SELECT 'malformed', 'instagram', 'bestsolutions', 'profile_by_handle', '{WORDS} ' || n, '$.data.user.edge_owner_to_timeline_media.edges[0].node.id'
FROM generate_series(1, 3) n;
INSERT INTO process (id, name, host, pid, seen_at, statements, statement_p99, pool_used, pool_most, pool_exhausted, claims, claim_p50, claim_p99, version)
SELECT 'p' || n, 'worker', 'ip-10-0-12-1' || n || '.eu-west-1.compute.internal', 1234567 + n, now() + interval '1 hour', 1999, 0.123, 12, 20, 1, 1234, 0.01, 0.2, '0.1.0'
FROM generate_series(1, 3) n;
INSERT INTO flow_setting (platform, flow, workers, concurrency, paused, changed_at)
VALUES ('instagram', '{FLOW}', 123, 456, true, now());
INSERT INTO breaker (platform, source, operation, kind, open_until, since, trips)
SELECT 'instagram', 'bestsolutions', operation, 'upstream', now() + interval '5 minutes', now(), 3
FROM unnest(ARRAY['profile_by_handle', 'posts_by_id', 'comments_by_post']) operation;
INSERT INTO held_record (platform, kind, key, fetch_id, request_id, source, operation, rules_version, priority, observed_at, record, fields, reasons, score,
                         said, good, state, held_at)
SELECT 'instagram', 'profile', '{HANDLE}' || n, 1, 1, 'bestsolutions', 'profile_by_handle', 1, 2, now(), '{{}}', '{{followers}}',
       '[{{"rule": "usual change"}}]', 0, '{{"values": {{"followers": 1234567}}}}', '{{"followers": [1234]}}', 'person', now() - interval '25 hours'
FROM generate_series(1, 2) n;
INSERT INTO notify_sink (name, kind, target, key_id, secret, severity, group_by, failures, last_error)
VALUES ('the-pager-of-the-night-shift', 'webhook', '{URL}', 'k', '', 'warning', 'all', 4, 'HTTP 503');
INSERT INTO notification (sink_id, group_key, expires_at, error)
SELECT id, 'credentials:bestsolutions-1', now() + interval '1 day', 'HTTP 503: {WORDS}' FROM notify_sink;
INSERT INTO erasure (platform, kind, subject, dry_run, actor, reason, position)
VALUES ('instagram', 'profile', '', false, 'key:the-key-of-the-dashboard', 'a request of the person', '{{}}');
INSERT INTO restore_job (token, selection, state, applies, rescrape, actor, reason, since, until, summary)
SELECT 'feedbeef', '{{"source": "bestsolutions"}}', state, true, false, 'key:the-key-of-the-dashboard', '{WORDS}', clock_timestamp(), clock_timestamp(), '{{}}'
FROM unnest(ARRAY['PLANNED', 'DONE']) state;
INSERT INTO source_score (week, platform, source, operation, calls, good, down, read, records, filled, fillable, ms, times)
SELECT date_trunc('week', now())::date, 'instagram', 'bestsolutions', operation, 1234567, 1200000, 34567, 1200000, 1200000, 900000, 1200000, 1e8,
       array_fill(1000::bigint, ARRAY[10])
FROM unnest(ARRAY['profile_by_handle', 'posts_by_id']) operation;
UPDATE scrape_request_log SET status = 'FAILED', live = false, open_fetches = 0, data = '{{"error": {{"code": "no_available_sources", "message": "none"}}}}'
WHERE id = (SELECT max(id) FROM scrape_request_log);
"""


@pytest.fixture
def filled(beat: Beat, submit: Callable[..., list[Accepted]], database_url: str) -> list[Accepted]:
    """Something in each list."""
    for source, number in (("bestsolutions", 3), ("graphapi", 2)):
        for n in range(number):
            secret = (
                f"key=secret-{n}" if source == "bestsolutions" else f"token=secret-{n}\nuser_id=1784140000000000{n}"
            )
            assert beat("credentials", "add", source, "--label", f"bought-in-{n}", stdin=secret).code == 0
    requests = submit(*(f"{HANDLE}{n}" for n in range(4)))
    store = "a-store-with-a-long-name.myshopify.com"
    for line in (
        ("keys", "create", "the-key-of-the-dashboard", "--scope", "read", "--account", ACCOUNT),
        ("webhooks", "add", URL, "--event", "beat.scrape_request.*"),
        ("accounts", "grant", ACCOUNT, "shopify", store, "--reason", WORDS),
    ):
        said = beat(*line)
        assert said.code == 0, said
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(FILLED)
    return requests


LISTS = {
    "requests": (HANDLE + "0", FLOW),
    "requests --status failed": ("no_available_sources", HANDLE + "3"),
    "requests {id}": (FLOW,),
    "why {id}": (),
    "alerts": ("bestsolutions`",),
    "alerts --resolved": (),
    "sources": ("bestsolutions", "graphapi"),
    "flows": (FLOW, "refresh_tiktok_profiles"),
    "quarantine": ("profile_by_handle",),
    "credentials list": ("bestsolutions", "bought-in-2"),
    "credentials show {credential}": ("bought-in-0",),
    "keys list": ("the-key-of-the-dashboard", ACCOUNT),
    "webhooks list": (URL,),
    "accounts grants": (ACCOUNT, "a-store-with-a-long-name.myshopify.com"),
    "limits": ("refresh_profile_insta_daily", "refresh_profile_insta_daily_pace"),
    "audit": ("account.grant",),
    "stuck": (),
    "db": ("scrape_request_log",),
    "db connections": (),
    "db processes": ("ip-10-0-12-11.eu-west-1.compute.internal:1234568",),
    "queues --once": ("credential_broker",),
    "assets backlog": (),
    "assets costs": (),
    "assets list": (),
    "events status": (),
    "events parked": (),
    "events replays": (),
    "payloads": (),
    "parsers": ("bestsolutions",),
    "connect": ("bestsolutions",),
    "try lama": ("profile_by_handle",),
    "settings": ("BEAT_DATABASE_MAX_OVERFLOW",),
    "brief": ("bestsolutions`",),
    "top --once": (),
    "forecast": ("refresh_profile_insta_daily",),
    "scorecard": ("bestsolutions", "profile_by_handle"),
    "held": ("bestsolutions", HANDLE + "1"),
    "held list": ("bestsolutions", HANDLE + "1"),
    "held show {held}": (),
    "notify list": ("the-pager-of-the-night-shift", URL),
    "notify log": ("the-pager-of-the-night-shift",),
    "erase list": (),
    "restore list": (),
    "restore show {restore}": (),
    "quarantine show {quarantine}": (),
    "webhooks deliveries {webhook}": (),
    "events tail": (),
    "parsers list": ("bestsolutions",),
    "queues list ingest": (),
}
"""Each list, and what is in it at least."""
DOCUMENTS = frozenset({"held show {held}", "quarantine show {quarantine}"})
"""What is printed as JSON, to be pasted: a line ends where a value does."""
OTHERS = {
    "of one thing, by the same functions as `credentials show`": {"assets show", "erase show", "payloads show", "queues show", "provenance"},
    "its lines have tests of their own": {"doctor", "up", "scrape", "watch", "chaos", "check", "blast", "snapshot", "parsers diff", "parsers shadow", "erase", "restore"},
    "simulated providers": {"simulator"},
    "changes something, and says so in a sentence": {
        "retry", "cancel", "migrate", "new-platform", "credentials add", "credentials replace", "credentials enable", "credentials disable",
        "credentials reset", "credentials share", "credentials unshare", "credentials rotate-keys", "accounts grant", "accounts revoke",
        "sources pause", "sources open", "sources resume", "sources close", "sources distrust", "sources trust", "flows set", "flows reset", "flows pause", "flows resume", "alerts silence",
        "notify add", "notify change", "notify pause", "notify resume", "notify remove", "notify test", "quarantine resolve", "quarantine replay",
        "held accept", "held reject", "assets forget", "assets allow", "assets check", "assets retry", "erase lift", "payloads erase",
        "restore apply", "restore resume", "restore undo", "restore cancel", "queues requeue", "queues requeue-dead", "queues drop", "queues purge",
        "keys create", "keys revoke", "keys rotate", "webhooks add", "webhooks rotate", "webhooks pause", "webhooks resume", "webhooks remove",
        "webhooks resend", "events replay", "events retry", "events drop", "events forget", "events backfill", "limits reset", "db vacuum", "db roles",
    },
}  # fmt: skip
"""All other commands, by why they are not here."""
TABLES = frozenset({"flows", "queues --once", "credentials list", "parsers", "db"})
"""Lists that stay tables, with a line for each row."""
NO_LISTS = frozenset({
    "requests {id}", "why {id}", "credentials show {credential}", "assets backlog", "assets costs", "events status", "events tail", "brief", "top --once",
    "scorecard", "held show {held}", "restore show {restore}", "quarantine show {quarantine}",
})  # fmt: skip


def typed(line: str, requests: list[Accepted], beat: Beat) -> list[str]:
    listed = {
        "credential": ("credentials", "list"),
        "held": ("held",),
        "restore": ("restore", "list"),
        "webhook": ("webhooks", "list"),
    }
    ids = {
        name: min(one["id"] for one in beat(*words, "--json").json)
        for name, words in listed.items()
        if f"{{{name}}}" in line
    }
    if "{quarantine}" in line:
        ids["quarantine"] = min(one["newest"] for one in beat("quarantine", "--json").json)
    return line.format(id=requests[0].id, **ids).split()


def screen(beat: Beat, monkeypatch: pytest.MonkeyPatch, width: int, words: list[str]) -> str:
    written = io.StringIO()
    with monkeypatch.context() as terminal:
        terminal.setattr(sys.stdout, "isatty", lambda: True, raising=False)
        terminal.setattr(output, "out", Console(file=written, width=width, height=24, highlight=False))
        for module in [
            one for name, one in sys.modules.items() if name.startswith("beat_actors.cli.") and hasattr(one, "out")
        ]:
            terminal.setattr(module, "out", output.out)
        said = beat(*words)
    assert said.code == 0, said
    return written.getvalue() + said.out


@pytest.mark.slow
def test_every_list_keeps_its_identifiers_whole_on_80_columns(
    beat: Beat, filled: list[Accepted], monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong: list[object] = []
    seen = 0
    for line, wanted in LISTS.items():
        words = typed(line, filled, beat)
        narrow, wide = (screen(beat, monkeypatch, width, words) for width in (WIDTH, 1000))
        at_hand = set(narrow.split())
        copied = {word.strip(",;`()") for word in wide.split()}
        copied = {word for word in copied if IDENTIFIER.fullmatch(word) and not re.fullmatch(r"[\d.,:TZ-]+", word)}
        seen += len(copied)
        if line in TABLES and len(narrow.splitlines()) > 2 * len(wide.splitlines()):
            wrong.append((line, "a block for each row, which scrolls away"))
        # A narrow screen leaves whole columns out, and never a part of a word.
        squeezed = "".join(narrow.split())
        broken = sorted(word for word in copied if word not in narrow and word in squeezed)
        lacking = sorted(word for word in wanted if word not in at_hand)
        # A command that is wider than the screen goes on behind a backslash.
        typed_again = " ".join(narrow.replace("\\\n", " ").split())
        torn = (
            []
            if line in DOCUMENTS
            else [one for one in set(COMMAND.findall(wide)) if one not in narrow and one not in typed_again]
        )
        long = [one for one in narrow.splitlines() if line not in DOCUMENTS]
        long = [one for one in long if len(one) > WIDTH and len(one.split()) > 2]
        if broken or lacking or long or torn:
            wrong.append((line, broken, lacking, long, torn))
    assert wrong == []
    assert seen > 100


def leaves(under: App, *path: str) -> Iterator[str]:
    """The commands that do something by themselves."""
    inner = [name for name in under if not name.startswith("-")]
    if not inner or under.default_command:
        yield " ".join(path)
    for name in inner:
        yield from leaves(under[name], *path, name)


def test_every_command_is_here_or_its_reason_why_not() -> None:
    known = {command for name, _, _ in COMMANDS for command in leaves(app[name], name)}
    shown = {max((one for one in known if f"{line} ".startswith(f"{one} ")), key=len) for line in LISTS}
    others = {name for names in OTHERS.values() for name in names}
    groups = tuple(f"{name} " for name in others - known)
    assert [one for one in sorted(known - shown - others) if not one.startswith(groups)] == []
    assert others & shown == set()


@pytest.mark.slow
def test_every_list_is_an_array_in_json(beat: Beat, filled: list[Accepted]) -> None:
    wrong = []
    for line in LISTS.keys() - NO_LISTS:
        said = beat(*typed(line, filled, beat), "--json")
        if said.code != 0 or not isinstance(said.json, list):
            wrong.append((line, said.code, said.out[:80], said.err))
    assert wrong == []


@pytest.mark.slow
def test_what_is_broken_would_be_found(beat: Beat, filled: list[Accepted], monkeypatch: pytest.MonkeyPatch) -> None:
    """With a table that folds its cells, as before there were blocks."""
    monkeypatch.setattr(output, "_fits", lambda *_: True)
    with pytest.raises(AssertionError):
        test_every_list_keeps_its_identifiers_whole_on_80_columns(beat, filled, monkeypatch)
