"""How the rehearsal looks: live on a terminal, plain lines when piped."""

import sys
import time
from types import TracebackType
from typing import Self

from rich.console import Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from beat_actors.cli.rehearsal import Progress, Report
from beat_actors.cli.session import out
from beat_actors.local.service import Status


class View:
    """Shows progress; on a pipe one line whenever the number of ended requests has changed, at most one a second."""

    def __init__(self, services: "list[Status] | None" = None) -> None:
        self._live = Live(console=out, refresh_per_second=8, transient=True) if sys.stdout.isatty() else None
        self._last: tuple[int, float] = (-1, 0.0)
        self._told = 0
        self.services = services or []

    def __enter__(self) -> Self:
        if self._live:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live:
            self._live.stop()

    def show(self, progress: Progress) -> None:
        if self._live:
            self._live.update(picture(progress, self.services))
            return
        for news in progress.news[self._told :]:
            print(news, flush=True)
        self._told = len(progress.news)
        ended, at = self._last
        if progress.ended != ended and time.monotonic() - at >= 1.0:
            calls = sum(row.calls for row in progress.sources)
            print(f"{progress.seconds:5.1f} s  {progress.ended} of {progress.total} ended, {calls} calls", flush=True)
            self._last = (progress.ended, time.monotonic())


def picture(progress: Progress, services: list[Status]) -> RenderableType:
    """The live picture of a run."""
    head = Table.grid(padding=(0, 2))
    head.add_row(
        Text(f"{progress.ended} of {progress.total}", style="bold"),
        ProgressBar(total=progress.total, completed=progress.ended, width=40),
        Text(f"{progress.seconds:.1f} s", style="dim"),
        Text("  ".join(f"{name.lower()} {count}" for name, count in sorted(progress.statuses.items()))),
    )
    parts: list[RenderableType] = [head, Text(), sources_table(progress.sources)]
    state = progress.state
    if state is not None:
        words = [
            f"waiting {state.waiting}",
            f"moving {state.moving}",
            f"credentials cooling {state.cooling}",
            f"lanes blocked {state.blocked}",
        ]
        parts += [Text(), Text(" · ".join(words), style="dim")]
        if state.open:
            parts.append(Text(f"open: {state.open}", style="yellow"))
    parts += [Text(news, style="cyan") for news in progress.news[-4:]]
    if services:
        parts += [Text(), Text("  ".join(f"{s.name} {s.state}" for s in services), style="dim")]
    return Panel(Group(*parts), title="beat", title_align="left", border_style="dim")


def sources_table(rows: list[object]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("source")
    for name in ("calls", "ok", "429", "down", "median ms"):
        table.add_column(name, justify="right")
    for row in rows:
        calls, ok = row.calls, row.ok  # type: ignore[attr-defined]
        median = row.ms  # type: ignore[attr-defined]
        table.add_row(
            row.source,  # type: ignore[attr-defined]
            str(calls),
            str(ok),
            str(row.refused or ""),  # type: ignore[attr-defined]
            str(row.down or ""),  # type: ignore[attr-defined]
            f"{median:.0f}" if median is not None else "",
        )
    return table


def print_report(report: Report) -> None:
    """The report; its last line is the verdict."""
    out.print()
    if sys.stdout.isatty():
        out.print(sources_table(report.sources))
    else:
        for row in report.sources:
            print(f"{row.source}: {row.calls} calls, {row.ok} ok, {row.refused} refused, {row.down} down")
    out.print()
    rests = sum(report.events.get(kind, 0) for kind in ("rate_limited", "quota_exhausted"))
    per_second = report.total / report.seconds if report.seconds else 0.0
    out.print(f"fallbacks        {report.fallbacks} fetches were answered by another source than the first they asked")
    out.print(f"cooldowns        {rests} credentials were rested, {report.events.get('recovered', 0)} are back already")
    out.print(
        f"upstream calls   {report.ledger} by the providers' ledger, {report.traced} traced, {report.charged} charged, "
        f"{report.over_limit} over a limit"
    )
    out.print(f"time             {report.seconds:.1f} s, {per_second:.0f} profiles/s with their posts")
    out.print()
    print(report.verdict(), flush=True)
