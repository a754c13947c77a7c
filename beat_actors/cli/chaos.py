"""`beat chaos`: break a stack of its own in every way of the matrix, and exit with 1 where a promise did not hold."""

import asyncio
import contextlib
import traceback
from collections import deque
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated

import msgspec
from cyclopts import Parameter

from beat_actors.chaos import BRIEF, FAULTS, FULL, Fault, Report, Rig, Timing, matrix_table, rehearse
from beat_actors.cli.output import FAILED, say, show_rows, tell
from beat_actors.cli.session import quiet_logs
from beat_actors.errors import BadInput, UnknownName

BEGIN, END = "<!-- the matrix: written by `make chaos` -->", "<!-- the matrix ends -->"


def chaos(
    *,
    seeds: int = 20,
    first: int = 0,
    only: str = "*",
    brief: Annotated[bool, Parameter(negative="")] = False,
    jobs: int = 1,
    kept: Annotated[Path | None, Parameter(name="--keep")] = None,
    table: Path | None = None,
    names: Annotated[bool, Parameter(name="--list", negative="")] = False,
) -> int:
    """Run the fault matrix on a stack of its own, one line for each fault and seed; 1 where a promise broke, or, unless it is
    brief, where recovery took longer than it may.

    Parameters
    ----------
    seeds
        How many seeds each fault is run with.
    first
        The first seed; the same seed does the same again, as far as the machine's timing lets it.
    only
        Faults by name or pattern, separated by commas: kill.turn or redis.*
    brief
        The selection for CI, with shorter faults; about seven minutes with one seed.
    jobs
        How many stacks are rehearsed on beside one another.
    keep
        Add each run to this file, a line each, and hold none again that stands there and kept its promises: a matrix that was
        interrupted goes on. What is counted and written into the table is all that stands there, with `--seeds 0` nothing else. Delete
        it when the engine has changed.
    table
        Write a row for each fault that was run into this Markdown file, between its two marks. Rows of other faults stay.
    names
        List the faults and what they do, and run nothing.
    """
    chosen = _chosen(only, brief)
    if names:
        rows = [(fault.name, fault.family, fault.what) for fault in chosen]
        show_rows(("fault", "family", "what"), rows, prose=("what",))
        return 0
    if jobs < 1 or seeds < (0 if kept else 1):
        raise BadInput("--seeds and --jobs are at least 1", field="seeds")
    if table is not None:
        _marks(table)
    quiet_logs()
    timing = BRIEF if brief else FULL
    # Runs of one layout follow each other, because another one needs another stack.
    layouts = dict.fromkeys(fault.layout for fault in chosen)
    wanted = [
        (fault, seed)
        for layout in layouts
        for seed in range(first, first + seeds)
        for fault in chosen
        if fault.layout is layout
    ]
    held = _held(kept)
    due = deque((fault, seed) for fault, seed in wanted if not _kept_its_word(held.get((fault.name, seed))))
    session = _Session(due, timing, kept)
    asyncio.run(session.run(jobs))
    held |= {(report.fault, report.seed): report for report in session.reports}
    order = {fault.name: place for place, fault in enumerate(chosen)}
    reports = sorted(
        (report for report in held.values() if report.fault in order),
        key=lambda report: (order[report.fault], report.seed),
    )
    if table is not None:
        _write(table, reports)
    bad = len(session.void) + sum(1 for report in reports if report.broken)
    skipped = sum(1 for report in reports if report.skipped)
    slow = sum(1 for report in reports if report.slow and not report.broken)
    say("")
    say(
        f"{len(reports) + len(session.void) - bad - skipped} runs kept every promise, {slow} of them late; "
        f"{bad} did not, {skipped} were skipped",
        "bold red" if bad else "bold green",
    )
    # The selection runs beside other work, so that what it takes says more of the machine.
    return FAILED if bad or (slow and not brief) else 0


@dataclass(slots=True)
class _Session:
    """What is due, and what came of it. `void`: runs that could not be held, which proves nothing and is a failure too."""

    due: deque[tuple[Fault, int]]
    timing: Timing
    kept: Path | None
    reports: list[Report] = field(default_factory=list)
    void: list[str] = field(default_factory=list)
    one_starts: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Alembic keeps what it migrates in a global."""

    async def run(self, jobs: int) -> None:
        """On so many stacks beside one another."""
        async with asyncio.TaskGroup() as group:
            for _ in range(min(jobs, len(self.due))):
                group.create_task(self._job())

    async def _job(self) -> None:
        """Take what is due, one after the other, on one stack; a fresh one after a run that broke something or used its
        stack up, and for another layout."""
        while self.due:
            async with _elsewhere() as life:
                async with self.one_starts:
                    if not self.due:  # another job took the last one meanwhile
                        return
                    fault, seed = self.due.popleft()
                    try:
                        rig = await asyncio.to_thread(life.enter_context, Rig.running(self.timing, layout=fault.layout))
                    except Exception as error:  # noqa: BLE001 - the next stack may start
                        self._not_held(fault, seed, error)
                        continue
                await self._hold(rig, fault, seed)
                while self.due and not rig.kept and not rig.spent and self.due[0][0].layout is fault.layout:
                    await self._hold(rig, *self.due.popleft())

    async def _hold(self, rig: Rig, fault: Fault, seed: int) -> None:
        run = f"{fault.name} {seed}"
        try:
            report = await rehearse(rig, fault, seed)
        except Exception as error:  # noqa: BLE001 - the others are to be held all the same
            rig.kept = True
            self._not_held(fault, seed, error)
        else:
            self.reports.append(report)
            if self.kept is not None:
                with self.kept.open("ab") as file:
                    file.write(msgspec.json.encode(report) + b"\n")
            rig.kept = bool(report.broken)
            say(report.line(), "red" if report.broken else "")
            for promise in (*report.broken, *report.slow, *(report.findings.reasons[:10] if report.broken else ())):
                tell(f"  {run}: {promise}")
            for kind in report.errors[:10]:
                tell(f"  {run}: logged {kind}")
        if rig.kept:
            tell(f"  {run}: logs and data are kept in {rig.stack.home.path}")

    def _not_held(self, fault: Fault, seed: int, error: Exception) -> None:
        run = f"{fault.name} {seed}"
        self.void.append(run)
        tell(f"  {run} could not be held: {''.join(traceback.format_exception(error))}")


@contextlib.asynccontextmanager
async def _elsewhere() -> AsyncIterator[contextlib.ExitStack]:
    """What is entered is left in a thread: a stack takes up to twenty seconds to stop, and the loads of the other jobs go on meanwhile."""
    life = contextlib.ExitStack()
    try:
        yield life
    finally:
        await asyncio.to_thread(life.close)


def _chosen(only: str, brief: bool) -> list[Fault]:
    patterns = [pattern.strip() for pattern in only.split(",")]
    chosen = [
        fault
        for fault in FAULTS
        if any(fnmatchcase(fault.name, pattern) for pattern in patterns) and (fault.brief or not brief)
    ]
    if not chosen:
        raise UnknownName(f"no fault is called {only!r}; `beat chaos --list` names them", field="only")
    return chosen


def _held(path: Path | None) -> dict[tuple[str, int], Report]:
    """The runs that were held before, by fault and seed."""
    if path is None or not path.exists():
        return {}
    try:
        reports = [msgspec.json.decode(line, type=Report) for line in path.read_bytes().splitlines()]
    except msgspec.DecodeError as error:
        raise BadInput(f"{path} holds no runs of this version: {error}; delete it", field="keep") from None
    return {(report.fault, report.seed): report for report in reports}


def _kept_its_word(report: Report | None) -> bool:
    return report is not None and not report.broken and not report.slow


def _marks(path: Path) -> str:
    text = path.read_text() if path.is_file() else ""
    if BEGIN not in text or END not in text:
        raise BadInput(f"{path} has no place for the table, between {BEGIN} and {END}", field="table")
    return text


def _write(path: Path, reports: Sequence[Report]) -> None:
    head, _, rest = _marks(path).partition(BEGIN)
    before, _, tail = rest.partition(END)
    table = matrix_table(reports, faults=[fault.name for fault in FAULTS], before=before)
    path.write_text(f"{head}{BEGIN}\n{table}\n{END}{tail}")
