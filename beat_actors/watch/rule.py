"""What a rule is: it looks at rows and returns all of its alerts that are due now."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from beat_actors.alerts import Alert, report
from beat_actors.database import Database

Rule = Callable[[Database], Awaitable[Sequence[Alert]]]


@dataclass(frozen=True, slots=True)
class Watch:
    """A rule, and the name that its alerts' keys begin with. `every`: seconds between two looks."""

    name: str
    rule: Rule
    every: float = 15.0

    async def run(self, database: Database, epoch: int | None = None) -> int:
        """Look, and open or resolve; how many changed."""
        standing = await self.rule(database)
        async with database.statements() as alone:
            return await report(alone, self.name, standing, epoch=epoch)


@dataclass(frozen=True, slots=True)
class InOrder:
    """Rules that run one after the other, because the alerts of an earlier one explain those of a later one: a situation that begins between two
    looks is announced once."""

    name: str
    watches: tuple[Watch, ...]
    every: float = 15.0

    async def run(self, database: Database, epoch: int | None = None) -> int:
        """Run each, also after one that failed; how many alerts changed. Raises what the first that failed has raised."""
        changed, failed = 0, list[Exception]()
        for one in self.watches:
            try:
                changed += await one.run(database, epoch)
            except Exception as error:  # noqa: BLE001 - raised when the others have run
                failed.append(error)
        if failed:
            raise failed[0]
        return changed


def listed(names: Sequence[str]) -> str:
    """The first four of these, and how many there are more."""
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")


def number(count: int, noun: str) -> str:
    """So many of these, as a person writes it: 1 request, 1,000 requests."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
