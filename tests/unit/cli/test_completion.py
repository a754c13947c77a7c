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


def test_no_id_is_offered_where_beat_does_not_answer(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("BEAT_API_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("BEAT_API_KEY", "beat_none")
    assert invoke(["__complete", "alerts", "silence", ""]) == 0
    told = capsys.readouterr()
    assert (told.out.strip().strip("\x1f"), told.err) == ("begin", "")
