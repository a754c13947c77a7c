"""The same commands, here and over the API of a process that serves the same database: what they print is the same."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from beat_actors.local.home import temporary_home
from beat_actors.settings import Settings
from tests.integration.api.test_door import serving
from tests.integration.cli.conftest import Beat

pytestmark = pytest.mark.slow

READS = (
    ("alerts", "--resolved"),
    ("sources",),
    ("sources", "lama"),
    ("flows", "--platform", "tiktok"),
    ("quarantine",),
    ("requests",),
    ("credentials", "list"),
    ("credentials", "list", "lama"),
    ("accounts", "grants"),
    ("keys", "list"),
    ("limits",),
    ("forecast", "--of", "pools"),
    ("webhooks", "list"),
    ("notify", "list"),
    ("notify", "log"),
    ("audit",),
    ("stuck",),
    ("assets", "list"),
    ("assets", "costs"),
    ("assets", "list", "--status", "failed", "--class", "avatar"),
    ("erase", "list"),
    ("scorecard", "--weeks", "4"),
    ("queues", "list", "ingest"),
    ("events", "replays"),
    ("events", "parked"),
    ("db", "--all"),
)
CHANGES = (
    ("sources", "pause", "lama", "--reason", "maintenance"),
    ("sources", "resume", "lama", "--reason", "over"),
    ("sources", "distrust", "lama", "--reason", "false numbers"),
    ("sources", "trust", "lama", "--operation", "profile_by_handle", "--parser-version", "1", "--reason", "corrected"),
    ("flows", "set", "refresh_tiktok_profiles", "--workers", "2", "--reason", "overload"),
    ("flows", "reset", "refresh_tiktok_profiles", "--reason", "over"),
    ("accounts", "grant", "acme", "shopify", "store-000007.myshopify.com", "--reason", "theirs"),
    ("accounts", "revoke", "acme", "shopify", "store-000007.myshopify.com", "--reason", "theirs no more"),
    ("credentials", "disable", "1", "--reason", "a rest"),
    ("credentials", "enable", "--source", "lama", "--reason", "over"),
    ("credentials", "reset", "--source", "lama", "--reason", "over"),
    ("quarantine", "resolve", "malformed", "--reason", "fixed"),
    ("quarantine", "replay", "malformed", "--reason", "fixed"),
    ("limits", "reset", "refresh_profile_insta_daily", "--reason", "a test"),
    ("queues", "purge", "ingest", "--reason", "a test"),
    ("stuck", "--requeue", "--reason", "it hangs"),
    ("assets", "retry", "--status", "failed", "--reason", "a test"),
)
REFUSALS = (
    (("sources", "nobody"), 4),
    (("sources", "pause", "nobody", "--reason", "x"), 4),
    (("sources", "distrust", "nobody", "--reason", "x"), 4),
    (("sources", "distrust", "lama", "--operation", "profile_by_handle", "--parser-version", "77", "--reason", "x"), 2),
    (("flows", "pause", "none", "--reason", "x"), 4),
    (("flows", "pause", "refresh_profile_by_handle", "--reason", "x"), 2),
    (("credentials", "list", "nobody"), 4),
    (("credentials", "show", "4711"), 4),
    (("requests", "4711"), 4),
    (("requests", "--platform", "nowhere"), 4),
    (("requests", "--flow", "nothing"), 4),
    (("why", "4711"), 4),
    (("watch", "4711"), 4),
    (("audit", "nothing/1"), 4),
    (("limits", "reset", "nothing", "--reason", "x"), 4),
    (("queues", "list", "nothing"), 4),
    (("quarantine", "show", "4711"), 4),
    (("webhooks", "pause", "4711"), 4),
    (("alerts", "silence", "4711", "--reason", "x"), 4),
    (("events", "replay", "--sink", "nobody", "--from", "1", "--reason", "x"), 4),
    (("events", "replay", "--sink", "nobody", "--from", "1", "--type", "nothing.*", "--reason", "x"), 4),
    (("events", "replays", "--cancel", "4711", "--reason", "x"), 4),
    (("events", "parked", "nobody"), 4),
    (("events", "retry", "nobody"), 4),
    (("events", "drop", "nobody", "--seq", "1", "--reason", "x"), 4),
    (("events", "forget", "nobody", "--reason", "x"), 4),
    (("events", "tail", "--type", "nothing.*"), 4),
    (("assets", "show", "5f2c9e1a-6c1b-4c0e-9d7e-2f1f0a3b4c5d"), 4),
    (("assets", "show", "4711"), 4),
    (("assets", "list", "--status", "nothing"), 2),
    (("assets", "retry", "--reason", "x"), 2),
    (("assets", "forget", "instagram", "nobody", "--reason", "x"), 4),
    (("assets", "forget", "nowhere", "nobody", "--reason", "x"), 4),
    (("assets", "allow", "instagram", "nobody", "--reason", "x"), 4),
    (("assets", "forget", "instagram", "nobody", "--kind", "things", "--reason", "x"), 2),
    (("erase", "instagram", "nobody", "--apply"), 2),
    (("erase", "nowhere", "nobody"), 4),
    (("erase", "show", "4711"), 4),
    (("scorecard", "--weeks", "99"), 2),
    (("scorecard", "--platform", "nowhere"), 4),
    (("erase", "lift", "instagram", "nobody", "--reason", "x"), 4),
    (("retry",), 2),
    (("cancel", "--reason", "x"), 2),
    (("credentials", "reset", "--reason", "x"), 2),
)


@pytest.fixture
def there(
    beat: Beat, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[], None]]:
    """An API over the test's database; a call makes the command line speak to it from then on."""
    key = beat("keys", "create", "operator", "--scope", "admin", "--rate", "60000").out.strip()
    with temporary_home() as home, serving(home, settings, tmp_path / "api.log") as served:

        def go() -> None:
            monkeypatch.setenv("BEAT_API_URL", f"http://127.0.0.1:{served.port}")
            monkeypatch.setenv("BEAT_API_KEY", key)

        yield go


def test_commands_do_the_same_here_and_over_the_api(
    beat: Beat, submit: Callable[..., object], there: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    submit("one", "two")
    assert beat("credentials", "add", "lama", "--json", stdin="key=abc").code == 0
    here = {line: beat(*line) for line in CHANGES}
    refused = {line: beat(*line) for line, _ in REFUSALS}
    there()
    for line in CHANGES:
        assert (line, beat(*line)) == (line, here[line])
    for line, code in REFUSALS:
        found = beat(*line)
        assert (line, found.code, refused[line].code) == (line, code, code)
    over = {line: beat(*line, "--json") for line in READS}
    monkeypatch.delenv("BEAT_API_URL")
    for line in READS:
        found = beat(*line, "--json")
        assert found.code == 0, (line, found)
        assert over[line].code == 0, (line, over[line])
        if line[0] not in ("keys", "db"):  # these move with each call
            assert (line, over[line].json) == (line, found.json)


def test_keys_webhooks_and_credentials_are_made_over_the_api(beat: Beat, there: Callable[[], None]) -> None:
    there()
    made = beat("keys", "create", "feeder", "--scope", "submit", "--json").json
    rotated = beat("keys", "rotate", str(made["id"]), "--json").json
    assert rotated["before"]["id"] == made["id"]
    assert beat("keys", "revoke", str(rotated["id"]), "--reason", "over").code == 0
    again = beat("keys", "revoke", str(rotated["id"]), "--reason", "over")
    assert (again.code, "revoked before" in again.err) == (1, True)
    hook = beat("webhooks", "add", "https://hooks.example.com/beat", "--json").json
    assert hook["secret"].startswith("whsec_")
    number = str(hook["id"])
    for line in (
        ("pause", number),
        ("resume", number),
        ("rotate", number),
        ("deliveries", number),
        ("remove", number, "--reason", "why"),
    ):
        assert beat("webhooks", *line).code == 0, line
    assert beat("credentials", "add", "tikwm", "--json", stdin="key=abc").json["added"]
    assert not beat("credentials", "add", "tikwm", "--json", stdin="key=abc").json["added"]
    assert beat("credentials", "rotate-keys").out.endswith("sealed with the first key of the ring\n")
    assert beat("db", "processes").code == 0
    assert beat("db", "connections").code == 0
    assert beat("queues").code == 0
    assert beat("doctor").code in (0, 1)


def test_the_shell_completes_ids_here_and_over_the_api(
    beat: Beat, submit: Callable[..., object], there: Callable[[], None]
) -> None:
    submit("one", "two")
    added = beat("credentials", "add", "lama", "--json", stdin="key=abc").json["id"]

    def offered(*line: str) -> list[str]:
        return beat("__complete", *line, "").out.split()[1:]

    lines = (
        ("why",),
        ("cancel",),
        ("requests",),
        ("retry",),
        ("credentials", "show"),
        ("credentials", "enable"),
        ("webhooks", "pause"),
    )
    here = {line: offered(*line) for line in lines}
    assert len(here[("why",)]) == 2
    assert (here[("retry",)], here[("credentials", "enable")]) == ([], [])
    assert here[("credentials", "show")] == [str(added)]
    there()
    assert {line: offered(*line) for line in lines} == here


def test_doctor_over_the_api_shows_all_that_the_api_knows(beat: Beat, there: Callable[[], None]) -> None:
    there()
    found = {one["check"]: one for one in beat("doctor", "--json").json}
    assert {"database", "redis", "scheduler", "credentials", "queues", "connections", "processes", "stuck"} <= set(
        found
    )
    assert found["database"]["ok"]
    assert "of" in found["connections"]["found"]
    assert not found["processes"]["ok"]
    assert "python -m scheduler" in found["processes"]["fix"]
