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


def listed(names: Sequence[str]) -> str:
    """The first four of these, and how many there are more."""
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
