"""`beat check`: entities that are not what their logs tell."""

from beat_actors.cli.names import AnyPlatform
from beat_actors.cli.output import FAILED, Flag, say, show_json, show_rows
from beat_actors.cli.restoring import brief
from beat_actors.cli.session import Session, run, who
from beat_actors.errors import BadInput
from beat_actors.restoring import checking, worker
from beat_actors.restoring.checking import Checked
from beat_actors.restoring.selection import Target, targets


def check(
    *,
    platform: AnyPlatform = None,
    kind: str | None = None,
    table: str | None = None,
    fix: Flag = False,
    reason: str = "",
    json: Flag = False,
) -> int:
    """Compare entities with their logs, and show the fields that differ. Exits with 1 if any does.

    Beat does the same by itself once a day and opens an alert. It reads the database itself, so it does not work over the API.

    Parameters
    ----------
    platform
        Only entities of this platform.
    kind
        Only those of this kind, such as profiles.
    table
        Only those of this table, as the alert names it.
    fix
        Set the entities that differ to what their logs tell, at most 10,000 of them. It prints a token that undoes it.
    reason
        Why they are set right; the audit log keeps it.
    json
        As a JSON object.
    """

    def wanted(target: Target) -> bool:
        entity = target.entity
        return platform in (None, target.platform) and kind in (None, entity.kind) and table in (None, entity.table)

    if not any(map(wanted, targets())):
        raise BadInput("no entities with a log of their own are of this platform, kind and table")
    if fix and not reason:
        raise BadInput("say why the entities are set right: --reason", field="reason")

    async def work(session: Session) -> Checked:
        found = await checking.check(session.database, wanted, fix=fix, actor=who(), reason=reason)
        if found.restore is not None:
            await worker.work(session.database, found.restore)
        return found

    found = run(work, sends=False)
    if json:
        show_json(found)
    else:
        _show(found)
    return FAILED if found.drifted and found.restore is None else 0


def _show(found: Checked) -> None:
    say(
        f"{found.entities:,} entities were compared with their logs; {found.drifted:,} differ, in {found.fields:,} fields"
    )
    if found.unlogged:
        say(f"{found.unlogged:,} values are older than the logs and were not compared")
    if found.examples:
        rows = [(f"{e.platform} {e.kind}", e.key, e.field, brief(e.now), brief(e.logged)) for e in found.examples]
        show_rows(("kind", "example", "field", "now", "logged"), rows, prose=("now", "logged"), header=True)
    if found.restore is not None:
        say(f"restore {found.restore} has set them right; undo token: {found.token}")
