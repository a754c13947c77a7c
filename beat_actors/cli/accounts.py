"""`beat accounts`: which owners an account may use."""

from typing import Annotated

from cyclopts import App, Parameter

from beat_actors.access import grants
from beat_actors.access.grants import GrantView, Use
from beat_actors.cli.output import say, show_json, show_rows
from beat_actors.cli.session import Session, run, who

app = App(name="accounts", help="Accounts and the owners that each may use: grants, grant, revoke.")


@app.command(name="grants")
def grants_(
    account: str | None = None,
    /,
    *,
    platform: str | None = None,
    owner: str | None = None,
    limit: int = grants.MAX_PAGE,
    json: Annotated[bool, Parameter(negative="")] = False,
) -> None:
    """List which account may use which owner.

    Parameters
    ----------
    account
        Of this account alone.
    platform
        Of this platform alone.
    owner
        Which accounts may use this owner, such as a store's domain.
    """

    async def work(session: Session) -> list[GrantView]:
        async with session.engine.database.statements() as alone:
            return await grants.overview(alone, account_id=account, platform=platform, owner=owner, limit=limit)

    found = run(work)
    if json:
        show_json(found)
        return
    lines = [
        (one.account_id, one.platform, one.owner, f"{one.granted_at:%Y-%m-%d %H:%M:%S}", one.granted_by)
        for one in found
    ]
    show_rows(
        ("account", "platform", "owner", "granted (UTC)", "by"),
        lines,
        empty="no account may use an owner; `beat accounts grant ACCOUNT PLATFORM OWNER --reason …` lets one",
    )


@app.command
def grant(account: str, platform: str, owner: str, /, *, reason: str) -> None:
    """Let an account use an owner: ask for what needs the owner's credential, and read what that brings.

    Parameters
    ----------
    owner
        Whom credentials belong to: a store's domain, or the Graph API's id of an account. `beat credentials show` has it.
    reason
        Kept in the audit log.
    """
    use = Use(account, platform, owner)

    async def work(session: Session) -> bool:
        async with session.engine.database.transaction() as transaction:
            return await grants.grant(transaction, use, reason=reason, actor=who())

    new = run(work)
    say(
        f"account {account} may use {platform} {owner}"
        if new
        else f"account {account} could use {platform} {owner} already"
    )


@app.command
def revoke(account: str, platform: str, owner: str, /, *, reason: str) -> None:
    """Take an owner from an account. At once it reads nothing of the owner any more, and what waits for it fails.

    Parameters
    ----------
    reason
        Kept in the audit log.
    """
    use = Use(account, platform, owner)

    async def work(session: Session) -> None:
        async with session.engine.database.transaction() as transaction:
            await grants.revoke(transaction, use, reason=reason, actor=who())

    run(work)
    say(f"account {account} may not use {platform} {owner} any more")
