"""`beat notify`: a sink's whole life from the command line, with the process that notifies."""

import asyncio
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from beat_actors.alerts import Alert, open_alert, resolve_alerts
from beat_actors.database import Database
from beat_actors.settings import Settings

CANARY = "canary-0123456789abcdef"
HOOK = f"https://hooks.example.com/services/{CANARY}"


class Receiver:
    """An HTTP server in a thread. `got`: the bodies."""

    def __init__(self) -> None:
        self.got: list[Any] = []
        self.arrived = threading.Condition()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with receiver.arrived:
                    receiver.got.append(body)
                    receiver.arrived.notify_all()
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/{CANARY}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def until(self, count: int) -> None:
        with self.arrived:
            assert self.arrived.wait_for(lambda: len(self.got) >= count, 100)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.server.shutdown()
    made.server.server_close()


@pytest.fixture
def deliverer(beat: Any) -> Iterator[subprocess.Popen[bytes]]:
    """`python -m scheduler.deliverer`, with the variables of the commands."""
    process = subprocess.Popen(
        [sys.executable, "-m", "scheduler.deliverer"], env=os.environ | {"BEAT_ENVIRONMENT": "rehearsal"}
    )
    yield process
    process.terminate()
    assert process.wait(30) == 0


def test_a_sink_is_added_changed_listed_paused_and_removed(beat) -> None:
    assert beat("notify", "list").out == ""
    added = beat("notify", "add", "chat", "slack", "--address", "-", "--severity", "critical", stdin=f"{HOOK}\n")
    assert added.code == 0, added.err
    assert beat("notify", "add", "chat", "slack", "--address", HOOK).code == 1
    hook = beat("notify", "add", "hook", "webhook", "--address", "https://example.com/x")
    assert hook.out.startswith("whsec_")
    mail = ("--to", "ops@example.com", "--to", "cto@example.com", "--sender", "beat@example.com")
    url = f"smtps://beat:{CANARY}@mail.example.com"
    window = ("--hours", "8-18", "--days", "mon-fri", "--timezone", "Europe/Berlin")
    assert beat("notify", "add", "mail", "email", "--address", url, *mail, *window, "--platform", "instagram").code == 0
    assert beat("notify", "change", "chat", "--severity", "info", "--hours", "22-6", "--platform", "beat").code == 0
    assert beat("notify", "change", "mail", "--hours", "always", "--days", "always", "--platform", "all").code == 0
    assert beat("notify", "change", "chat").code == 2
    assert beat("notify", "change", "nobody", "--severity", "info").code == 4
    assert beat("notify", "pause", "hook").code == 0
    listed = {one["name"]: one for one in beat("notify", "list", "--json").json}
    assert (listed["chat"]["severity"], listed["chat"]["hours"], listed["hook"]["state"]) == ("info", "22-6", "paused")
    assert (listed["mail"]["hours"], listed["mail"]["platforms"]) == (None, None)
    shown = beat("notify", "list")
    assert "ops@example.com cto@example.com" in shown.out
    assert beat("notify", "resume", "hook").code == 0
    assert beat("notify", "remove", "chat").code == 2
    assert beat("notify", "remove", "chat", "--reason", "moved").code == 0
    audit = beat("audit")
    assert "notify.remove" in audit.out
    for said in (added, hook, shown, audit, beat("notify", "list", "--json"), beat("notify", "log")):
        assert CANARY not in f"{said.out}{said.err}"


@pytest.mark.parametrize(
    "arguments",
    [
        ("ops", "sms", "--address", HOOK),
        ("No Name", "slack", "--address", HOOK),
        ("ops", "slack"),
        ("ops", "pagerduty"),
    ],
)
def test_what_cannot_be_a_sink_is_refused(beat, arguments: tuple[str, ...]) -> None:
    refused = beat("notify", "add", *arguments)
    assert (refused.code, refused.out) == (2, "")
    assert CANARY not in refused.err


@pytest.mark.parametrize("address", [("--address", "-"), ("--address=-",), ()])
def test_an_address_is_read_from_standard_input(beat, address: tuple[str, ...]) -> None:
    assert beat("notify", "add", "chat", "slack", *address, stdin=f"{HOOK}\n").code == 0
    (listed,) = beat("notify", "list", "--json").json
    assert listed["target"] == "hooks.example.com"


def test_a_test_without_a_deliverer_says_so(beat, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("beat_actors.cli.notify.TEST_SECONDS", 1)
    assert beat("notify", "test").code == 4
    beat("notify", "add", "chat", "slack", "--address", HOOK)
    tested = beat("notify", "test")
    assert tested.code == 1
    assert "python -m scheduler.deliverer" in tested.out


@pytest.mark.slow
def test_the_deliverer_sends_tests_alerts_and_their_ends(
    beat, receiver: Receiver, deliverer, settings: Settings
) -> None:
    beat("notify", "add", "hook", "webhook", "--address", receiver.url)
    tested = beat("notify", "test")
    assert (tested.code, tested.out.startswith("hook: arrived after")) == (0, True)
    assert receiver.got[0]["data"]["state"] == "test"
    alert = Alert(key="redis:away", severity="critical", cause="c", impact="i", automatic="a", action="`beat doctor`")

    async def change(*, opened: bool) -> None:
        database = Database(settings, name="test")
        async with database.transaction() as transaction:
            await (open_alert(transaction, alert) if opened else resolve_alerts(transaction, ["redis:away"]))
        await database.close()

    asyncio.run(change(opened=True))
    receiver.until(2)
    asyncio.run(change(opened=False))
    receiver.until(3)
    assert [one["data"]["state"] for one in receiver.got] == ["test", "firing", "resolved"]
    assert beat("notify", "test", "nobody").code == 4
