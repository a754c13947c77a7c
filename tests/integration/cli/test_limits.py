"""`beat limits`: what operators see of the limits on on-demand requests, and that a reset is on record."""

import uuid

import psycopg
import pytest
import redis

from beat_actors.settings import Settings
from tests.integration.cli.conftest import Beat

NAME = "refresh_profile_insta_daily"


@pytest.fixture
def prefix(monkeypatch: pytest.MonkeyPatch, beat: Beat) -> str:
    prefix = f"cli{uuid.uuid4().hex[:8]}_"
    monkeypatch.setenv("BEAT_LIMIT_PREFIX", prefix)
    return prefix


def test_s9_9_limits_are_shown_and_reset_with_a_reason(beat: Beat, settings: Settings, prefix: str) -> None:
    with redis.Redis.from_url(str(settings.redis_url)) as client:
        client.set(f"{prefix}{NAME}", 12_345)
    rows = {row[0]: row for row in beat("limits").rows}
    assert rows[NAME][1:7] == ["instagram", "12345", "7655", "5655", "20000", "1 d, sliding"]
    assert rows[NAME][10]  # it will be exhausted: all of this was within the last ten minutes
    assert rows["refresh_profile_insta_handle"][6] == "1 s, sliding, per handle"
    assert beat("limits", "reset", NAME).code == 2
    said = beat("limits", "reset", f"{prefix}{NAME}", "--reason", "a launch")
    assert (said.code, said.out) == (0, f"{prefix}{NAME} is reset; it had counted 12,345 calls\n")
    (daily,) = (one for one in beat("limits", "--json").json if one["name"] == NAME)
    assert (daily["used"], daily["left"]) == (0, 20_000)
    with psycopg.connect(str(settings.database_url)) as connection:
        ((actor, target, detail),) = connection.execute("SELECT actor, target, detail FROM audit_log").fetchall()
    assert actor.startswith("cli:")
    assert (target, detail) == (f"limit/{NAME}", {"used": 12_345, "calls": 20_000, "reason": "a launch"})


def test_what_cannot_be_reset_and_a_redis_that_is_away(
    beat: Beat, settings: Settings, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert beat("limits", "reset", "nonsense", "--reason", "x").code == 4
    assert beat("limits", "reset", "refresh_profile_insta_handle", "--reason", "x").code == 2
    monkeypatch.setenv("BEAT_REDIS_URL", "redis://127.0.0.1:9/0")
    said = beat("limits")
    assert said.code == 3
    assert "Redis does not answer" in said.err
    assert beat("limits", "reset", NAME, "--reason", "x").code == 3
    with psycopg.connect(str(settings.database_url)) as connection:
        assert connection.execute("SELECT FROM audit_log").fetchall() == []
