"""The rehearsal inside `beat up`: it runs on the stack, is shown while it runs, and reports."""

import asyncio
from collections.abc import Sequence

from actors.mailbox import Mailbox
from beat_actors.cli.rehearsal import Rehearsal, choose_handles
from beat_actors.cli.report import Report
from beat_actors.cli.view import View, print_report
from beat_actors.engine import Engine
from beat_actors.local.stack import Stack

__all__ = ["choose_handles", "rehearse"]


def rehearse(stack: Stack, handles: Sequence[str]) -> bool:
    """Run it and print its report; whether all was well. It is not where it was stopped."""
    report = asyncio.run(_run(stack, handles))
    if report is None or stack.supervisor.stop_requested.is_set():
        return False
    print_report(report)
    return report.good


async def _run(stack: Stack, handles: Sequence[str]) -> Report | None:
    settings = stack.settings
    engine, mailbox = Engine.start(settings, name="rehearsal"), Mailbox(settings)
    try:
        with View(stack.supervisor.status) as view:
            rehearsal = Rehearsal(
                engine,
                mailbox,
                stack.api_url,
                api_key=stack.first_key.text,
                handles=handles,
                key=stack.home.secret("rehearsal"),
                show=view.show,
                stopped=stack.supervisor.stop_requested.is_set,
            )
            return await rehearsal.run()
    finally:
        mailbox.close()
        await engine.close()
