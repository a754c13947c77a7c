"""`beat doctor`: checks every dependency, and says how to fix what is wrong. One line for each check."""

import asyncio
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated

import msgspec
from cyclopts import Parameter

from beat_actors.cli import operators, sinks
from beat_actors.cli.finding import Finding, of_alerts
from beat_actors.cli.operators import ask, database, events, is_remote, steering, watching
from beat_actors.cli.output import FAILED, show_json, show_rows

STUCK_AFTER = 600.0
"""Seconds from which on a request that runs is listed as stuck."""
MOST_USED = 0.9
"""Share of PostgreSQL's connections from which on too few are left."""
STARTED_BY = {"worker": "python -m actors", "scheduler": "python -m scheduler"}
FIX_THERE = "run `beat doctor` on a host of that installation, which checks every dependency"


def doctor(*, json: Annotated[bool, Parameter(negative="")] = False) -> int:
    """Check every dependency and the open alerts; say what is wrong and how to fix it. Exits with 1 if anything is. Over an API it checks what
    that API says of its dependencies, credentials, queues, connections, processes and requests, and the open alerts."""
    findings = ask(There, lambda beat: beat.findings()) if is_remote() else _here()
    if json:
        show_json([{"check": f.check, "ok": not f.fix, "found": f.found, "fix": f.fix} for f in findings])
    else:
        _show(findings)
    return FAILED if any(f.fix for f in findings) else 0


def _show(findings: Sequence[Finding]) -> None:
    """A line for each; on a terminal, what is wrong has how to fix it below it."""
    if not sys.stdout.isatty():
        rows = [("WRONG" if f.fix else "ok", f.check, f.found, f.fix) for f in findings]
        show_rows(("status", "check", "found", "how to fix it"), rows)
        return
    lines = []
    for one in findings:
        lines.append(("WRONG" if one.fix else "ok", one.check, one.found))
        if one.fix:
            lines.append(("", "", f"fix: {one.fix}"))
    show_rows(("status", "check", "found"), lines, prose=("found",))


def _here() -> list[Finding]:
    from beat_actors.cli.examination import examine  # loads every driver, and is not for a Beat elsewhere

    return asyncio.run(examine())


class Readiness(msgspec.Struct):
    checks: dict[str, str]


class Depth(msgspec.Struct):
    """What lies in a queue."""

    queue: str
    waiting: int
    dead: int


class Depths(msgspec.Struct):
    queues: list[Depth]


class There(operators.There):
    async def findings(self) -> list[Finding]:
        """What the API says of its dependencies, credentials, queues and processes, and the alerts that are open there."""
        from beat_actors.client import ApiError, Away  # loads aiohttp, which only this way needs

        try:
            found = await self.client.fetch("/readyz", Readiness)
        except Away as away:
            found = msgspec.json.decode(away.body or b'{"checks": {"API": "it does not answer"}}', type=Readiness)
        findings = [Finding(name, said, "" if said == "ok" else FIX_THERE) for name, said in found.checks.items()]
        for name, check in self._checks().items():
            try:
                findings += await check()
            except ApiError as error:
                findings.append(Finding(name, str(error), "use a key with the scope operate, or see the checks above"))
        return findings

    def _checks(self) -> dict[str, Callable[[], Awaitable[list[Finding]]]]:
        return {
            "credentials": self._credentials,
            "queues": self._queues,
            "connections": self._connections,
            "processes": self._processes,
            "events": self._events,
            "stuck": self._stuck,
            "alerts": self._alerts,
        }

    async def _credentials(self) -> list[Finding]:
        found = await steering.There(self.client).sources(None)
        usable, total, dead = (
            sum(counts) for counts in zip(*((s.usable, s.credentials, s.dead) for s in found), strict=True)
        )
        none = [one.source for one in found if one.credentials and not one.usable]
        fix = "" if usable else "none can be used: add one, or `beat credentials enable ID --reason …`"
        lacking = f"; none usable of {', '.join(none)}" if none else ""
        return [Finding("credentials", f"{usable:,} of {total:,} usable, {dead:,} dead{lacking}", fix)]

    async def _queues(self) -> list[Finding]:
        queues = (await self.client.fetch("/v1/queues", Depths)).queues
        dead = sum(one.dead for one in queues)
        waiting = ", ".join(f"{one.queue} {one.waiting}" for one in queues)
        return [Finding("queues", waiting + (f"; {dead:,} dead letters: `beat queues`" if dead else ""))]

    async def _connections(self) -> list[Finding]:
        found = await database.There(self.client).connections()
        full = found.used > MOST_USED * found.most
        fix = "raise max_connections, or lower BEAT_DATABASE_POOL_SIZE: `beat db connections`" if full else ""
        return [Finding("connections", f"{found.used} of {found.most} are taken", fix)]

    async def _processes(self) -> list[Finding]:
        """The kinds of processes that have reported within half a minute, and what single ones cannot do."""
        from beat_actors.process_alerts import actions

        living = await database.There(self.client).processes()
        kinds = Counter(one.name for one in living)
        absent = [name for name in ("worker", "scheduler") if not kinds[name]]
        fix = f"start them: {' and '.join(STARTED_BY[name] for name in absent)}" if absent else ""
        count = ", ".join(f"{n} {name}" for name, n in sorted(kinds.items())) or "none reports"
        missing = f"; no {' and no '.join(absent)}" if absent and kinds else ""
        return [
            Finding("processes", count + missing, fix),
            *(
                Finding(
                    f"{one.name} {one.host}:{one.pid}",
                    "; ".join(one.troubles.values()),
                    "; ".join(actions(one.troubles)),
                )
                for one in living
                if one.troubles
            ),
        ]

    async def _events(self) -> list[Finding]:
        """The publisher and the sinks there."""
        return sinks.states(await events.There(self.client).status(), wanted=False)

    async def _stuck(self) -> list[Finding]:
        found = await watching.There(self.client).stuck(STUCK_AFTER)
        said = f"{len(found):,} requests have been running for more than {STUCK_AFTER / 60:.0f} min"
        return [
            Finding(
                "stuck",
                said if found else f"no request has been running for more than {STUCK_AFTER / 60:.0f} min",
                "`beat stuck` shows what each waits for" if found else "",
            )
        ]

    async def _alerts(self) -> list[Finding]:
        return of_alerts(await watching.There(self.client).alerts(resolved=False))
