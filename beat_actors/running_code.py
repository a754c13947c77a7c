"""Which code the running processes have, and what is newer than it: a platform, the schema, a version.

A process learns of a platform, and runs another version, only when it is started again. An operator who installs one and restarts nothing is told
so here, by doctor, `why` and an alert.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version

from beat_actors.alerts import Alert
from beat_actors.database import Database, Statements, revisions
from beat_actors.database.processes import Code, Process, processes
from beat_actors.platforms.registry import platforms

RESTART = (
    "restart the workers, the scheduler and the API: stop and start `beat up`, or `docker compose up --detach --build`"
)
NAMED = 4
SQL = Statements(__file__)
REVISION = SQL("revision", str)
WAITING = SQL("waiting", str)


def own() -> Code:
    """The code of this process. Its platforms are loaded."""
    return Code(version("beat-actors"), revisions.newest(), tuple(sorted(platforms())))


@dataclass(frozen=True, slots=True)
class Stale:
    """What is newer than the processes `lacking` it, so that they have to be started anew. `kind`: `platform NAME`, `schema` or `version`.
    `nobody`: no worker has it."""

    kind: str
    newer: str
    lacking: tuple[str, ...]
    nobody: bool = False

    @property
    def sentence(self) -> str:
        named = ", ".join(self.lacking[:NAMED]) + (
            f" and {len(self.lacking) - NAMED} more" if len(self.lacking) > NAMED else ""
        )
        who = "no running worker has it" if self.nobody else f"{len(self.lacking)} running processes do not have it"
        return f"{self.newer}, and {who}: {named}"


def stale(
    living: Sequence[Process], wanted: Collection[str], revision: str | None, newest: str | None = None
) -> list[Stale]:
    """What of `wanted` platforms, of the schema's `revision` and of the versions (the living processes' and `newest`) is newer than a process.

    A process that says nothing of its code is of an older version. It is told of where another one says something.
    """
    told = [one for one in living if one.code is not None]
    found = []
    for name in sorted(wanted):
        lacking = [
            one
            for one in told
            if one.code is not None and one.code.platforms is not None and name not in one.code.platforms
        ]
        workers = [one for one in told if one.name == "worker"]
        if lacking:
            nobody = bool(workers) and all(one in lacking for one in workers)
            found.append(Stale(f"platform {name}", f"the platform {name} is installed", _named(lacking), nobody))
    older = [one for one in told if one.code is not None and revision is not None and one.code.revision < revision]
    if older:
        found.append(Stale("schema", f"the database is at revision {revision}", _named(older)))
    versions = {one.code.version for one in told if one.code is not None} | ({newest} if newest else set())
    if versions:
        last = max(versions, key=_ordered)
        behind = [one for one in living if one.code is None or one.code.version != last] if told else []
        if behind:
            found.append(Stale("version", f"version {last} is installed", _named(behind)))
    return found


async def alerts(database: Database) -> list[Alert]:
    """One alert for each thing that is newer than processes. Of platforms, those that a living process has or that work waits for."""
    living = await processes(database)
    async with database.statements() as alone:
        waiting = set(await alone.rows(WAITING))
        revision = await alone.value(REVISION)
    known = {name for one in living if one.code is not None for name in one.code.platforms or ()}
    return [_alert(one, waiting) for one in stale(living, known | waiting, revision)]


async def unserved(database: Database) -> set[str]:
    """Platforms of which work waits, and that no running worker has."""
    living = await processes(database)
    async with database.statements() as alone:
        waiting = await alone.rows(WAITING)
    return {name for name in waiting if no_worker_has(name, living)}


def no_worker_has(platform: str, living: Iterable[Process]) -> bool:
    """False too where no worker runs, or one does not say what it has."""
    known = [None if one.code is None else one.code.platforms for one in living if one.name == "worker"]
    return bool(known) and all(has is not None and platform not in has for has in known)


def _alert(one: Stale, waiting: Collection[str]) -> Alert:
    platform = one.kind.removeprefix("platform ")
    is_waiting = one.nobody and platform in waiting
    impact: Mapping[str, str] = {
        "schema": "they work with this schema, but do not use its changes",
        "version": "they continue without the changes; processes of two versions work together",
    }
    said = (
        "its requests wait until a worker has loaded it; none is lost"
        if one.nobody
        else "its work waits for the processes that have it"
    )
    return Alert(
        key=f"code:{one.kind}",
        severity="critical" if is_waiting else "warning" if one.kind.startswith("platform") else "info",
        cause=one.sentence,
        impact=impact.get(one.kind, said),
        automatic="nothing: a process learns of it when it is started",
        action=RESTART,
    )


def _named(living: Sequence[Process]) -> tuple[str, ...]:
    return tuple(f"{one.name} {one.host}:{one.pid}" for one in living)


def _ordered(text: str) -> tuple[tuple[int, str], ...]:
    """A version's place among others: numbers as numbers."""
    return tuple((int(part), "") if part.isdigit() else (-1, part) for part in text.replace("+", ".").split("."))
