"""`beat up`: the whole stack on this machine, with a rehearsal on simulated providers or with the real ones, and then at your service."""

import contextlib
import os
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from beat_actors.cli.installing import where_simulator
from beat_actors.cli.output import FAILED, INTERRUPTED, out, program, say, tell
from beat_actors.cli.session import default_root, quiet_logs
from beat_actors.database import migrate
from beat_actors.errors import BadInput
from beat_actors.local import packages
from beat_actors.local.errors import Interrupted
from beat_actors.local.first_key import FILE
from beat_actors.local.stack import Stack

MOST_PROFILES = 100_000
TIPS = (
    ("scrape instagram creator_000007", "one profile, now"),
    ("simulator fault outage graphapi --seconds 60", "then scrape again: another source answers"),
    ("credentials list", "their state, and when cooldowns end"),
)
"""Commands to try on a stack with simulated providers, and what each shows."""
REAL_TIPS = (
    ("connect", "the providers, and what each needs; connect SOURCE adds a credential"),
    ("try ytapi", "one call and its complete result; without an operation, a list of operations"),
    ("doctor", "which sources are real, and what is wrong"),
)


def up(
    *,
    once: Annotated[bool, Parameter(negative="")] = False,
    profiles: int = 500,
    seed: int | None = None,
    rehearse: Annotated[bool, Parameter(name="--rehearsal", negative="--no-rehearsal")] = True,
    real: Annotated[bool, Parameter(negative="")] = False,
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
    real
        Call the real providers: no simulator, no rehearsal, no simulated credentials. The data root is one of its own.
    root
        Where data, logs and keys are kept: BEAT_ROOT, or .beat in this folder.
    """
    if not 1 <= profiles <= MOST_PROFILES:
        raise BadInput(f"--profiles is 1 to {MOST_PROFILES}, not {profiles}", field="profiles")
    _check_providers(real, rehearse)
    packages.check()
    quiet_logs()
    population = max(2 * profiles, 1000)
    stack = Stack(root or default_root(), profiles=population, real=real)
    try:
        with contextlib.ExitStack() as life:
            with _starting(stack):
                life.enter_context(stack.running(migrate=migrate.upgrade, handle_signals=True))
            if stack.first_key.new:
                say(f"the API key of this machine, shown this once and kept in {stack.home.path / FILE}:")
                say(f"  {stack.first_key.text}")
            if real:
                say("calls go to the real providers, with the credentials that you add; each may cost money")
            handles = _handles(profiles, population, seed) if rehearse and not real else []
            code = _work(stack, handles, once)
            if not once or stack.supervisor.stop_requested.is_set():
                tell("stopping in order; nothing is lost (Ctrl-C once more ends it at once)")
    except Interrupted:
        tell("stopped before everything was up")
        return INTERRUPTED
    return code


def _check_providers(real: bool, rehearse: bool) -> None:
    """Raises `BadInput` where the installation or the environment cannot do what is asked."""
    if real:
        if os.environ.get("BEAT_SIMULATOR_URL"):
            raise BadInput(
                "--real calls the providers, and BEAT_SIMULATOR_URL names a simulator; unset it", field="real"
            )
        return
    if find_spec("beat_actors.simulator") is None:
        raise BadInput(f"without --real, `beat up` needs simulated providers. {where_simulator()}", field="real")
    if rehearse and os.environ.get("BEAT_SOURCES"):
        raise BadInput(
            "the rehearsal makes credentials for simulated providers, and BEAT_SOURCES may send their calls elsewhere; unset it, or give --no-rehearsal",
            field="rehearse",
        )


def _handles(profiles: int, population: int, seed: int | None) -> Sequence[str]:
    from beat_actors.cli import rehearsing  # not part of a production installation

    return rehearsing.choose_handles(profiles, population, seed)


def _work(stack: Stack, handles: Sequence[str], once: bool) -> int:
    stopped, good = stack.supervisor.stop_requested, True
    if handles:
        from beat_actors.cli import rehearsing

        good = rehearsing.rehearse(stack, handles)
    if stopped.is_set():
        return INTERRUPTED
    if once:
        return 0 if good else FAILED
    _invite(stack)
    stopped.wait()
    return 0


@contextlib.contextmanager
def _starting(stack: Stack) -> Iterator[None]:
    """Says what is being started, and at the end how long it took."""
    started = time.monotonic()
    with _spinner(stack) if sys.stdout.isatty() else contextlib.nullcontext():
        if not sys.stdout.isatty():
            simulator = "" if stack.real else "the provider simulator, "
            say(
                f"starting PostgreSQL, Valkey, S3, {simulator}workers, scheduler, deliverer, publisher and API over {stack.home.path}"
            )
        yield
    say(f"everything is up after {time.monotonic() - started:.1f} s; logs are in {stack.home.logs}")
    if not stack.real:
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
    """What to try; each command can be copied, also from a narrow terminal."""

    def is_narrow(lines: Sequence[str]) -> bool:
        return sys.stdout.isatty() and max(map(len, lines)) > out.width

    beat = program()
    say("")
    say(f"Beat serves at {stack.api_url}/v1/scrape-requests. Stop it with Ctrl-C. In another terminal, try:")
    if stack.home.path != (Path.cwd() / ".beat"):
        say(f"  export BEAT_ROOT={stack.home.path}")
    tips = REAL_TIPS if stack.real else TIPS
    width = max(len(command) for command, _ in tips)
    lines = [f"  {beat} {command:<{width}}  {what}" for command, what in tips]
    if is_narrow(lines):
        lines = [line for command, what in tips for line in (f"  {beat} {command}", f"      {what}")]
    for line in lines:
        say(line)
    call = f'  curl -H "authorization: Bearer $(cat {stack.home.path / FILE})"', f"{stack.api_url}/v1/scrape-requests"
    if is_narrow([" ".join(call)]):
        say(f"{call[0]} \\", whole=True)
        say(f"    {call[1]}", whole=True)
    else:
        say(" ".join(call))
