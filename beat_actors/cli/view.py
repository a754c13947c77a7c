"""How `beat up` looks: live on a terminal, plain lines when piped."""

import sys
import time
from collections.abc import Callable, Iterable, Sequence
from types import TracebackType
from typing import Self

from rich.console import Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from beat_actors.cli.output import STYLES, hanging, out, say, table
from beat_actors.cli.report import Calls, Progress, Report, State
from beat_actors.local.service import Status
from beat_actors.moments import moment

NEWS, LEAST_NEWS = 6, 3
SIDES, FRAME, GAPS = 4, 6, 3
"""Cells and lines of the live view that are no lists: its border, what stands above the sources and their names, and empty lines."""
Services = Callable[[], Sequence[Status]]


class View:
    """Shows progress; on a pipe the news, and how many requests have ended, at most once a second."""

    def __init__(self, services: Services) -> None:
        self._live = Live(console=out, refresh_per_second=8, transient=True) if sys.stdout.isatty() else None
        self._services = services
        self._last: tuple[int, float] = (0, 0.0)
        self._told = 0
        self._news: Sequence[str] = ()

    def __enter__(self) -> Self:
        if self._live:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live:
            self._live.stop()
            for news in self._news:
                say(news, "cyan")

    def show(self, progress: Progress) -> None:
        self._news = progress.news
        if self._live:
            self._live.update(picture(progress, self._services()))
            return
        for news in progress.news[self._told :]:
            say(news)
        self._told = len(progress.news)
        ended, at = self._last
        if progress.ended != ended and (time.monotonic() - at >= 1.0 or progress.ended == progress.total):
            calls = sum(row.calls for row in progress.sources)
            say(f"{progress.seconds:5.1f} s  {progress.ended} of {progress.total} ended, {calls} calls")
            self._last = (progress.ended, time.monotonic())


def picture(progress: Progress, services: Sequence[Status]) -> RenderableType:
    """One frame of the live view, which is as high as the terminal at most: sources with few calls go first, and never what happened last."""
    width = min(out.width, 92)
    head = Table.grid(padding=(0, 2))
    head.add_row(
        Text(f"{progress.ended:,} of {progress.total:,}", style="bold"),
        ProgressBar(total=progress.total, completed=progress.ended, width=32),
        Text(f"{progress.seconds:.0f} s", style="dim"),
    )
    inner = width - SIDES
    below = [
        part
        for line in (*_gauges(progress.state, progress.queues), *_services(services))
        for part in _wrapped(line, inner)
    ]
    room = out.height - FRAME - len(below)
    news: list[Text] = []
    for one in reversed(progress.news[-NEWS:]):
        told = _wrapped(Text(one, style="cyan"), inner)
        if len(told) + len(news) > max(LEAST_NEWS, room - len(progress.sources)):
            break
        news = [*told, *news]
    shown = progress.sources[: max(room - len(news), 1)]
    gap = [Text()] if room - len(news) - len(shown) >= GAPS else []
    parts: list[RenderableType] = [head, _words((n, name) for name, n in sorted(progress.statuses.items()))]
    parts += [*gap, sources_table(shown), *gap, *below, *gap, *news]
    return Panel(
        Group(*parts), title="beat: a rehearsal on simulated data", title_align="left", border_style="dim", width=width
    )


def _wrapped(line: Text, width: int) -> list[Text]:
    """A line as it stands on so many cells: it ends between words."""
    parts = hanging(line.plain, width)
    return [line] if len(parts) == 1 else [Text(part, style=line.style) for part in parts]


def sources_table(rows: Sequence[Calls]) -> Table:
    cells = [
        (row.source, row.calls, row.ok, row.refused or None, row.down or None, row.other or None, _ms(row.ms))
        for row in rows
    ]
    return table(("source", "calls", "ok", "429", "down", "other", "median ms"), cells)


def print_report(report: Report) -> None:
    """The report; its last line is the verdict."""
    if sys.stdout.isatty():
        out.print()
        out.print(sources_table(report.sources))
        out.print()
    else:
        for row in report.sources:
            share = 100 * row.ok / row.calls
            say(
                f"{row.source}: {row.calls} calls, {row.ok} ok ({share:.0f} %), {row.refused} refused, {row.down} down, {row.other} other"
            )
    by_hand, by_probe = report.events.get("reset", 0), report.events.get("recovered", 0)
    cooling = sum(absent.n for absent in report.still_out if absent.kind == "credential")
    extended = max(0, report.cooldowns - by_hand - by_probe - cooling)
    per_second = report.profiles / report.seconds if report.seconds else 0.0
    lines = [
        ("complete", f"{report.complete:,} requests, {report.failed:,} failed, {report.lost:,} lost"),
        ("fallbacks", f"{report.fallbacks:,} fetches went on to another source"),
        (
            "cooldowns",
            f"{report.cooldowns:,}: {by_hand:,} reset after the storm, {by_probe:,} ended by a probe, {extended:,} extended, {cooling:,} in force",
        ),
        ("upstream calls", f"{report.ledger:,} in the providers' ledger, {report.over_limit:,} over a limit"),
        ("", f"{report.traced:,} traced, {report.charged:,} charged, {report.unknown:,} with unknown outcome"),
        ("storm", "median latency of requests to other platforms, before and during it:"),
        *(("", f"{beside.platform:<10}{_took(beside.before)}, {_took(beside.during)}") for beside in report.neighbours),
        (
            "outage",
            f"{report.profiles:,} profiles with their posts in {report.seconds:.1f} s, {per_second:.0f} a second",
        ),
        (
            "pictures",
            f"{report.pictures.stored:,} stored in the bucket, {report.pictures.waiting:,} wait for their turn",
        ),
    ]
    for index, absent in enumerate(report.still_out):
        many = (
            f"{absent.n} {absent.kind}{'' if absent.n == 1 else 's'} of "
            if absent.kind == "credential"
            else "breaker of "
        )
        lines.append(("" if index else "recovers itself", f"{moment(absent.until)}: {many}{absent.what}"))
    for name, said in lines:
        say(f"{name:<16}{said}")
    say("")
    say(report.verdict(), "bold green" if report.good else "bold red")


def _gauges(state: State | None, queues: dict[str, int]) -> list[Text]:
    if state is None:
        return []
    fetches = _words([(state.waiting, "waiting"), (state.moving, "moving"), (state.blocked, "blocked groups")])
    lines = [Text.assemble(("fetches   ", "dim"), fetches)]
    filled = [(depth, queue) for queue, depth in queues.items() if depth]
    lines.append(Text.assemble(("queues    ", "dim"), _words(filled) if filled else Text("empty", "dim")))
    cooling = Text(f"{state.cooling} credentials cooling down", style="yellow" if state.cooling else "")
    breakers = Text(f"breakers open: {state.open or 'none'}", style="yellow" if state.open else "")
    lines.append(Text.assemble(("cooldown  ", "dim"), cooling, "  ", breakers))
    return lines


def _services(services: Sequence[Status]) -> list[Text]:
    """How many are up, and by name those that are not or that have restarted."""
    if not services:
        return []
    line = Text.assemble(("services  ", "dim"), (f"{sum(one.state == 'up' for one in services)} up", "green"))
    for one in services:
        if one.state != "up" or one.restarts:
            restarts = f" ({one.restarts} restarts)" if one.restarts else ""
            line.append(f"  {one.name} {one.state}{restarts}", STYLES.get(one.state, "yellow"))
    return [line]


def _words(pairs: Iterable[tuple[int, str]]) -> Text:
    line = Text()
    for count, name in pairs:
        line.append(f"{count:,} ", "bold").append(f"{name.lower()}  ", STYLES.get(name, "dim"))
    return line


def _took(ms: float | None) -> str:
    return "no answer" if ms is None else f"{ms:.0f} ms"


def _ms(value: float | None) -> int | None:
    return None if value is None else round(value)
