"""`beat erase`: a person's data, counted or erased; and the lifting of an erasure."""

from collections.abc import Callable

from cyclopts import App

from beat_actors.cli.names import PlatformName
from beat_actors.cli.operators import ask
from beat_actors.cli.operators.erasures import There
from beat_actors.cli.output import FAILED, TABLE, Flag, Shape, say, show_json, show_list, show_rows, tell
from beat_actors.errors import BadInput
from beat_actors.privacy.erasures import Erasure

app = App(name="erase", help="Erase a person's data, or count them first; list erasures, show or lift one.")


@app.default
def erase(
    platform: PlatformName,
    subject: str,
    /,
    *,
    apply: Flag = False,
    reason: str = "",
    json: Flag = False,
) -> int:
    """Count what Beat has of a person, by table. With --apply, erase it from all tables and buckets.

    An erased person is not collected again: requests for the person are refused, and records about the person are not written, until the erasure is
    lifted. If the command is interrupted, the scheduler goes on, and so does `beat erase show ID --finish`.

    Parameters
    ----------
    subject
        An id or a handle; of a store's customer the number.
    apply
        Erase. Without it nothing is changed.
    reason
        Kept in the audit log, without the person's ids and handles. Needed with --apply.
    """
    if apply and not reason:
        raise BadInput("an erasure needs a reason, which the audit log keeps: --reason …", field="reason")

    async def work(beat: There) -> Erasure:
        begun = await beat.begin(platform, subject, dry_run=not apply, reason=reason or "count")
        if apply and not json:
            tell(f"erasure {begun.id} has begun; from now on the person is not collected any more")
        return await beat.finish(begun.id, _told(json=json))

    return _show(ask(There, work), json=json)


@app.command
def show(erasure: int, /, *, finish: Flag = False, json: Flag = False) -> int:
    """Show an erasure: how far it is, and what it erased by table.

    Parameters
    ----------
    erasure
        Its id, as `beat erase list` shows it.
    finish
        Go on with it until it has ended.
    """

    async def work(beat: There) -> Erasure:
        return await beat.finish(erasure, _told(json=json)) if finish else await beat.one(erasure)

    return _show(ask(There, work), json=json)


@app.command(name="list")
def list_erasures(*, limit: int = 50, shape: Shape = TABLE) -> None:
    """List erasures, newest first. None says whom it was about.

    Parameters
    ----------
    limit
        How many, at most 1,000.
    """
    show_list(
        ask(There, lambda beat: beat.newest(limit)),
        ("id", "platform", "kind", "state", "rows", "begun", "actor", "reason"),
        lambda e: (e.id, e.platform, e.kind, _state(e), _rows(e), e.created_at, e.actor, e.reason),
        shape,
        prose=("reason",),
        spare=("actor", "kind"),
        empty="nobody was erased",
    )


@app.command
def lift(platform: PlatformName, subject: str, /, *, reason: str) -> None:
    """Let a person's data be collected again, from the next request on. What was erased stays erased.

    Parameters
    ----------
    subject
        An id or a handle that the person had when the data were erased.
    reason
        Kept in the audit log.
    """
    found = ask(There, lambda beat: beat.lift(platform, subject, reason=reason))
    say(f"{counted(len(found.erasures), 'erasure')} lifted; the person is collected again from the next request on")


def counted(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def _told(*, json: bool) -> Callable[[Erasure], None]:
    def told(found: Erasure) -> None:
        if not json:
            waits = f"; it waits for {found.waits_for}" if found.waits_for else ""
            tell(f"erasure {found.id}: round {found.round}, {_rows(found):,} rows so far{waits}")

    return told


def _rows(found: Erasure) -> int:
    return sum(sum(counts.values()) for counts in found.counts.values())


def _state(found: Erasure) -> str:
    if found.dry_run:
        return "counted" if found.ended_at else "counting"
    if found.lifted_at:
        return "lifted"
    return "erased" if found.ended_at else "running"


def _show(found: Erasure, *, json: bool) -> int:
    if json:
        show_json(found)
        return FAILED if found.ended_at and found.waits_for else 0
    rows = [
        (name, *(counts.get(how, 0) for how in ("deleted", "redacted", "open")))
        for name, counts in found.counts.items()
    ]
    show_rows(("table", "deleted", "redacted", "open"), sorted(rows), empty="nothing names the person")
    total = counted(_rows(found), "row")
    if found.dry_run:
        say(f"{total} would be erased or redacted; nothing was changed. To erase them: --apply --reason …")
    elif found.ended_at is None:
        say(
            f"erasure {found.id} goes on; {total} so far"
            + (f"; it waits for {found.waits_for}" if found.waits_for else "")
        )
    else:
        say(
            f"{total} erased or redacted. To collect the person again: `beat erase lift {found.platform} SUBJECT --reason …`"
        )
        if found.waits_for:
            tell(found.waits_for)
            return FAILED
    return 0
