"""`beat quarantine`: payloads and messages that could not be processed."""

from dataclasses import asdict, dataclass

from cyclopts import App, Parameter

from beat_actors.cli.names import AnyPlatform, AnySource, KindOfEntry
from beat_actors.cli.operators import ask
from beat_actors.cli.operators.quarantine import There, up_to_now
from beat_actors.cli.output import TABLE, Flag, Shape, say, show_document, show_json, show_list, tell
from beat_actors.moments import moment
from beat_actors.quarantine import STOP_AT, QuarantineCluster, ReplayPlan, Selection


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Which:
    """Which entries of a kind.

    Parameters
    ----------
    path
        Only entries with this path; "" for those without one.
    fingerprint
        Only entries of this group, as the list names it.
    """

    platform: AnyPlatform = None
    source: AnySource = None
    operation: str | None = None
    path: str | None = None
    parser_version: int | None = None
    fingerprint: str | None = None

    def of(self, kind: str) -> Selection:
        """What is selected of a kind; `up_to_now` says up to which entry."""
        return Selection(kind=kind, newest=0, **asdict(self))


ALL = Which()
app = App(name="quarantine", help="List quarantined payloads, grouped by error; show, replay or resolve them.")


@app.default
def list_clusters(*, limit: int = 50, shape: Shape = TABLE) -> None:
    """List quarantined payloads and messages, grouped by error and shape of the payload, the most frequent first.

    Parameters
    ----------
    limit
        How many groups, at most 1,000.
    """
    show_list(
        ask(There, lambda beat: beat.clusters(limit)),
        ("count", "share", "fingerprint", "kind", "where", "path", "shape", "newest", "first", "last", "error"),
        lambda c: (
            c.count,
            "" if c.share is None else f"{c.share:.1%}",
            c.fingerprint,
            c.kind,
            _place(c),
            c.path or "",
            c.shape or "",
            c.newest,
            c.first_at,
            c.last_at,
            c.error,
        ),
        shape,
        prose=("error",),
        empty="the quarantine is empty",
    )


@app.command(name="show")
def show_entry(entry: int, /, *, payload: Flag = False) -> None:
    """Show one entry, as JSON.

    Parameters
    ----------
    entry
        Its id, as the column `newest` of the list has it.
    payload
        Print the provider's answer instead, as it was kept: by PostgreSQL, or in the bucket.
    """
    if not payload:
        show_json(ask(There, lambda beat: beat.entry(entry)))
        return
    found = ask(There, lambda beat: beat.payload(entry))
    show_document(found.text)
    if found.cut:
        tell(f"the payload has {found.bytes:,} bytes; this is its beginning")


@app.command
def resolve(kind: KindOfEntry, /, *, newest: int | None = None, reason: str, which: Which = ALL) -> None:
    """Resolve entries that have been dealt with, so that they are no longer listed.

    Parameters
    ----------
    kind
        malformed, poison, implausible or message.
    newest
        Only entries up to this id, as the list shows it; all that are listed now if not given.
    """
    wanted = which.of(kind)

    async def work(beat: There) -> int:
        return await beat.resolve(await up_to_now(beat, wanted, newest), reason=reason)

    say(f"{ask(There, work):,} resolved")


@app.command
def replay(
    kind: KindOfEntry,
    /,
    *,
    newest: int | None = None,
    reason: str,
    which: Which = ALL,
    rate: float = 10.0,
    stop_at: float = STOP_AT,
) -> None:
    """Read quarantined payloads again, once the parser is fixed. The provider is called only for payloads that are no longer stored.

    Parameters
    ----------
    kind
        malformed or poison.
    newest
        Only entries up to this id, as the list shows it; all that are listed now if not given.
    rate
        Entries a second.
    stop_at
        Stop when more than this share of the last payloads still cannot be read; 1 never stops.
    """
    wanted = which.of(kind)

    async def work(beat: There) -> ReplayPlan:
        return await beat.replay(await up_to_now(beat, wanted, newest), rate=rate, stop_at=stop_at, reason=reason)

    found = ask(There, work)
    until = f", the last at {moment(found.last_at)}" if found.last_at else ""
    entries = f"{found.count:,} {'entry' if found.count == 1 else 'entries'}"
    say(f"Queued {entries} for replay{until}. Those that still fail are listed again")


def _place(cluster: QuarantineCluster) -> str:
    return " ".join(part for part in (cluster.platform, cluster.source, cluster.operation) if part)
