"""`beat credentials`: what people do with credentials, and that a secret goes in and never comes out."""

import base64

import pytest

from beat_actors.settings import Settings
from tests.conftest import VAULT_KEYS
from tests.integration.cli.conftest import Beat

SECRET = "sk-7f3a-very-secret"


def test_add_takes_json_or_lines_and_tells_a_duplicate(beat: Beat) -> None:
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
    assert "BEAT_VAULT_KEYS" in vault["mend"]
