"""What a rule is: it looks at rows and returns all of its alerts that are due now."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from weakref import WeakKeyDictionary

from beat_actors.alerts import Alert, report
from beat_actors.database import Database
from beat_actors.observe.words import listed, number

__all__ = ["InOrder", "Rule", "Watch", "listed", "number"]

Rule = Callable[[Database], Awaitable[Sequence[Alert]]]


class Reports:
    """Reports what stands. A leader that has reported once that nothing of a rule stands says so no second time: nobody else opens its alerts."""

    def __init__(self) -> None:
        self._nothing: WeakKeyDictionary[Database, dict[str, int]] = WeakKeyDictionary()

    async def __call__(
        self, database: Database, rule: str, standing: Sequence[Alert], epoch: int | None, *, repeat: bool = False
    ) -> int:
        """Returns how many alerts changed. `repeat`: others open alerts of this rule too, so that nothing is reported each time."""
        said = self._nothing.setdefault(database, {})
        if not standing and not repeat and epoch is not None and said.get(rule) == epoch:
            return 0
        said.pop(rule, None)
        async with database.statements() as alone:
            changed = await report(alone, rule, standing, epoch=epoch)
        if not standing and epoch is not None:
            said[rule] = epoch
        return changed


REPORTS = Reports()


@dataclass(frozen=True, slots=True)
class Watch:
    """A rule, and the name that its alerts' keys begin with. `every`: seconds between two looks. `opened_elsewhere`: transactions open alerts of
    this rule themselves, too."""

    name: str
    rule: Rule
    every: float = 15.0
    opened_elsewhere: bool = False

    async def run(self, database: Database, epoch: int | None = None) -> int:
        """Look, and open or resolve; how many changed."""
        standing = await self.rule(database)
        return await REPORTS(database, self.name, standing, epoch, repeat=self.opened_elsewhere)


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
