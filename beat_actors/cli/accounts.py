"""`beat accounts`: which owners an account may use."""

from cyclopts import App

from beat_actors.access import grants
from beat_actors.access.grants import Use
from beat_actors.cli.names import AnyPlatform, PlatformName
from beat_actors.cli.operators import ask
from beat_actors.cli.operators.access import There, Wanted
from beat_actors.cli.output import TABLE, Shape, say, show_list

app = App(name="accounts", help="Accounts and the owners that each may use: list, grant, revoke.")


@app.command(name="grants")
def grants_(
    account: str | None = None,
    /,
    *,
    platform: AnyPlatform = None,
    owner: str | None = None,
    limit: int = grants.MAX_PAGE,
    shape: Shape = TABLE,
) -> None:
    """List which account may use which owner.

    Parameters
    ----------
    account
        Only grants of this account.
    platform
        Only grants of this platform.
    owner
        Only grants of this owner, such as a store's domain.
    """
    wanted = Wanted(account, platform, owner, limit)
    show_list(
        ask(There, lambda beat: beat.grants(wanted)),
        ("account", "platform", "owner", "granted", "by"),
        lambda one: (one.account_id, one.platform, one.owner, one.granted_at, one.granted_by),
        shape,
        empty="no account may use an owner; grant one: `beat accounts grant ACCOUNT PLATFORM OWNER --reason …`",
    )


@app.command
def grant(account: str, platform: PlatformName, owner: str, /, *, reason: str) -> None:
    """Let an account use an owner: submit requests that need the owner's credential, and read their results.

    Parameters
    ----------
    owner
        Whom credentials belong to: a store's domain, or the Graph API's id of an account. `beat credentials show ID` has it.
    reason
        Kept in the audit log.
    """
    use = Use(account, platform, owner)
    new = ask(There, lambda beat: beat.grant(use, reason=reason))
    say(f"account {account} may {'' if new else 'already '}use {platform} {owner}")


@app.command
def revoke(account: str, platform: PlatformName, owner: str, /, *, reason: str) -> None:
    """Take an owner from an account. At once the account reads nothing of the owner any more, and requests that wait for it fail.

    Parameters
    ----------
    reason
        Kept in the audit log.
    """
    use = Use(account, platform, owner)
    ask(There, lambda beat: beat.take(use, reason=reason))
    say(f"account {account} may no longer use {platform} {owner}")
