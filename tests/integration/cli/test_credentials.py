"""`beat credentials`: what people do with credentials, and that a secret goes in and never comes out."""

import base64
import json

import psycopg
import pytest

from beat_actors.cli.credentials import read_secret
from beat_actors.errors import BadInput
from beat_actors.settings import Settings
from tests.conftest import VAULT_KEYS
from tests.integration.cli.conftest import Beat

SECRET = "sk-7f3a-very-secret"


def test_add_takes_json_or_lines_and_reports_a_duplicate(beat: Beat) -> None:
    added = beat("credentials", "add", "lama", "--label", "first", "--json", stdin=f'{{"key": "{SECRET}"}}')
    assert added.code == 0
    assert added.json["added"]
    again = beat("credentials", "add", "lama", stdin=f"key={SECRET}\n")
    assert again.code == 0
    assert again.out == f"credential {added.json['id']} of lama was there already\n"


def test_a_secret_is_never_shown(beat: Beat) -> None:
    said = [
        beat("credentials", "add", "graphapi", stdin=f'{{"token": "{SECRET}", "user_id": "1"}}'),
        beat("credentials", "list"),
        beat("credentials", "list", "--json"),
        beat("credentials", "add", "lama", stdin=f'{{"key": ["{SECRET}"]}}'),
        beat("credentials", "add", "lama", stdin=f'{{"token": "{SECRET}"}}'),
        beat("credentials", "add", "lama", stdin=SECRET),
        beat("credentials", "add", "lama", stdin=f"key={SECRET}\0"),
        beat("doctor"),
    ]
    assert [one.code for one in said[:3]] == [0, 0, 0]
    assert [one.code for one in said[3:7]] == [2, 2, 2, 2]
    assert not any(SECRET in one.out + one.err for one in said)


def test_disable_enable_reset(beat: Beat) -> None:
    number = str(beat("credentials", "add", "lama", "--json", stdin=f"key={SECRET}").json["id"])

    def state() -> str:
        (found,) = beat("credentials", "list", "lama", "--json").json
        return str(found["state"])

    assert state() == "ready"
    assert beat("credentials", "disable", number, "--reason", "invoice").code == 0
    assert state() == "disabled"
    assert beat("credentials", "enable", number, "--reason", "paid").code == 0
    assert state() == "ready"
    assert beat("credentials", "reset", number, "--reason", "it is well").code == 0


def test_a_cooldown_that_has_ended_shows_no_time_and_says_what_happens_next(beat: Beat, database_url: str) -> None:
    beat("credentials", "add", "lama", stdin=f"key={SECRET}")
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("UPDATE credential SET disabled_till = clock_timestamp() - interval '1 hour'")
    (row,) = beat("credentials", "list", "lama").rows
    assert row[4:7] == ["probing", "", "its cooldown ended; the next call with it is a probe"]


def test_a_reason_is_required(beat: Beat) -> None:
    said = beat("credentials", "disable", "1")
    assert said.code == 2
    assert "--reason" in said.err


def test_rotate_keys(beat: Beat, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    beat("credentials", "add", "lama", stdin=f"key={SECRET}")
    new = f"new:{base64.b64encode(bytes(32)).decode()}"
    monkeypatch.setenv("BEAT_VAULT_KEYS", f"{new},{VAULT_KEYS}")
    assert beat("credentials", "rotate-keys").out.startswith("1 credentials sealed")
    monkeypatch.setenv("BEAT_VAULT_KEYS", new)
    vault = {finding["check"]: finding for finding in beat("doctor", "--json").json}["vault"]
    assert vault["ok"]
    monkeypatch.setenv("BEAT_VAULT_KEYS", VAULT_KEYS)
    vault = {finding["check"]: finding for finding in beat("doctor", "--json").json}["vault"]
    assert not vault["ok"]
    assert "BEAT_VAULT_KEYS" in vault["fix"]


def test_add_says_what_shows_whether_a_credential_is_good(beat: Beat) -> None:
    """Nobody is at work here, so no check comes back."""
    checked = beat("credentials", "add", "lama", stdin=f"key={SECRET}")
    assert checked.out == "credential 1 of lama added and is being checked: `beat credentials show 1`\n"
    assert beat("credentials", "add", "lama", "--json", stdin="key=another").json["check"] is None
    assert "its first call shows" in beat("credentials", "add", "jotucker", stdin=f"key={SECRET}").out


def test_show_reports_all_but_the_secret(beat: Beat, settings: Settings) -> None:
    beat("credentials", "add", "graphapi", "--label", "shop", stdin=f'{{"token": "{SECRET}", "user_id": "17841"}}')
    with psycopg.connect(str(settings.database_url), autocommit=True) as connection:
        connection.execute(
            "UPDATE credential SET checked_at = '2031-01-01', check_outcome = 'ok', scopes = '{read,write}', "
            "expires_at = '2031-03-01', data_access_expires_at = '2031-02-01 10:00'"
        )
    shown = beat("credentials", "show", "1")
    lines = {row[0]: row[1] for row in shown.rows if len(row) == 2}
    assert (lines["owner"], lines["check"], lines["scopes"]) == ("17841", "it is good", "read, write")
    assert (lines["expires"], lines["data access ends"]) == ("2031-03-01T00:00:00Z", "2031-02-01T10:00:00Z")
    assert [row[1] for row in shown.rows if len(row) == 4] == ["added"]
    document = beat("credentials", "show", "1", "--json").json
    assert document["credential"]["scopes"] == ["read", "write"]
    (listed,) = beat("credentials", "list").rows
    assert "2031-02-01T10:00:00Z" in listed
    assert SECRET not in shown.out + json.dumps(document)
    assert beat("credentials", "show", "4711").code == 4


def test_replace_gives_a_new_secret_to_the_same_credential(beat: Beat, settings: Settings) -> None:
    beat("credentials", "add", "lama", stdin=f"key={SECRET}")
    beat("credentials", "add", "lama", stdin="key=another")
    with psycopg.connect(str(settings.database_url), autocommit=True) as connection:
        connection.execute("UPDATE credential SET dead_at = now() WHERE id = 1")
    taken = beat("credentials", "replace", "1", "--reason", "revoked", stdin="key=another")
    assert taken.code == 2
    assert "credential 2 of lama has this secret already" in taken.err
    said = beat("credentials", "replace", "1", "--reason", "revoked", stdin="key=new")
    assert (said.code, said.out) == (
        0,
        "credential 1 of lama has a new secret and is being checked: `beat credentials show 1`\n",
    )
    document = beat("credentials", "show", "1", "--json").json
    assert document["credential"]["state"] == "dead"  # until it is seen to work
    assert document["history"][0]["kind"] == "replaced"
    assert document["history"][0]["cause"] == {"reason": "revoked"}
    assert beat("credentials", "replace", "1", stdin="key=new").code == 2
    assert beat("credentials", "replace", "4711", "--reason", "x", stdin="key=new").code == 4


def test_who_sits_at_a_terminal_chooses_among_the_forms(
    beat: Beat, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    forms = (("key",), ("client", "grant"))
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr("getpass.getpass", lambda prompt: f"<{prompt.strip()}>")
    monkeypatch.setattr("builtins.input", lambda _prompt: "2")
    assert read_secret(forms) == {"client": "<client:>", "grant": "<grant:>"}
    assert "2: client, grant" in capsys.readouterr().out
    assert read_secret(forms[:1]) == {"key": "<key:>"}
    monkeypatch.setattr("builtins.input", lambda _prompt: "3")
    with pytest.raises(BadInput, match="1 to 2"):
        read_secret(forms)


def test_every_change_of_a_credential_is_on_record_without_its_secret(
    beat: Beat, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOGNAME", "ana")
    beat("credentials", "add", "lama", stdin=f"key={SECRET}")
    beat("credentials", "add", "lama", stdin=f"key={SECRET}")  # was there already
    beat("credentials", "disable", "1", "--reason", "invoice")
    beat("credentials", "enable", "1", "--reason", "paid")
    beat("credentials", "reset", "1", "--reason", "well")
    beat("credentials", "replace", "1", "--reason", "leaked", stdin=f"key={SECRET}-2")
    beat("credentials", "enable", "4711", "--reason", "nobody")
    new = f"new:{base64.b64encode(bytes(32)).decode()}"
    monkeypatch.setenv("BEAT_VAULT_KEYS", f"{new},{VAULT_KEYS}")
    beat("credentials", "rotate-keys")
    found = beat("audit", "--json").json[::-1]
    assert [(one["action"], one["target"]) for one in found] == [
        ("credential.add", "credential/1"),
        ("credential.disable", "credential/1"),
        ("credential.enable", "credential/1"),
        ("credential.reset", "credential/1"),
        ("credential.replace", "credential/1"),
        ("vault.rotate", "vault"),
    ]
    assert {one["actor"] for one in found} == {"cli:ana"}
    assert found[1]["detail"] == {"source": "lama", "reason": "invoice"}
    assert SECRET not in json.dumps(found)
    (line,) = beat("audit", "vault").rows
    assert line[1:4] == ["cli:ana", "vault.rotate", "vault"]
    assert beat("audit", "--limit", "0").code == 2
