"""Every list of the command line on a terminal of 80 columns, with long names in it: what somebody copies is whole."""

import io
import re
import sys
from collections.abc import Callable

import psycopg
import pytest
from rich.console import Console

from beat_actors.cli import output
from beat_actors.requests.intake import Accepted
from tests.integration.cli.conftest import Beat

WIDTH = 80
ACCOUNT = "a-customer-of-long-standing-with-a-long-name"
HANDLE = "somebody.with_quite.a_long_"
URL = "https://hooks.a-customer-of-long-standing.example.com/beat/events?of=scrape-requests"
FLOW = "refresh_profile_by_handle"
WORDS = "the provider said that it is asked too often and that the first call may go out again in some minutes"
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
}
"""Each list, and what is in it at least."""
TABLES = frozenset({"flows", "queues --once", "credentials list", "parsers", "db"})
"""Lists that stay tables, with a line for each row."""
NO_LISTS = frozenset(
    {"requests {id}", "why {id}", "credentials show {credential}", "assets backlog", "assets costs", "events status"}
)


def typed(line: str, requests: list[Accepted], beat: Beat) -> list[str]:
    credential = min(one["id"] for one in beat("credentials", "list", "--json").json)
    return line.format(id=requests[0].id, credential=credential).split()


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
        long = [one for one in narrow.splitlines() if len(one) > WIDTH and len(one.split()) > 2]
        if broken or lacking or long:
            wrong.append((line, broken, lacking, long))
    assert wrong == []
    assert seen > 100


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
