"""Every event that the code logs is in the catalogue, with its level and its fields; no line holds a secret."""

import io
import json
import logging
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
import redis
import structlog

from beat_actors import log_events, logs, masking
from beat_actors.access.tokens import mint
from beat_actors.errors import StorageUnavailable
from beat_actors.log_events import EVENTS, LEVELS, Event
from beat_actors.settings import Settings
from beat_actors.webhooks.signing import new_secret
from tests.conftest import MESSAGE_KEYS, VAULT_KEYS
from tests.logged import logged

PAGE = Path(__file__).parents[3] / "docs/logs.md"
BY_NAME = {one.name: one for one in EVENTS}
PASSWORD = "canary%2Fpass0word"
SINK_KEY = "canary-pagerduty-0123456789"
CANARIES = {
    "API key": mint().text,
    "webhook secret": new_secret(),
    "vault key": VAULT_KEYS.partition(":")[2],
    "message key": MESSAGE_KEYS.partition(":")[2],
    "password of PostgreSQL": PASSWORD,
    "password of Redis": "canary-redis-0123",
    "key of a sink": SINK_KEY,
    "address of a sink": "https://hooks.example.com/services/canary0123456789",
    "signed URL": "https://cdn.example.com/p.jpg?Expires=1&Signature=canary0123456789AbCdEf&Key-Pair-Id=K1",
    "presigned URL": "https://b.s3.example.com/x?X-Amz-Credential=canary01234567/eu&X-Amz-Signature=canary89abcdef0123",
    "token in a URL": "https://graph.example.com/me?fields=id&access_token=canaryEAAB0123456789",
    "authorization": "Authorization: Bearer canary.token.0123456789",
    "login of a URL": "amqps://beat:canary-amqp-login@bus.example.com/",
}
SECRET_PARTS = (
    *(re.compile(r"canary(?!.{0,3}\*\*\*)[\w%./=-]{4,}"), re.compile(r"whsec_[A-Za-z0-9+/]{8}")),
    re.compile(re.escape(CANARIES["API key"][15:40])),
    *(re.compile(re.escape(CANARIES[name])) for name in ("vault key", "message key")),
)


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """What a process that is configured as production logs at DEBUG."""
    stream = io.StringIO()
    settings = Settings(
        database_url=f"postgresql://beat:{PASSWORD}@db.example.com/beat",
        redis_url="redis://beat:canary-redis-0123@redis.example.com/0",
        vault_keys=VAULT_KEYS,
        message_keys=MESSAGE_KEYS,
        notify={
            "pager": {"kind": "pagerduty", "key": SINK_KEY},
            "chat": {"kind": "slack", "url": CANARIES["address of a sink"]},
        },
        log_level="DEBUG",
    )
    root = logging.getLogger()
    handlers, before = root.handlers[:], structlog.get_config()
    monkeypatch.setattr(logs, "buffer", lambda: stream)
    monkeypatch.setattr("sys.excepthook", None)
    monkeypatch.setattr("sys.unraisablehook", None)
    monkeypatch.setattr("threading.excepthook", None)
    root.handlers = []
    logs.configure(settings, service="test")
    yield stream
    structlog.configure(**before)
    logging.captureWarnings(False)
    root.handlers = handlers
    masking.hide(())


def test_every_event_that_is_logged_is_listed_with_its_level_and_fields() -> None:
    wrong = []
    for one in logged():
        listed = None if one.event is None else BY_NAME.get(one.event)
        if listed is None:
            wrong.append(f"{one.where}: {one.event} is not in beat_actors/log_events.py")
            continue
        if one.level not in listed.levels.split():
            wrong.append(f"{one.where}: {one.event} is logged as {one.level}, and listed as {listed.levels}")
        if unlisted := one.fields - set(listed.fields.split()):
            wrong.append(f"{one.where}: {one.event} has the fields {sorted(unlisted)}, which are not listed")
    assert not wrong, "\n".join(wrong)


def test_every_listed_event_is_logged_somewhere_with_each_of_its_fields() -> None:
    fields: dict[str, set[str]] = {}
    for one in logged():
        fields.setdefault(str(one.event), set()).update(one.fields)
    assert sorted(fields) == sorted(BY_NAME)
    assert {name: sorted(found) for name, found in fields.items()} == {
        one.name: sorted(one.fields.split()) for one in EVENTS
    }


def test_names_are_unique_and_levels_are_known() -> None:
    assert len(BY_NAME) == len(EVENTS)
    for one in EVENTS:
        assert set(one.levels.split()) <= set(LEVELS), one.name
        assert re.fullmatch(r"[a-z_]+(\.[a-z_]+)?", one.name), one.name
        assert one.meaning, one.name


def test_the_page_has_the_table_and_the_levels() -> None:
    page = PAGE.read_text()
    assert log_events.table() in page, "python -c 'from beat_actors.log_events import table; print(table())'"
    assert all(f"| {level} | {meaning} |" in page for level, meaning in LEVELS.items())


@pytest.mark.parametrize("event", EVENTS, ids=lambda one: one.name)
def test_p8_no_event_and_no_exception_of_it_writes_a_secret(event: Event, written: io.StringIO) -> None:
    log = structlog.get_logger("test")
    fields = event.fields.split()
    for kind, canary in CANARIES.items():
        given: dict[str, Any] = dict.fromkeys(fields, canary)
        nested: dict[str, Any] = {name: [canary, {"inner": canary, canary: 1}, (canary,)] for name in fields}
        for level in event.levels.split():
            getattr(log, level)(event.name, **given)
            getattr(log, level)(event.name, **nested)
        try:
            raise ValueError(f"the {kind} is {canary}") from OSError(canary)
        except ValueError as error:
            log.exception(event.name, error=str(error))
            log.exception(event.name, error=error)
    # What the garbage collector finds of another test is logged as well, and so are warnings of libraries.
    lines = [line for line in written.getvalue().splitlines() if f'"event": "{event.name}"' in line]
    assert len(lines) == len(CANARIES) * (2 * len(event.levels.split()) + 2)
    for line in written.getvalue().splitlines():
        found = [one[0] for part in SECRET_PARTS for one in part.finditer(line)]
        assert not found, line[:400]


def test_p8_lines_of_libraries_write_no_secret(written: io.StringIO) -> None:
    for kind, canary in CANARIES.items():
        logging.getLogger("library").warning("the %s is %s", kind, canary)
    assert len(written.getvalue().splitlines()) == len(CANARIES)
    assert not [one[0] for part in SECRET_PARTS for one in part.finditer(written.getvalue())]


def test_a_line_of_a_library_is_an_event(written: io.StringIO) -> None:
    def log() -> None:
        logging.getLogger("a.package").error("it failed: %s", "a text\nof two lines")

    thread = threading.Thread(target=log)
    thread.start()
    thread.join()
    line = json.loads(written.getvalue())
    assert {name: line[name] for name in ("event", "level", "logger", "message", "service")} == {
        "event": "library",
        "level": "error",
        "logger": "a.package",
        "message": "it failed: a text\nof two lines",
        "service": "test",
    }


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (StorageUnavailable("PostgreSQL did not answer"), "StorageUnavailable: PostgreSQL did not answer"),
        (redis.exceptions.ConnectionError("refused"), "ConnectionError: refused"),
        (redis.exceptions.BusyLoadingError("loading"), "BusyLoadingError: loading"),
        (psycopg.errors.AdminShutdown("going down"), "AdminShutdown: going down"),
        (ConnectionResetError("reset"), "ConnectionResetError: reset"),
        (redis.exceptions.ResponseError("unknown command"), None),
        (psycopg.errors.UndefinedTable("no such table"), None),
        (KeyError("a defect"), None),
    ],
)
def test_an_outage_that_a_library_logs_has_no_traceback_and_a_defect_has_one(
    written: io.StringIO, error: Exception, said: str | None
) -> None:
    try:
        raise error
    except Exception:
        logging.getLogger("a.package").exception("work failed")
    (text,) = written.getvalue().splitlines()
    line = json.loads(text)
    assert line.get("error") == said
    assert ("Traceback" in line.get("exception", "")) == (said is None)


def test_what_is_no_secret_is_written_as_it_is(written: io.StringIO) -> None:
    said = {
        "key": "source:graphapi",
        "fetches": [1, 2],
        "ratio": 0.5,
        "ok": True,
        "none": None,
        "text": "a key is a key",
    }
    structlog.get_logger("test").info("swept", **said)
    line = json.loads(written.getvalue())
    assert {name: line[name] for name in said} == said
    assert (line["event"], line["level"], line["service"]) == ("swept", "info", "test")
