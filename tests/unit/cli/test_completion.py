"""The shell completes the names of what there is, not only the commands."""

import pytest

from beat_actors.cli.app import invoke


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        (["scrape", "in"], "instagram"),
        (["sources", "pause", "gr"], "graphapi"),
        (["sources", ""], "lama"),
        (["credentials", "list", "l"], "lama"),
        (["credentials", "reset", "--source", ""], "tikwm"),
        (["flows", "pause", "refresh_t"], "refresh_tiktok_profiles"),
        (["flows", "--platform", ""], "youtube"),
        (["queues", "list", ""], "express"),
        (["simulator", "fault", "out"], "outage"),
        (["simulator", "fault", "outage", ""], "shopify"),
        (["requests", "--status", ""], "failed"),
        (["quarantine", "replay", ""], "malformed"),
    ],
)
def test_names_are_offered(line: list[str], offered: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["__complete", *line]) == 0
    assert offered in capsys.readouterr().out.split()
