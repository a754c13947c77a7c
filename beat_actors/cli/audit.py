"""`beat audit`: who changed what."""

from beat_actors.audit import AuditEntry
from beat_actors.cli.operators import ask, watching
from beat_actors.cli.output import NOT_FOUND, TABLE, Shape, in_words, show_list, tell
from beat_actors.errors import BadInput
from beat_actors.text import check_text

MOST = 10_000


def audit(target: str | None = None, /, *, actor: str | None = None, limit: int = 50, shape: Shape = TABLE) -> int:
    """List who changed what, newest first: keys, credentials, the vault. Submitted requests carry their key themselves.

    Exits with 4 where nothing is on record of the target or the actor that is named.

    Parameters
    ----------
    target
        Only changes of this, such as key/7 or credential/3.
    actor
        Only changes by this one, such as key:1 or cli:ana.
    """
    for name, value in (("target", target), ("actor", actor)):
        check_text(value or "", name, longest=300)
    if not 1 <= limit <= MOST:
        raise BadInput(f"--limit is 1 to {MOST}", field="limit")
    found = ask(watching.There, lambda beat: beat.audited(target, actor, limit))
    chosen = " by ".join(filter(None, (f"of {target}" if target else "", actor)))
    if not found and chosen:
        show_list([], (), lambda _: (), shape)
        tell(f"the audit log has no change {chosen}")
        return NOT_FOUND
    show_list(
        found,
        ("at", "who", "action", "target", "detail"),
        lambda one: (one.at, one.actor, one.action, one.target, _said(one)),
        shape,
        prose=("detail",),
        empty="the audit log is empty",
    )
    return 0


def _said(entry: AuditEntry) -> str:
    """The detail of a change; of a list its items, of a switch yes or no."""
    known = ((name, value) for name, value in entry.detail.items() if value not in (None, "", []))
    return ", ".join(f"{name} {in_words(value)}" for name, value in known)
