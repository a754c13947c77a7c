"""`beat blast` and `beat restore`: whom wrong observations have reached, and how entities are set right from their logs."""

import asyncio
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec
from cyclopts import App, Parameter

from beat_actors.cli.names import AnyPlatform, AnySource
from beat_actors.cli.operators import ask
from beat_actors.cli.operators.restores import There
from beat_actors.cli.output import TABLE, Flag, Shape, say, show_json, show_list, show_rows, tell
from beat_actors.moments import moment
from beat_actors.restoring.blast import Blast, KindBlast
from beat_actors.restoring.jobs import RUNNING, NewRestore, RestoreView, said
from beat_actors.restoring.selection import Selection

LOOKED = 0.5
"""Seconds between two looks at a restore."""
MOST_WIDE = 60
"""Characters of a value in an example."""


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Which:
    """Which observations are wrong.

    Parameters
    ----------
    since
        The time (UTC) from which on answers began that were read wrongly. Needed unless --fetch is given.
    until
        The time before which they began; now if not given.
    source
        Only those of this provider.
    parser
        Only those that this version of a parser has read.
    kind
        Only those of this kind, such as profiles.
    handle
        Only those of the entity with this key or name; needs --platform.
    fetch
        Only those of this fetch.
    deploy
        Only those that this deploy has read: BEAT_DEPLOY of the workers, such as a commit, or its first 7 or more characters; or a version of Beat.
    """

    since: datetime | None = None
    until: datetime | None = None
    platform: AnyPlatform = None
    source: AnySource = None
    parser: int | None = None
    kind: str | None = None
    handle: str | None = None
    fetch: int | None = None
    deploy: str | None = None

    def fields(self) -> dict[str, Any]:
        given = {**asdict(self), "since": _utc(self.since), "until": _utc(self.until)}
        given["parser_version"] = given.pop("parser")
        return {name: value for name, value in given.items() if value is not None}


ALL = Which()
app = App(name="restore", help="Set entities right that wrong observations have changed, from their logs; undo that.")


def blast(*, which: Which = ALL, json: Flag = False) -> None:
    """Show which entities, fields and consumers wrong observations have reached. It changes nothing.

    Parameters
    ----------
    json
        As a JSON object.
    """
    found = ask(There, lambda beat: beat.blast(Selection(**which.fields())))
    if json:
        show_json(found)
        return
    _show_blast(found)


@app.default
def restore(
    *, which: Which = ALL, apply: Flag = False, rescrape: Flag = False, reason: str, json: Flag = False
) -> None:
    """Say what entities would be without these observations; with --apply, set them right. No provider is called.

    Each entity gets, field by field, the newest value that its log has beside the wrong observations. What is applied prints a token that undoes it.
    The work goes on where it was when this command, or any process, is killed.

    Parameters
    ----------
    apply
        Set the entities right at once. If not given, the restore is only planned; `beat restore apply ID --reason …` applies it.
    rescrape
        Afterwards, request each entity that was set right again, with the lowest priority.
    reason
        Why; the audit log keeps it.
    json
        As a JSON object.
    """
    new = NewRestore(**which.fields(), apply=apply, rescrape=rescrape, reason=reason)

    async def work(beat: There) -> RestoreView:
        return await _followed(beat, await beat.create(new))

    _show(ask(There, work), json=json)


@app.command(name="apply")
def apply_planned(restore: int, /, *, reason: str, json: Flag = False) -> None:
    """Apply a restore that was planned.

    Parameters
    ----------
    restore
        Its id.
    """

    async def work(beat: There) -> RestoreView:
        return await _followed(beat, await beat.apply(restore, reason=reason))

    _show(ask(There, work), json=json)


@app.command
def resume(restore: int, /, *, json: Flag = False) -> None:
    """Go on with a restore whose process was killed, and wait for its end. The scheduler does the same by itself within 30 s.

    Parameters
    ----------
    restore
        Its id.
    """

    async def work(beat: There) -> RestoreView:
        return await _followed(beat, await beat.get(restore))

    _show(ask(There, work), json=json)


@app.command
def undo(token: str, /, *, reason: str, json: Flag = False) -> None:
    """Put back what a restore changed. A field that was observed since stays as it is, and is named.

    Parameters
    ----------
    token
        The undo token that the restore has printed, such as 17-3f9a2c51.
    """

    async def work(beat: There) -> RestoreView:
        return await _followed(beat, await beat.undo(token, reason=reason))

    _show(ask(There, work), json=json)


@app.command
def cancel(restore: int, /, *, reason: str) -> None:
    """Stop a restore. What it has set right stays, and can be undone.

    Parameters
    ----------
    restore
        Its id.
    """
    found = ask(There, lambda beat: beat.cancel(restore, reason=reason))
    say(f"restore {found.id} is cancelled; {found.done:,} of {found.entities:,} entities were looked at")


@app.command
def show(restore: int, /, *, json: Flag = False) -> None:
    """Show one restore.

    Parameters
    ----------
    restore
        Its id.
    """
    _show(ask(There, lambda beat: beat.get(restore)), json=json)


@app.command(name="list")
def list_restores(*, limit: int = 50, shape: Shape = TABLE) -> None:
    """List restores, the newest first.

    Parameters
    ----------
    limit
        How many, at most 1,000.
    """
    show_list(
        ask(There, lambda beat: beat.listing(limit)),
        ("id", "state", "entities", "changed", "created", "token", "by", "selection"),
        lambda r: (r.id, r.state, r.entities, r.changed, r.created_at, r.token or "", r.actor, said(r.selection)),
        shape,
        prose=("selection",),
        empty="there is no restore",
    )


async def _followed(beat: There, found: RestoreView) -> RestoreView:
    """The restore once it waits for somebody or has ended."""
    told = 0
    while found.state in RUNNING:
        await beat.work(found.id)
        found = await beat.get(found.id)
        done = found.undone if found.state == "UNDOING" else found.done
        if found.state in RUNNING:
            if done >= told + 10_000:
                tell(f"restore {found.id}: {found.state}, {done:,} of {found.entities:,} entities")
                told = done
            await asyncio.sleep(LOOKED)
    return found


def _show(found: RestoreView, *, json: bool) -> None:
    if json:
        show_json(found)
        return
    say(f"restore {found.id}: {found.state}; {said(found.selection)}")
    if found.state == "UNDONE":
        say(f"{found.undone:,} entities are as they were before")
        if found.kept:
            say(f"{found.kept:,} of them were observed since; these fields stay as they were observed:")
            show_rows(
                ("example", "fields"), [(e.key, ", ".join(e.kept or ())) for e in found.examples if e.kept], header=True
            )
        return
    verb = "would change" if found.state in ("PLANNING", "PLANNED") else "were set right"
    say(f"{found.changed:,} of {found.entities:,} entities {verb}")
    if found.removed:
        say(f"{found.removed:,} of them have no other observation: they are removed until they are observed again")
    if found.fields:
        rows = [(f"{f.platform} {f.kind}", f.field, f.entities) for f in found.fields]
        show_rows(("kind", "field", "entities"), rows, header=True)
    examples = [
        (e.key, name, brief((e.before or {}).get(name)), brief((e.after or {}).get(name)))
        for e in found.examples
        for name in e.fields
    ]
    if examples:
        show_rows(("example", "field", "before", "after"), examples[:12], prose=("before", "after"), header=True)
    if found.state == "PLANNED":
        say(f"nothing is changed yet; apply it: `beat restore apply {found.id} --reason …`")
    elif found.token is not None:
        say(f"undo token: {found.token}")


def _show_blast(found: Blast) -> None:
    say(f"{said(found.selection)}: {found.observations:,} observations of {found.entities:,} entities")
    if not found.kinds:
        return
    show_rows(
        ("kind", "entities", "observations", "accounts", "first", "last", "wrong"),
        [
            (
                f"{k.platform} {k.kind}",
                k.entities,
                k.observations,
                k.accounts,
                _at(k.first_at),
                _at(k.last_at),
                _wrong(k),
            )
            for k in found.kinds
        ],
        header=True,
    )
    fields = [(f"{k.platform} {k.kind}", f.field, f.entities) for k in found.kinds for f in k.fields]
    if fields:
        show_rows(("kind", "wrong field", "entities"), fields, header=True)
    examples = [(e.key, e.field, brief(e.now), brief(e.without)) for k in found.kinds for e in k.examples]
    if examples:
        show_rows(("example", "field", "now", "without"), examples, prose=("now", "without"), header=True)
    parts = [(f"{p.platform} {p.kind}", p.source, p.parser_version, p.observations) for p in found.parts]
    if parts:
        show_rows(("kind", "source", "parser", "observations"), parts, header=True)
    say(f"{found.events:,} events about them were published")
    consumers = [(c.what, c.name, c.account_id or "", c.events, c.pending) for c in found.consumers]
    if consumers:
        show_rows(("consumer", "name", "account", "events", "pending"), consumers, header=True)
    say("who has read them through the API is not known: reads are not logged per entity")
    unlogged = ", ".join(f"{k.platform} {k.kind}" for k in found.kinds if not k.restorable)
    if unlogged:
        say(f"cannot be restored, because they have no log of their own: {unlogged}")


def _wrong(kind: KindBlast) -> str:
    if not kind.restorable:
        return "not known"
    of = "" if kind.compared >= kind.entities else f" of the first {kind.compared:,}"
    return f"{kind.wrong:,}{of}"


def _at(at: datetime | None) -> str:
    return "" if at is None else moment(at)


def brief(value: object) -> str:
    text = "unknown" if value is None else value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return text if len(text) <= MOST_WIDE else f"{text[:MOST_WIDE]}…"


def _utc(at: datetime | None) -> datetime | None:
    return at if at is None or at.tzinfo else at.replace(tzinfo=UTC)
