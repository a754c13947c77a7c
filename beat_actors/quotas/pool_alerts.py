"""Alerts of pools that will probably be used up before they have room again."""

from beat_actors.alerts import Alert
from beat_actors.database import Database
from beat_actors.moments import moment
from beat_actors.quotas import pools
from beat_actors.quotas.budgets import PoolView
from beat_actors.quotas.pools import DAY, REPORTED


async def alerts(database: Database) -> list[Alert]:
    """Of pools as the sweep `budgets_foreseen` has noted them last. Raises `StorageUnavailable`."""
    async with database.statements() as alone:
        found = [one for one in await pools.noted(alone) if one.left > 0]
        views = await pools.views(alone, found, await alone.now())
    return [_alert(view) for view in views if view.warn]


def _alert(view: PoolView) -> Alert:
    when = "" if view.used_up_at is None else f", at about {moment(view.used_up_at)}"
    between = "" if view.earliest is None else f" (at {moment(view.earliest)} at the earliest)"
    again = "as the oldest calls leave the window" if view.until is None else f"at {moment(view.until)}"
    what = "the reported quota" if view.scope == REPORTED else f"the limit {view.limit!r}"
    return Alert(
        key=f"forecast:{view.name}",
        severity="warning",
        cause=f"{what} of {view.source} will be used up by all of its {view.credentials:,} credentials with a probability of {view.probability or 0:.0%}{when}{between}: {view.left:,} of {view.calls:,} calls are left",
        impact=f"when it is used up, work of {view.platform} that needs {view.source} goes to other sources, or waits",
        automatic=f"Beat calls other sources of the chain then; {view.source} has room again {again}",
        action=f"`beat forecast` shows it; add a credential: `beat credentials add {view.source}`, or send work that can wait with priority batch",
        source=view.source,
        again_after=DAY,
    )
