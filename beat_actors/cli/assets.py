"""`beat assets`: the media files that Beat stores."""

import sys
from typing import Annotated

import msgspec
from cyclopts import App, Parameter
from rich.text import Text

from beat_actors.assets.upkeep.backlog import AssetBacklog, ClassBacklog
from beat_actors.assets.upkeep.costs import AssetCost
from beat_actors.assets.upkeep.listing import AGAIN, MAX_PAGE, MOST_AGAIN, AssetView, Filter
from beat_actors.cli.assets_kept import allow, check, forget
from beat_actors.cli.ids import AnyGivenUpAsset, AssetId
from beat_actors.cli.names import AnyAssetClass, AnyAssetStatus, AnyPlatform
from beat_actors.cli.operators import ask
from beat_actors.cli.operators.assets import There
from beat_actors.cli.output import TABLE, Flag, Shape, out, say, show_fields, show_json, show_list, show_rows, since
from beat_actors.errors import BadInput
from beat_actors.moments import moment

app = App(
    name="assets",
    help="Assets: the backlog and its end, costs, lists; show one, retry, forget those of a subject, check the bucket.",
)

app.command(forget)
app.command(allow)
app.command(check)


@app.command
def backlog(*, json: Flag = False) -> None:
    """Show how many assets wait in each class, since when, and when the last has had its turn.

    The end, the bytes and `late` (assets whose URLs expire before their turn) are forecasts at the pace of the last minutes. Numbers with `+` are lower limits.
    """
    found = ask(There, lambda beat: beat.backlog())
    if json:
        show_json(found)
        return
    show_rows(
        ("class", "pending", "oldest", "fetched/s", "MB", "done in", "late"),
        [_class_row(one) for one in found.classes],
        header=True,
    )
    states = "  ".join(f"{_count(one.assets, one.at_least)} {one.status.lower()}" for one in found.states if one.assets)
    for line in (_ends(found), states):
        if sys.stdout.isatty():
            out.print(Text(line, style="dim"))
        elif line:
            say(line)


@app.command
def costs(*, days: int = 30, json: Flag = False) -> None:
    """Show what assets took in the last days by account and class, with an estimate of the price (BEAT_ASSET_PRICES).

    `once` is the price of the requests, the bytes fetched and the PUTs; `a month` is the price of keeping what was stored.

    Parameters
    ----------
    days
        Whole days, today included; at most 92.
    """
    found = ask(There, lambda beat: beat.costs(days))
    if json:
        show_json(found)
        return
    show_rows(
        ("account", "class", "requests", "failed", "MB fetched", "puts", "MB stored", "once", "a month"),
        [_cost_row(one) for one in found.costs],
        header=True,
        spare=("failed", "MB fetched", "puts"),
        empty="nothing was uploaded",
    )
    if found.costs:
        say(
            f"in {days} days {found.once:,.4f} once, and {found.per_month:,.4f} a month for what was stored{' (of those listed)' if found.cut else ''}"
        )


@app.command(name="list")
def list_assets(
    *,
    platform: AnyPlatform = None,
    status: AnyAssetStatus = None,
    asset_class: Annotated[AnyAssetClass, Parameter(name="--class")] = None,
    account: str | None = None,
    failure: str | None = None,
    limit: int = 20,
    shape: Shape = TABLE,
) -> None:
    """List assets, newest first.

    Parameters
    ----------
    status
        pending, waiting, processing, refetch, complete, failed, expired or gone.
    asset_class
        avatar, thumbnail, story or other.
    account
        Only those that this account had observed first.
    failure
        Only those with this reason, as the column `failure` has it.
    limit
        How many, at most 200.
    """
    wanted = _wanted(platform, status, asset_class, account, failure, limit)
    page = ask(There, lambda beat: beat.page(wanted))
    show_list(
        page.assets,
        ("id", "status", "class", "subject", "field", "deadline", "failure"),
        lambda a: (a.id, a.status, a.asset_class, _of(a), a.field, a.deadline, a.failure),
        shape,
        prose=("subject", "failure"),
        spare=("deadline", "field", "class"),
        empty="no asset matches",
    )


@app.command
def show(asset: AssetId, /, *, json: Flag = False) -> None:
    """Show one asset, its object in the bucket, and what happens to it next.

    Parameters
    ----------
    asset
        Its id, as `beat assets list` shows it.
    """
    found = ask(There, lambda beat: beat.one(asset))
    if json:
        show_json(found)
        return
    fields = {name: value for name, value in msgspec.structs.asdict(found).items() if value not in (None, "", 0)}
    stored, why = fields.pop("stored", None), fields.pop("why")
    fields["class"] = fields.pop("asset_class", None)
    if stored is not None:
        fields["object"] = f"{stored.key}, {stored.bytes:,} bytes, {stored.media_type}"
    show_fields([*fields.items(), ("why", why)])


@app.command
def retry(
    asset: AnyGivenUpAsset = None,
    /,
    *,
    platform: AnyPlatform = None,
    status: AnyAssetStatus = None,
    asset_class: Annotated[AnyAssetClass, Parameter(name="--class")] = None,
    account: str | None = None,
    failure: str | None = None,
    limit: int = MOST_AGAIN,
    reason: str,
) -> None:
    """Try assets again that were given up: one, or the newest that match. They wait for the turn of their class.

    Parameters
    ----------
    asset
        Try this one alone.
    status
        failed, expired, gone, or waiting for those that wait for a later try.
    asset_class
        avatar, thumbnail, story or other.
    account
        Only those that this account had observed first.
    failure
        Only those with this reason, as the column `failure` has it.
    limit
        How many, at most 1,000.
    reason
        Kept in the audit log.
    """
    if asset is not None:
        one = asset
        say(_tried(ask(There, lambda beat: beat.again([one], reason=reason))))
        return
    if status is None or status.upper() not in AGAIN:
        raise BadInput("name one asset, or --status failed, expired, gone or waiting", field="status")
    if not 1 <= limit <= MOST_AGAIN:
        raise BadInput(f"limit is a whole number from 1 to {MOST_AGAIN}", field="limit")
    wanted = _wanted(platform, status, asset_class, account, failure, min(limit, MAX_PAGE))

    async def work(beat: There) -> int:
        ids, page = list[str](), await beat.page(wanted)
        ids += _ids(page.assets)
        while page.next_cursor is not None and len(ids) < limit:
            page = await beat.page(
                Filter(
                    platform=wanted.platform,
                    status=wanted.status,
                    asset_class=wanted.asset_class,
                    account_id=wanted.account_id,
                    failure=wanted.failure,
                    cursor=page.next_cursor,
                    limit=wanted.limit,
                )
            )
            ids += _ids(page.assets)
        return await beat.again(ids[:limit], reason=reason) if ids else 0

    say(_tried(ask(There, work)))


def _cost_row(one: AssetCost) -> tuple[object, ...]:
    fetched, stored = f"{one.fetched / 1e6:,.1f}", f"{one.stored / 1e6:,.1f}"
    prices = (f"{one.once:,.4f}", f"{one.per_month:,.4f}")
    return (one.account_id or "-", one.asset_class, one.requests, one.failed, fetched, one.puts, stored, *prices)


def _wanted(
    platform: str | None,
    status: str | None,
    asset_class: str | None,
    account: str | None,
    failure: str | None,
    limit: int,
) -> Filter:
    return Filter(
        platform=platform,
        status=status and status.upper(),
        asset_class=asset_class and asset_class.lower(),
        account_id=account,
        failure=failure,
        limit=limit,
    )


def _ids(assets: list[AssetView]) -> list[str]:
    return [asset.id for asset in assets if asset.id is not None]


def _tried(count: int) -> str:
    return f"Queued {count:,} {'asset' if count == 1 else 'assets'} for retry"


def _of(asset: AssetView) -> str:
    return f"{asset.platform} {asset.entity} {asset.entity_key}"


def _count(number: int, at_least: object) -> str:
    return f"{number:,}{'+' if at_least else ''}"


def _class_row(one: ClassBacklog) -> tuple[object, ...]:
    return (
        one.asset_class,
        _count(one.pending, one.at_least),
        since(one.oldest_seconds),
        None if one.per_second is None else f"{one.per_second:,.1f}",
        None if one.bytes is None else f"{one.bytes / 1e6:,.0f}",
        since(one.ends_in_seconds) if one.pending else "",
        one.late,
    )


def _ends(found: AssetBacklog) -> str:
    pending = f"{_count(found.pending, found.at_least)} wait"
    wanted = f", {found.wanted:,} of them for a reader" if found.wanted else ""
    if not found.pending:
        return "no asset waits"
    if found.per_second is None:
        return f"{pending}{wanted}; the pace is not known yet: the scheduler has taken no sample in the last minutes"
    if found.ends_at is None:
        return f"{pending}{wanted}; none was fetched in the last minutes: `beat doctor`, `beat alerts`"
    failed = f", {found.failed_share:.0%} of the fetches fail" if found.failed_share else ""
    at_least = "not before" if found.at_least else "about"
    return f"{pending}{wanted}; {found.per_second:,.1f} a second{failed}; the last has had its turn {at_least} {moment(found.ends_at)}"
