"""`beat audit`: who changed what."""

from typing import Annotated

from cyclopts import Parameter

from beat_actors.audit import AuditEntry, entries
from beat_actors.cli.output import show_json, show_rows
from beat_actors.cli.session import Session, run
from beat_actors.errors import BadInput
from beat_actors.text import check_text

MOST = 10_000


def audit(
    target: str | None = None,
    /,
    *,
    actor: str | None = None,
    limit: int = 50,
    json: Annotated[bool, Parameter(negative="")] = False,
) -> None:
    """Say who changed what, newest first: keys, credentials, the vault. What was asked for is in the requests themselves, with the key.

    Parameters
    ----------
    target
        Only of this, such as key/7 or credential/3.
    actor
        Only by this one, such as key:1 or cli:ana.
    """
    for name, value in (("target", target), ("actor", actor)):
        check_text(value or "", name, longest=300)
    if not 1 <= limit <= MOST:
        raise BadInput(f"--limit is 1 to {MOST}", field="limit")

    async def work(session: Session) -> list[AuditEntry]:
        async with session.engine.database.transaction() as transaction:
            return await entries(transaction, target=target, actor=actor, limit=limit)

    found = run(work)
    if json:
        show_json(found)
        return
    rows = [(f"{one.at:%Y-%m-%d %H:%M:%S}", one.actor, one.action, one.target, _said(one)) for one in found]
    show_rows(("at (UTC)", "who", "did", "to", "detail"), rows, empty="nothing was changed yet")


def _said(entry: AuditEntry) -> str:
    return ", ".join(f"{name} {value}" for name, value in entry.detail.items() if value not in (None, "", []))
