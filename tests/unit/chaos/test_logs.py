"""What a run says of the errors that processes logged."""

from pathlib import Path

from beat_actors.chaos.logs import errors, logged, marked


def test_errors_are_told_by_kind_since_the_mark(tmp_path: Path) -> None:
    log = tmp_path / "api.log"
    log.write_text('{"event": "before", "service": "api", "level": "error"}\n')
    mark = marked(tmp_path)
    failed = '{"event": "library", "service": "worker", "logger": "a", "message": "it failed", "level": "error", "timestamp": "%s"}\n'
    with log.open("a") as file:
        file.write('{"event": "storage_unavailable", "service": "api", "level": "error"}\n' + failed % 1 + failed % 2)
        file.write('no JSON with "level"\n["level"]\n{"event": "swept", "service": "api", "level": "info"}\n')
    (tmp_path / "new.log").write_text(
        '{"event": "uncaught", "service": "scheduler", "error": "KeyError", "level": "critical"}\n'
    )
    assert errors(tmp_path, mark) == [
        "2 x worker library a it failed",
        "1 x api storage_unavailable",
        "1 x scheduler uncaught KeyError",
    ]
    assert [line["level"] for line in logged(tmp_path, "swept", mark)] == ["info"]
    assert logged(tmp_path, "before", mark) == []
