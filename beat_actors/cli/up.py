"""`beat up`: the whole stack on this machine, the rehearsal on it, and then at your service."""

import asyncio
import os
import time
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from beat_actors.cli.rehearsal import Rehearsal, Report
from beat_actors.cli.session import FAILED, err, out
from beat_actors.cli.view import View, print_report
from beat_actors.database import migrate
from beat_actors.engine import Engine
from beat_actors.local import Interrupted, Stack
from beat_actors.settings import load


def up(
    *,
    once: Annotated[bool, Parameter(negative="")] = False,
    profiles: int = 500,
    rehearse: Annotated[bool, Parameter(negative="--no-rehearsal")] = True,
    root: Path = Path(".beat"),
) -> int:
    """Start everything on this machine and refresh profiles while a provider goes down; then keep serving.

    Parameters
    ----------
    once
        Stop after the report; exit with 0 only if nothing was lost and the books agree.
    profiles
        How many profiles the rehearsal refreshes.
    rehearse
        Start the stack alone with --no-rehearsal.
    root
        Where data, logs and keys are kept.
    """
    started = time.monotonic()
    stack = Stack(root, profiles=max(profiles, 1000))
    try:
        with stack.running(migrate=migrate.upgrade, handle_signals=True):
            out.print(
                f"started in {time.monotonic() - started:.1f} s: {', '.join(s.name for s in stack.supervisor.status())}"
            )
            report = _rehearse(stack, profiles) if rehearse else None
            if report is not None:
                print_report(report)
            if once:
                return 0 if report is not None and report.good else FAILED
            if not stack.supervisor.stop_requested.is_set():
                _serve(stack)
            err.print("stopping: API and scheduler, then the workers, then the servers (Ctrl-C again kills)")
    except Interrupted:
        return 130
    return 0


def _rehearse(stack: Stack, profiles: int) -> Report | None:
    # This process speaks to the stack as any other would, by its variables.
    os.environ.update(stack.env)

    async def run() -> Report | None:
        engine = Engine.start(load(), name="rehearsal")
        try:
            with View() as view:

                def show(progress: object) -> None:
                    view.services = list(stack.supervisor.status())
                    view.show(progress)  # type: ignore[arg-type]

                rehearsal = Rehearsal(
                    engine,
                    stack.api_url,
                    profiles=profiles,
                    show=show,
                    stopped=stack.supervisor.stop_requested.is_set,
                )
                return await rehearsal.run()
        finally:
            await engine.close()

    return asyncio.run(run())


def _serve(stack: Stack) -> None:
    out.print()
    out.print(
        f"Beat serves at [bold]{stack.api_url}[/] (logs in {stack.home.logs}). Stop it with Ctrl-C. In another terminal, try:"
    )
    for command, what in (
        ("beat scrape instagram creator_000007", "one profile, now"),
        ("beat simulator fault outage graphapi --seconds 60", "then scrape again, and see who answers"),
        ("beat credentials list", "who is ready, who rests, and until when"),
    ):
        out.print(f"  .venv/bin/{command:<55} [dim]{what}[/]", highlight=False)
    stack.supervisor.stop_requested.wait()
