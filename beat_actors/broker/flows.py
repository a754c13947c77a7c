"""How much of a flow is done at once: as it declares, unless an operator says otherwise. Also how operators see and steer it."""

from datetime import datetime
from typing import Any, NamedTuple

import msgspec
from msgspec import UNSET, UnsetType

from beat_actors import audit
from beat_actors.broker.changes import between_turns, look_again
from beat_actors.broker.own_flows import OWN_FLOWS, UPLOADS, OwnFlow
from beat_actors.database import Database, Statements, Transaction
from beat_actors.errors import BadInput, UnknownFlow
from beat_actors.platforms.interface import Flow, Platform
from beat_actors.platforms.registry import platform as platform_named
from beat_actors.platforms.registry import platforms
from beat_actors.text import check_text

MOST = 1000
"""Workers of one flow, and calls of one worker."""
SQL = Statements(__file__)
MOST_WAITING = 10_001

Number = int | UnsetType | None
"""`UNSET` leaves it as it is; `None` goes back to what the flow declares."""


class FlowView(msgspec.Struct, frozen=True, kw_only=True):
    """A flow. At most `limit` = `workers` x `concurrency` of its calls are in flight at once; `out` is the present number.

    `waiting`: fetches that are ready, capped at 10,001 in each lane. `waiting_for`: seconds that the first of them has waited. `changed_at`: the last
    change by an operator.
    """

    platform: str
    flow: str
    workers: int
    concurrency: int
    limit: int
    declared_workers: int
    declared_concurrency: int
    paused: bool
    out: int
    waiting: int
    waiting_for: float | None
    changed_at: datetime | None


class Setting(NamedTuple):
    """What an operator set of a flow; None where it is as the flow declares."""

    flow: str
    workers: int | None
    concurrency: int | None
    paused: bool


class FlowRow(NamedTuple):
    platform: str
    flow: str
    workers: int | None
    concurrency: int | None
    paused: bool
    changed_at: datetime | None
    out: int
    waiting: int
    waiting_for: float | None


SETTINGS = SQL("settings", Setting)
OVERVIEW = SQL("overview", FlowRow)
UPLOADING = SQL("uploading", FlowRow)
CHANGE = SQL("change")
OWN_OVERVIEWS = {UPLOADS: UPLOADING}


def flow_known(name: str, platform: str | None = None) -> list[Platform]:
    """The platforms that have this flow, or the one that is named. Raises `UnknownFlow`."""
    having = [one for one in platforms().values() if name in one.flows and platform in (None, one.name)]
    if not having:
        known = ", ".join(sorted({flow for one in platforms().values() for flow in one.flows}))
        of = f" of {platform}" if platform else ""
        raise UnknownFlow(f"there is no flow {name!r}{of}; there is: {known}", field="flow")
    return having


def check_platform(platform: str) -> None:
    """Raises `UnknownPlatform` where no flow is listed under this name."""
    if all(one.platform != platform for one in OWN_FLOWS):
        platform_named(platform)


async def overview(database: Database, name: str | None = None, platform: str | None = None) -> list[FlowView]:
    """Every flow, Beat's own too, or those of one name or platform."""
    wanted = [
        (one.name, flow)
        for one in platforms().values()
        for flow in one.flows
        if name in (None, flow) and platform in (None, one.name)
    ]
    values = {"platforms": [one for one, _ in wanted], "flows": [flow for _, flow in wanted], "most": MOST_WAITING}
    own = [one for one in OWN_FLOWS if name in (None, one.name) and platform in (None, one.platform)]
    async with database.statements() as alone:
        rows = await alone.rows(OVERVIEW, values) if wanted else []
        for one in own:
            key = {"platform": one.platform, "flow": one.name, "most": MOST_WAITING}
            rows += await alone.rows(OWN_OVERVIEWS[one], key)
    return [_view(row) for row in rows]


async def change(
    database: Database,
    name: str,
    platform: str | None = None,
    *,
    workers: Number = UNSET,
    concurrency: Number = UNSET,
    paused: bool | None = None,
    actor: str,
    reason: str,
) -> FlowView:
    """In force for every lease that is given from now on; calls in flight end. Wake the broker after it.

    Raises `BadInput` and `UnknownFlow`.
    """
    check_text(reason, "reason", longest=1000)
    if not reason.strip():
        raise BadInput("say why; it is kept in the audit log", field="reason")
    changes = {"workers": workers, "concurrency": concurrency}
    for field, value in changes.items():
        if isinstance(value, int) and not 1 <= value <= MOST:
            raise BadInput(f"{field} is 1 to {MOST:,}; to let a flow wait, pause it", field=field)
    detail = {field: value for field, value in changes.items() if value is not UNSET}
    if paused is not None:
        detail["paused"] = paused
    if not detail:
        raise BadInput("name at least one of workers, concurrency and paused")
    of, _ = _steered(name, platform)
    values: dict[str, Any] = {"platform": of, "flow": name, "paused": paused}
    for field, value in changes.items():
        values |= {field: value if isinstance(value, int) else None, f"sets_{field}": value is not UNSET}

    async def changed(transaction: Transaction) -> None:
        await transaction.run(CHANGE, values)
        await look_again(transaction, of)  # finds no lanes of Beat's own flows
        target = f"flow/{of}/{name}"
        await audit.record(
            transaction, actor=actor, action="flow.set", target=target, detail={**detail, "reason": reason}
        )

    await between_turns(database, of, changed)
    (view,) = await overview(database, name, of)
    return view


def _steered(name: str, platform: str | None) -> tuple[str, Flow | OwnFlow]:
    """The name of its platform, and the flow."""
    for own in OWN_FLOWS:
        if own.name == name and platform in (None, own.platform):
            return own.platform, own
    having = flow_known(name, platform)
    if len(having) > 1:
        names = ", ".join(sorted(one.name for one in having))
        raise BadInput(
            f"several platforms have a flow {name!r}: {names}; name one with `platform` (`--platform` on the command line)",
            field="platform",
        )
    return having[0].name, having[0].flows[name]


def in_force(flow: Flow | OwnFlow, row: Setting | FlowRow | None) -> tuple[int, int]:
    """Its workers and the concurrency of each. `row`: what an operator set, if anything."""
    if row is None:
        return flow.workers, flow.concurrency
    return row.workers or flow.workers, row.concurrency or flow.concurrency


def _view(row: FlowRow) -> FlowView:
    _, flow = _steered(row.flow, row.platform)
    workers, concurrency = in_force(flow, row)
    return FlowView(
        platform=row.platform,
        flow=row.flow,
        workers=workers,
        concurrency=concurrency,
        limit=workers * concurrency,
        declared_workers=flow.workers,
        declared_concurrency=flow.concurrency,
        paused=row.paused,
        out=row.out,
        waiting=row.waiting,
        waiting_for=row.waiting_for,
        changed_at=row.changed_at,
    )
