"""`beat quarantine`: payloads and messages that could not be used."""

from typing import Annotated

import msgspec
from cyclopts import App, Parameter

from beat_actors import quarantine as rows
from beat_actors.cli.output import say, show_document, show_json, show_rows, tell
from beat_actors.cli.session import Session, run, who
from beat_actors.database import Transaction
from beat_actors.quarantine import Payload, QuarantineCluster, QuarantinedEntry, ReplayPlan, Selection

Json = Annotated[bool, Parameter(negative="")]

app = App(name="quarantine", help="List quarantined payloads, grouped by error; show, replay or resolve them.")


@app.default
def list_clusters(*, limit: int = 50, json: Json = False) -> None:
    """List what stands in quarantine, by what looks alike, the most frequent first."""

    async def work(session: Session) -> list[QuarantineCluster]:
        async with session.engine.database.transaction() as transaction:
            return await rows.clusters(transaction, limit=limit)

    found = run(work)
    if json:
        show_json(found)
        return
    show_rows(
        ("count", "kind", "of", "at", "newest", "last (UTC)", "why"),
        [
            (c.count, c.kind, _place(c), c.path or "", c.newest, f"{c.last_at:%Y-%m-%d %H:%M:%S}", c.error)
            for c in found
        ],
        empty="nothing is in quarantine",
    )


@app.command(name="show")
def show_entry(entry: int, /, *, payload: Annotated[bool, Parameter(negative="")] = False) -> None:
    """Show one entry, as JSON.

    Parameters
    ----------
    payload
        Print the provider's answer instead, as it was kept.
    """

    async def work(session: Session) -> QuarantinedEntry:
        async with session.engine.database.transaction() as transaction:
            return await rows.entry(transaction, entry)

    async def answer(session: Session) -> Payload:
        async with session.engine.database.transaction() as transaction:
            return await rows.payload(transaction, entry)

    if not payload:
        show_json(run(work))
        return
    found = run(answer)
    show_document(found.text)
    if found.cut:
        tell(f"the payload has {found.bytes:,} bytes; this is its beginning")


@app.command
def resolve(
    kind: str,
    /,
    *,
    newest: int | None = None,
    reason: str,
    platform: str | None = None,
    source: str | None = None,
    operation: str | None = None,
    path: str | None = None,
    parser_version: int | None = None,
) -> None:
    """Take what has been dealt with off the list.

    Parameters
    ----------
    kind
        malformed, poison, implausible or message.
    newest
        Only entries up to this id, as the list shows it; all that are listed now if not given.
    path
        Only what could not be read there; "" for what has none.
    """

    selection = Selection(
        kind=kind,
        newest=newest or 0,
        platform=platform,
        source=source,
        operation=operation,
        path=path,
        parser_version=parser_version,
    )

    async def work(session: Session) -> int:
        async with session.engine.database.transaction() as transaction:
            return await rows.resolve(
                transaction,
                await _chosen(transaction, selection, newest),
                actor=who(),
                reason=reason,
            )

    say(f"{run(work):,} resolved")


@app.command
def replay(
    kind: str,
    /,
    *,
    newest: int | None = None,
    reason: str,
    platform: str | None = None,
    source: str | None = None,
    operation: str | None = None,
    path: str | None = None,
    parser_version: int | None = None,
    rate: float = 10.0,
) -> None:
    """Read quarantined payloads again, once the parser is fixed. The provider is asked only for payloads that are kept no more.

    Parameters
    ----------
    kind
        malformed or poison.
    newest
        Only entries up to this id, as the list shows it; all that are listed now if not given.
    path
        Only what could not be read there; "" for what has none.
    rate
        Entries a second.
    """

    selection = Selection(
        kind=kind,
        newest=newest or 0,
        platform=platform,
        source=source,
        operation=operation,
        path=path,
        parser_version=parser_version,
    )

    async def work(session: Session) -> ReplayPlan:
        async with session.engine.database.transaction() as transaction:
            return await rows.replay(
                transaction,
                await _chosen(transaction, selection, newest),
                rate=rate,
                actor=who(),
                reason=reason,
            )

    found = run(work)
    until = f", the last at {found.last_at:%Y-%m-%d %H:%M:%S} UTC" if found.last_at else ""
    say(f"{found.count:,} entries are read again{until}; those that still fail are listed again")


async def _chosen(transaction: Transaction, selection: Selection, newest: int | None) -> Selection:
    """The selection up to `newest`, or up to the newest entry of now: what comes later has been seen by nobody."""
    if newest is None:
        newest = max((one.newest for one in await rows.clusters(transaction, limit=1000)), default=0)
    return msgspec.structs.replace(selection, newest=newest)


def _place(cluster: QuarantineCluster) -> str:
    return " ".join(part for part in (cluster.platform, cluster.source, cluster.operation) if part)
