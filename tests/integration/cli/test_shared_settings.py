"""A command in another terminal works with the settings that the local stack was started with."""

from pathlib import Path

import pytest

from beat_actors.local.home import running_env
from beat_actors.local.stack import SHARED, Stack
from beat_actors.settings import Settings


def test_a_command_gets_the_limits_that_the_stack_was_started_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = '{"refresh_profile_insta_daily": {"calls": 5}}'
    monkeypatch.setenv("BEAT_LIMITS", limits)
    monkeypatch.setenv("BEAT_REDIS_NAMESPACE", "of-the-shell")
    stack = Stack(tmp_path / "beat")
    try:
        stack.home.write_env(stack.env)
        found = running_env(stack.home.path)
        assert found is not None
        assert (found["BEAT_LIMITS"], found["BEAT_REDIS_NAMESPACE"]) == (limits, "of-the-shell")
    finally:
        stack.home.erase()


def test_what_is_shared_are_settings() -> None:
    assert {name.removeprefix("BEAT_").lower() for name in SHARED} <= set(Settings.model_fields)
