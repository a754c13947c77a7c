"""`beat connect` and `beat try`: a credential by key or by login, and one call inside of all limits."""

import json
import threading
import urllib.request
import webbrowser
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import psycopg
import pytest

from beat_actors.cli import connect
from beat_actors.local.home import temporary_home
from beat_actors.local.servers import SimulatorServer, running
from beat_actors.settings import Settings
from tests.integration.cli.conftest import Beat

CLIENT_SECRET, TOKEN = "canary-client-51c9", "canary-token-8e02"
APP = {"client_id": "1234", "client_secret": CLIENT_SECRET}
ACCOUNTS = [
    {"name": "no account"},
    {"name": "one", "instagram_business_account": {"id": "17841400000000001", "username": "one"}},
    {"name": "two", "instagram_business_account": {"id": "17841400000000002", "username": "two"}},
]


@dataclass
class Provider:
    """What is answered at each path, and what was asked there, in order."""

    url: str
    answers: dict[str, tuple[int, Any]] = field(default_factory=dict)
    asked: list[tuple[str, dict[str, list[str]]]] = field(default_factory=list)


@pytest.fixture
def provider() -> Iterator[Provider]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            size = int(self.headers.get("Content-Length") or 0)
            path, _, query = self.path.partition("?")
            there.asked.append((path, parse_qs(query) | parse_qs(self.rfile.read(size).decode())))
            status, said = there.answers.get(path, (404, {"error": "not_here"}))
            self.send_response(status)
            self.end_headers()
            self.wfile.write(json.dumps(said).encode())

        do_POST = do_GET  # noqa: N815

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    there = Provider(f"http://127.0.0.1:{server.server_port}")
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield there
    server.shutdown()
    server.server_close()


@pytest.fixture
def browser(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """A person who logs in at each page that is opened: the browser comes back with these. Returns the pages."""

    def logs_in(**brought: str) -> list[str]:
        opened: list[str] = []

        def go(url: str) -> bool:
            opened.append(url)
            query = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
            back = f"{query['redirect_uri']}?{urlencode({'state': query['state'], 'code': 'the-code', **brought})}"
            threading.Thread(target=lambda: urllib.request.urlopen(back, timeout=30).read(), daemon=True).start()
            return True

        monkeypatch.setattr("webbrowser.open", go)
        return opened

    return logs_in


@pytest.fixture
def port(unused_tcp_port: int) -> str:
    return str(unused_tcp_port)


def at(provider: Provider, source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BEAT_SOURCES", json.dumps({source: {"base_url": provider.url}}))


LOGINS: list[tuple[str, Mapping[str, str], Mapping[str, Any], str]] = [
    ("ytapi", APP, {"/token": {"access_token": "short", "refresh_token": TOKEN}}, "accounts.google.com"),
    ("shopify", {**APP, "shop": "One.myshopify.com"}, {"/oauth/access_token": {"access_token": TOKEN}}, "one.myshopify.com"),
    ("graphapi", APP, {"/oauth/access_token": {"access_token": TOKEN}, "/me/accounts": {"data": ACCOUNTS[:2]}}, "www.facebook.com"),
]  # fmt: skip


@pytest.mark.parametrize(("source", "app", "answers", "host"), LOGINS, ids=[one[0] for one in LOGINS])
def test_a_login_with_the_browser_becomes_a_sealed_credential(
    beat: Beat,
    provider: Provider,
    browser: Callable[..., list[str]],
    port: str,
    monkeypatch: pytest.MonkeyPatch,
    source: str,
    app: Mapping[str, str],
    answers: Mapping[str, Any],
    host: str,
) -> None:
    at(provider, source, monkeypatch)
    provider.answers = {path: (200, said) for path, said in answers.items()}
    opened = browser()
    said = beat("connect", source, "--login", "--port", port, stdin=json.dumps(app))
    assert said.code == 0, said
    assert urlsplit(opened[0]).netloc == host
    assert any(asked.get("code") == ["the-code"] for _, asked in provider.asked)
    (found,) = beat("credentials", "list", source, "--json").json
    assert f"credential {found['id']} of {source} is sealed" in said.out
    assert "limit: " in said.out
    assert "it will be allowed: " in said.out
    assert not [one for one in (CLIENT_SECRET, TOKEN, "the-code") if one in said.out + said.err]


@pytest.fixture
def pasting(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """A person who logs in with a browser of another machine and pastes the address, with `changed` in it, to which it was sent."""

    def pastes(**changed: str) -> list[str]:
        said: list[str] = []
        say = connect.say

        def heard(text: str) -> None:
            said.append(text)
            say(text)

        def answer(_prompt: str) -> str:
            (page,) = [line for line in said if line.startswith("https://")]
            query = {name: values[0] for name, values in parse_qs(urlsplit(page).query).items()}
            return f" {query['redirect_uri']}?{urlencode({'state': query['state'], 'code': 'the-code', **changed})}\n"

        monkeypatch.setattr(connect, "say", heard)
        monkeypatch.setattr("builtins.input", answer)
        monkeypatch.setattr("webbrowser.open", lambda url: pytest.fail("no browser is wanted"))
        return said

    return pastes


@pytest.mark.parametrize(("source", "app", "answers", "host"), LOGINS, ids=[one[0] for one in LOGINS])
def test_a_login_with_a_browser_of_another_machine_becomes_a_sealed_credential(
    beat: Beat,
    provider: Provider,
    pasting: Callable[..., list[str]],
    monkeypatch: pytest.MonkeyPatch,
    source: str,
    app: Mapping[str, str],
    answers: Mapping[str, Any],
    host: str,
) -> None:
    at(provider, source, monkeypatch)
    provider.answers = {path: (200, said) for path, said in answers.items()}
    heard = pasting()
    said = beat("connect", source, "--login", "--paste", stdin=json.dumps(app))
    assert said.code == 0, said
    assert [urlsplit(line).netloc for line in heard if line.startswith("https://")] == [host]
    (found,) = beat("credentials", "list", source, "--json").json
    assert f"credential {found['id']} of {source} is sealed" in said.out
    assert not [one for one in (CLIENT_SECRET, TOKEN, "the-code") if one in said.out + said.err]


def test_an_address_of_another_login_is_not_used(
    beat: Beat, provider: Provider, pasting: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    at(provider, "ytapi", monkeypatch)
    pasting(state="forged")
    said = beat("connect", "ytapi", "--login", "--paste", stdin=json.dumps(APP))
    assert said.code == 1
    assert "another login" in said.err
    assert provider.asked == []


@pytest.mark.parametrize(
    ("browser", "terminal", "wanted"), [(True, True, False), (False, True, True), (False, False, False)]
)
def test_a_terminal_without_a_browser_asks_for_the_address(
    monkeypatch: pytest.MonkeyPatch, browser: bool, terminal: bool, wanted: bool
) -> None:
    def get() -> None:
        if not browser:
            raise webbrowser.Error("could not locate runnable browser")

    monkeypatch.setattr("webbrowser.get", get)
    monkeypatch.setattr("sys.stdin.isatty", lambda: terminal, raising=False)
    assert connect._must_paste() is wanted


def test_a_code_of_another_login_is_not_used(
    beat: Beat, provider: Provider, browser: Callable[..., list[str]], port: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    at(provider, "ytapi", monkeypatch)
    for brought, why in ({"state": "forged"}, "another login"), ({"code": "", "error": "access_denied"}, "no code"):
        browser(**brought)
        said = beat("connect", "ytapi", "--login", "--port", port, stdin=json.dumps(APP))
        assert said.code == 1
        assert why in said.err
    assert provider.asked == []
    assert beat("credentials", "list", "ytapi", "--json").json == []


def test_a_login_with_several_accounts_asks_which(
    beat: Beat, provider: Provider, browser: Callable[..., list[str]], port: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    at(provider, "graphapi", monkeypatch)
    provider.answers = {
        "/oauth/access_token": (200, {"access_token": TOKEN}),
        "/me/accounts": (200, {"data": ACCOUNTS}),
    }
    browser()
    said = beat("connect", "graphapi", "--login", "--port", port, stdin=json.dumps(APP))
    assert said.code == 1
    assert "17841400000000001 (one), 17841400000000002 (two)" in said.err
    chosen = json.dumps({**APP, "user_id": "17841400000000002"})
    assert beat("connect", "graphapi", "--login", "--port", port, stdin=chosen).code == 0
    (found,) = beat("credentials", "list", "graphapi", "--json").json
    assert found["owner"] == "17841400000000002"


def test_what_a_provider_says_to_a_wrong_login_is_reported_by_its_code_alone(
    beat: Beat, provider: Provider, browser: Callable[..., list[str]], port: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    at(provider, "ytapi", monkeypatch)
    provider.answers = {"/token": (401, {"error": "invalid_client", "error_description": f"not {CLIENT_SECRET}"})}
    browser()
    said = beat("connect", "ytapi", "--login", "--port", port, stdin=json.dumps(APP))
    assert (said.code, said.err) == (1, "beat: the provider refuses the login: HTTP 401, invalid_client\n")


def test_connect_without_a_source_lists_what_each_needs(beat: Beat) -> None:
    listed = {one["source"]: one for one in beat("connect", "--json").json}
    assert listed["ytapi"]["login"]
    assert not listed["lama"]["login"]
    assert all(one["guide"] for one in listed.values())
    refused = beat("connect", "lama", "--login")
    assert refused.code == 2
    assert "lama has no login; give its fields: key" in refused.err


@pytest.fixture
def simulator(monkeypatch: pytest.MonkeyPatch, beat: Beat) -> Iterator[str]:
    with temporary_home() as home, running(home, one := SimulatorServer(home.port("simulator"), 10)):
        monkeypatch.setenv("BEAT_ENVIRONMENT", "rehearsal")
        monkeypatch.setenv("BEAT_SIMULATOR_URL", one.url)
        yield one.url


def calls_of(url: str, source: str) -> int:
    with urllib.request.urlopen(f"{url}/_simulator/ledger", timeout=30) as response:
        calls: int = json.loads(response.read())["by_source"][source]["calls"]
    return calls


def test_one_call_is_shown_charged_and_never_made_beyond_a_limit(
    beat: Beat, simulator: str, settings: Settings
) -> None:
    added = beat("connect", "bestsolutions", "--json", stdin=json.dumps({"key": TOKEN})).json
    assert added["limits"] == ["2 calls in any 1 s, for each credential"]
    tried = [beat("try", "bestsolutions", "profile_by_handle", "handle=creator_000007", "--json") for _ in range(2)]
    assert [one.code for one in tried] == [0, 0], tried
    shown = tried[0].json
    assert shown["request"]["url"].endswith("/bestsolutions/profile?username=creator_000007")
    assert shown["request"]["headers"]["X-RapidAPI-Key"] == "***"
    assert (shown["status"], shown["outcome"]) == (200, "ok")
    assert shown["records"][0]["handle"] == "creator_000007"
    assert "1 call of credential" in shown["cost"]
    assert not any(TOKEN in one.out + one.err for one in tried)
    # What came back and is not charged yet takes room: nobody runs a dispatch cycle here.
    third = beat("try", "bestsolutions", "profile_by_handle", "handle=creator_000007")
    assert third.code == 3
    assert "has room for profile_by_handle now, so no call was made" in third.err
    assert calls_of(simulator, "bestsolutions") == 2
    with psycopg.connect(settings.owner_url) as connection:
        assert connection.execute("SELECT count(*) FROM credential_call").fetchone() == (0,)
        assert connection.execute("SELECT sum(calls), min(outcome) FROM settlement").fetchone() == (2, "ok")
        assert connection.execute(
            "SELECT count(*) FROM trace_log WHERE operation = 'profile_by_handle'"
        ).fetchone() == (2,)
        assert connection.execute("SELECT count(*) FROM raw_payload").fetchone() == (0,)


def test_a_secret_that_is_too_short_to_be_looked_for_is_not_shown_either(beat: Beat, simulator: str) -> None:
    beat("connect", "bestsolutions", stdin=json.dumps({"key": "zq7"}))
    shown = beat("try", "bestsolutions", "profile_by_handle", "handle=creator_000007", "--json").json
    assert shown["request"]["headers"]["X-RapidAPI-Key"] == "***"
    assert "zq7" not in json.dumps(shown["request"])


def test_a_call_that_goes_wrong_is_judged_as_the_broker_judges_it(beat: Beat, simulator: str) -> None:
    beat("connect", "lama", stdin=json.dumps({"key": TOKEN}))
    said = beat("try", "lama", "profile_by_handle", "handle=nobody.is.this", "--json")
    assert said.code == 1
    assert said.json["outcome"] in ("missing", "unseen")
    for line, why in (
        (("lama", "profile_by_handle"), "profile_by_handle needs handle=..."),
        (("lama", "profile_by_handle", "handle"), "a parameter is NAME=VALUE"),
        (("lama", "nothing"), "lama has no operation 'nothing'"),
        (("jotucker", "profile_by_handle", "handle=x"), "add one: `beat connect jotucker`"),
    ):
        refused = beat("try", *line)
        assert refused.code == (4 if "nothing" in line else 2)
        assert why in refused.err
    listed = {one["operation"]: one["params"] for one in beat("try", "lama", "--json").json}
    assert listed["profile_by_handle"] == ["handle"]
