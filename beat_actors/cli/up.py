"""`beat up`: the whole stack on this machine, the rehearsal on it, and then at your service."""

import asyncio
import contextlib
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from actors.mailbox import Mailbox
from beat_actors.cli.books import Report
from beat_actors.cli.output import FAILED, INTERRUPTED, out, program, say, tell
from beat_actors.cli.rehearsal import Rehearsal, choose_handles
from beat_actors.cli.session import default_root, quiet_logs
from beat_actors.cli.view import View, print_report
from beat_actors.database import migrate
from beat_actors.engine import Engine
from beat_actors.errors import BadInput
from beat_actors.local import Interrupted, Stack
from beat_actors.local.first_key import FILE

MOST_PROFILES = 100_000


def up(
    *,
    once: Annotated[bool, Parameter(negative="")] = False,
    profiles: int = 500,
    seed: int | None = None,
    rehearse: Annotated[bool, Parameter(name="--rehearsal", negative="--no-rehearsal")] = True,
    root: Path | None = None,
) -> int:
    """Start everything on this machine and rehearse: a storm on every Instagram credential beside the other platforms' requests, then
    profiles refreshed while one provider goes down and another answers 429. Then keep serving.

    Parameters
    ----------
    once
        Stop after the report; exit with 0 only if every request is complete, none was lost and the ledgers agree.
    profiles
        How many profiles the rehearsal refreshes.
    seed
        Refresh another choice of profiles; the same seed makes the same choice.
    rehearse
        With --no-rehearsal, start the stack alone.
    root
        Where data, logs and keys are kept: BEAT_ROOT, or .beat in this folder.
    """
    if not 1 <= profiles <= MOST_PROFILES:
        raise BadInput(f"--profiles is 1 to {MOST_PROFILES}, not {profiles}", field="profiles")
    quiet_logs()
    population = max(2 * profiles, 1000)
    stack = Stack(root or default_root(), profiles=population)
    try:
        with contextlib.ExitStack() as life:
            with _starting(stack):
                life.enter_context(stack.running(migrate=migrate.upgrade, handle_signals=True))
            if stack.first_key.new:
                say(f"the API key of this machine, shown this once and kept in {stack.home.path / FILE}:")
                say(f"  {stack.first_key.text}")
            code = _work(stack, choose_handles(profiles, population, seed) if rehearse else [], once)
            if not once or stack.supervisor.stop_requested.is_set():
                tell("stopping in order; nothing is lost (Ctrl-C once more ends it at once)")
    except Interrupted:
        tell("stopped before everything was up")
        return INTERRUPTED
    return code


def _work(stack: Stack, handles: list[str], once: bool) -> int:
    report = _rehearse(stack, handles) if handles else None
    stopped = stack.supervisor.stop_requested
    if stopped.is_set():
        return INTERRUPTED
    if report is not None:
        print_report(report)
    if once:
        return 0 if report is None or report.good else FAILED
    _invite(stack)
    stopped.wait()
    return 0


def _rehearse(stack: Stack, handles: list[str]) -> Report | None:
    async def run() -> Report | None:
        settings = stack.settings
        engine, mailbox = Engine.start(settings, name="rehearsal"), Mailbox(settings)
        try:
            with View(stack.supervisor.status) as view:
                rehearsal = Rehearsal(
                    engine,
                    mailbox,
                    stack.api_url,
                    authorization=stack.authorization,
                    handles=handles,
                    key=stack.home.secret("rehearsal"),
                    show=view.show,
                    stopped=stack.supervisor.stop_requested.is_set,
                )
                return await rehearsal.run()
        finally:
            mailbox.close()
            await engine.close()

    return asyncio.run(run())


@contextlib.contextmanager
def _starting(stack: Stack) -> Iterator[None]:
    """Says what is being started, and at the end how long it took."""
    started = time.monotonic()
    with _spinner(stack) if sys.stdout.isatty() else contextlib.nullcontext():
        if not sys.stdout.isatty():
            say(
                f"starting PostgreSQL, Valkey, S3, the provider simulator, workers, scheduler, deliverer and API over {stack.home.path}"
            )
        yield
    say(f"everything is up after {time.monotonic() - started:.1f} s; logs are in {stack.home.logs}")
    say("this is a rehearsal: the simulator answers for the providers, and all data is simulated")


@contextlib.contextmanager
def _spinner(stack: Stack) -> Iterator[None]:
    done = threading.Event()

    def follow() -> None:
        with out.status("starting") as status:
            while not done.wait(0.15):
                with contextlib.suppress(Exception):  # not begun yet, or over already
                    services = stack.supervisor.status()
                    up = " ".join(service.name for service in services if service.state == "up")
                    waits = " ".join(service.name for service in services if service.state != "up")
                    status.update(f"[green]{up}[/] [dim]{waits}[/]" if services else "starting")

    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _invite(stack: Stack) -> None:
    beat = program()
    say("")
    say(f"Beat serves at {stack.api_url}/v1/scrape-requests. Stop it with Ctrl-C. In another terminal, try:")
    if stack.home.path != (Path.cwd() / ".beat"):
        say(f"  export BEAT_ROOT={stack.home.path}")
    for command, what in (
        ("scrape instagram creator_000007", "one profile, now"),
        ("simulator fault outage arraybobo --seconds 60", "then scrape again, and see who answers"),
        ("credentials list", "who is ready, who rests, and until when"),
    ):
        line = f"  {beat} {command}"
        say(f"{line:<58}  {what}")
    say(f'  curl -H "authorization: Bearer $(cat {stack.home.path / FILE})" {stack.api_url}/v1/scrape-requests')
