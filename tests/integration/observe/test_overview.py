"""What `beat top` shows, of real rows: one statement a look, in a calm system and in trouble, on a terminal of 80 x 24."""

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from beat_actors.broker.turn import turn
from beat_actors.cli.screen import VIEWS, frame, screen
from beat_actors.engine import Engine
from beat_actors.observe import overview as overviews
from beat_actors.observe.overview import overview
from beat_actors.requests import intake
from beat_actors.requests.intake import NewRequest
from tests.integration.events.rows import EVENTS, PLACES, SINK
from tests.integration.observe.conftest import BREAKER, looked
from tests.stages import retrieve
from tests.worlds import TOY

WIDTH, HEIGHT = 80, 24
ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b[()=>][A-Z0-9]?")


def text(picture: Any, view: str = "home", **more: Any) -> str:
    lines = screen(picture, view, WIDTH, HEIGHT, **more)
    assert len(lines) == HEIGHT
    assert max(line.cell_len for line in lines) <= WIDTH
    return "\n".join(line.plain for line in lines)


async def busy(engine: Engine, count: int = 4) -> None:
    """Requests, of which some are done and one waits."""
    for key in "ab":
        await engine.credentials.add("toy-first", {"key": key})
    await intake.accept(engine.database, [NewRequest("toy", "look", {"name": f"n{i}"}) for i in range(count)])
    await retrieve(engine, (await turn(engine.database, TOY)).leased)
    await turn(engine.database, TOY)


async def test_a_calm_system_shows_its_rates(
    engine: Engine, admin: psycopg.Connection[Any], process: Callable[..., None]
) -> None:
    process()
    await busy(engine)
    picture = await overview(engine.database)
    (source,) = [one for one in picture.sources if one.source == "toy-first"]
    assert (source.calls, source.ok, source.ready) == (4, 4, 2)
    assert (picture.call_rate, picture.leased_rate, picture.complete_rate) == (4, 4, 0)
    said = text(picture)
    assert "nothing is wrong" in said.splitlines()[0]
    assert "no alert is open" in said
    assert "nothing waits" in said
    assert "1 worker (p99 10 ms)" in said


async def test_trouble_shows_the_cause_and_why_work_waits(
    engine: Engine, admin: psycopg.Connection[Any], process: Callable[..., None]
) -> None:
    process(p99=2.0, troubles='{"logs": "lines are lost"}')
    await busy(engine)
    admin.execute(
        "UPDATE credential SET disabled_till = now() + interval '10 minutes', disabled_reason = 'rate_limited 429'"
    )
    await intake.accept(engine.database, [NewRequest("toy", "look", {"name": f"m{i}"}) for i in range(3)])
    await turn(engine.database, TOY)
    admin.execute(BREAKER, ("toy-second", "upstream"))
    admin.execute(EVENTS, (10,))
    admin.execute(PLACES)
    admin.execute(SINK, ("bus", 4))
    admin.execute("UPDATE event_sink SET trouble = 'unreachable', since = now() - interval '1 minute'")
    await looked(engine.database)
    picture = await overview(engine.database)
    assert picture.complete_rate == 8
    assert [(one.fetches, one.lanes) for one in picture.reasons] == [(3, 1)]
    assert "cooling down" in picture.reasons[0].why
    assert picture.lanes[0].until is not None
    assert "platform:toy" in [one.key for one in picture.alerts]
    assert sum(one.parts for one in picture.alerts) + len(picture.alerts) == picture.open_alerts
    said = text(picture)
    assert "3 fetches wait" in said
    assert re.search(r"toy-second .* 1 open, \d+ s", said)
    assert "bus unreachable" in said
    assert "1 worker (p99 2,000 ms, 1 in trouble)" in said
    assert "toy is at a standstill" in said
    assert text(picture, "waiting").splitlines()[1] == "waiting: 1"
    assert "toy look" in text(picture, "waiting")
    assert re.search(r"toy-first +0 +0 +2 +0 +0 +in \d+ (s|min)", text(picture, "credentials"))
    assert "logs" in text(picture, "processes")
    assert (
        text(picture, trouble="PostgreSQL did not answer")
        .splitlines()[0]
        .endswith("not of now: PostgreSQL did not answer")
    )


async def test_every_view_fits_80_x_24_with_more_rows_than_lines(
    engine: Engine, admin: psycopg.Connection[Any], process: Callable[..., None]
) -> None:
    for n in range(30):
        process(f"kind{n}")
    admin.execute(
        """INSERT INTO alert (key, severity, cause, impact, automatic, action)
           SELECT 'x:' || n, 'critical', repeat('a long cause ', 20), '', '', '' FROM generate_series(1, 60) n"""
    )
    admin.execute(
        """INSERT INTO breaker (platform, source, operation, kind, trips, open_until, by_hand)
           SELECT 'toy', 'a-source-with-a-long-name-' || n, 'look', 'upstream', 1, now() + interval '1 hour', true FROM generate_series(1, 50) n"""
    )
    picture = await overview(engine.database)
    for view in VIEWS.values():
        said = text(picture, view)
        assert "q quit" in said.splitlines()[-1], view
    assert "alerts: 60, lines 1 to 20 of 300" in text(picture, "alerts")
    assert "alerts: 60, lines 281 to 300 of 300" in text(picture, "alerts", first=1000)
    assert "sources: 50, lines 1 to 19 of 50" in text(picture, "sources")
    whole = "\n".join(line.plain for line in frame(picture, 200))
    assert whole.count("a-source-with-a-long-name-") == 50
    assert whole.count("critical") == 60


WAITING = 60_000
FETCHES = f"""
INSERT INTO lane (platform, operation, flow, priority, sources, reasons) SELECT 'toy', 'look', 'look', 2, ARRAY['s' || n], '[{{"source": "s", "why": "none"}}]' FROM generate_series(1, 50) n;
INSERT INTO scrape_request_log (platform, flow, params, live) SELECT 'toy', 'look', '{{}}', true FROM generate_series(1, {WAITING});
INSERT INTO scrape_fetch (request_id, lane_id, platform, operation, params, priority)
SELECT r.id, l.id, 'toy', 'look', '{{}}', 2 FROM (SELECT id, row_number() OVER () AS n FROM scrape_request_log) r
JOIN (SELECT id, row_number() OVER (ORDER BY id) AS n FROM lane) l ON l.n = 1 + r.n % 50;
INSERT INTO trace_log (at, platform, source, operation, credential_id, method, url, outcome, code, detail, ms)
SELECT now() - make_interval(secs => {WAITING} - n), 'toy', 's', 'look', 1, 'GET', 'u', 'ok', '', '', 1 FROM generate_series(1, {WAITING}) n
WHERE (now() - make_interval(secs => {WAITING} - n))::date = now()::date;
"""


@pytest.mark.slow
def test_a_look_does_not_grow_with_what_waits_and_what_was_called(admin: psycopg.Connection[Any]) -> None:
    admin.execute(FETCHES)
    admin.execute("VACUUM ANALYZE scrape_fetch, scrape_request_log, lane, trace_log")
    params = {"counted": 100, "calls": 1000, "events": 1000, "listed": 100, "seconds": 30, "window": 60}
    row = admin.execute(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {overviews.OVERVIEW.text}", params).fetchone()
    assert row is not None
    plan = row[0][0]["Plan"]
    assert plan["Shared Hit Blocks"] + plan["Shared Read Blocks"] < 3000
    made = admin.execute(overviews.OVERVIEW.text, params).fetchone()
    assert made is not None
    assert (made[1], made[2]) == (100, 100)


def typed(command: list[str], env: dict[str, str], *keys: str) -> list[str]:
    """Runs a command on a terminal of 80 x 24, presses keys, each when the screen has come to rest; the screens, as text. Ends with q."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", HEIGHT, WIDTH, 0, 0))
    before = termios.tcgetattr(slave)
    child = subprocess.Popen(command, stdin=slave, stdout=slave, stderr=subprocess.PIPE, env=env, close_fds=True)
    screens = []
    try:
        for key in (*keys, "q"):
            screens.append(settled(master, child))
            os.write(master, key.encode())
        assert child.wait(60) == 0, child.stderr.read().decode() if child.stderr else ""
        assert termios.tcgetattr(slave) == before
    finally:
        child.kill()
        os.close(master)
        os.close(slave)
    return screens


def settled(master: int, child: subprocess.Popen[bytes]) -> str:
    """What is written until nothing more comes for a moment, without escapes."""
    seen, until = b"", time.monotonic() + 60
    while time.monotonic() < until and child.poll() is None:
        ready, _, _ = select.select([master], [], [], 0.5)
        if ready:
            seen += os.read(master, 65536)
        elif b"quit" in seen:
            break
    return ESCAPE.sub("", seen.decode(errors="replace"))


@pytest.mark.slow
def test_the_keys_lead_through_the_views_and_q_leaves_the_terminal_as_it_was(
    admin: psycopg.Connection[Any], settings: Any, process: Callable[..., None]
) -> None:
    process()
    env = {name: value for name, value in os.environ.items() if not name.startswith("BEAT_")} | {
        "BEAT_DATABASE_URL": str(settings.database_url),
        "BEAT_REDIS_URL": str(settings.redis_url),
        "BEAT_VAULT_KEYS": settings.vault_keys.get_secret_value(),
        "BEAT_MESSAGE_KEYS": settings.message_keys.get_secret_value(),
        "TERM": "xterm-256color",
    }
    command = [sys.executable, "-c", "from beat_actors.cli import main; main()", "top", "--every", "3600"]
    home, processes, alerts, back = typed(command, env, "p", "a", "h")
    assert "nothing is wrong" in home
    assert "1 worker (p99 10 ms)" in home
    assert "processes: 1" in processes
    assert "h:1" in processes
    assert "alerts: 0" in alerts
    assert "requests   0 in progress" in back


def test_without_a_terminal_one_frame_is_printed(admin: psycopg.Connection[Any], beat: Any) -> None:
    said = beat("top")
    assert (said.code, said.err) == (0, "")
    assert said.out.splitlines()[1] == "requests   0 in progress, 0 fetches wait; 0 done/min, 0 failed/min"
    assert "\x1b" not in said.out
    assert set(beat("top", "--json").json) >= {"sources", "reasons", "lanes", "sinks", "kinds", "alerts"}
    assert beat("top", "--every", "0.1").code == 2
