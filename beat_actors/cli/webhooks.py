"""`beat webhooks`: where events go and what became of them. A secret is shown when it is made, and never again."""

import sys
from datetime import UTC, datetime
from typing import Annotated

from cyclopts import App, Parameter

from beat_actors.cli.output import printable, say, show_json, show_rows, tell
from beat_actors.cli.session import Session, run, who
from beat_actors.errors import BadInput
from beat_actors.webhooks import endpoints
from beat_actors.webhooks.endpoints import DeliveryList, EndpointView, Reader

Json = Annotated[bool, Parameter(negative="")]

app = App(name="webhooks", help="Webhooks: list, add, pause, resume, rotate, remove; their deliveries; resend.")


@app.command(name="list")
def list_(*, json: Json = False) -> None:
    """List the endpoints, without their secrets."""

    async def work(session: Session) -> list[EndpointView]:
        async with session.engine.database.transaction() as transaction:
            return await endpoints.overview(transaction, _me())

    found = run(work)
    if json:
        show_json(found)
        return
    show_rows(
        ("id", "account", "url", "events", "state", "why", "made by", "breaker", "last success", "last error"),
        [
            (
                str(e.id),
                e.account_id,
                e.url,
                " ".join(e.events),
                e.state,
                e.reason,
                f"key {e.api_key_id} {e.api_key_name}" if e.api_key_id else None,
                e.breaker,
                _moment(e.last_success_at),
                e.last_error,
            )
            for e in found
        ],
        empty="there is no webhook; `beat webhooks add URL` makes one",
    )


@app.command
def add(url: str, /, *, event: list[str] | None = None, account: str | None = None, json: Json = False) -> None:
    """Add an endpoint. Its secret is printed once, alone on standard output.

    Parameters
    ----------
    event
        Types such as beat.scrape_request.complete, or beat.alert.*; may be given several times; all if not given.
    account
        Whose events; without one those of all accounts, and the alerts.
    """

    async def work(session: Session) -> tuple[EndpointView, str]:
        engine = session.engine
        async with engine.database.transaction() as transaction:
            return await endpoints.create(
                transaction,
                engine.vault,
                url=url,
                events=event or ["*"],
                account_id=account,
                actor=who(),
                allow_private=engine.settings.webhook_allow_private,
            )

    made, secret = run(work)
    if json:
        show_json({"id": made.id, "secret": secret})
        return
    tell(printable(f"webhook {made.id} to {made.url}. This is the only time that its secret is shown:"))
    sys.stdout.write(f"{secret}\n")


@app.command
def rotate(webhook: int, /) -> None:
    """Give an endpoint a new secret; for 24 h both sign."""

    async def work(session: Session) -> tuple[str, datetime]:
        async with session.engine.database.transaction() as transaction:
            return await endpoints.rotate(transaction, session.engine.vault, webhook, _me())

    secret, until = run(work)
    tell(f"the secret before signs until {_moment(until)} UTC too; the new one:")
    sys.stdout.write(f"{secret}\n")


@app.command
def pause(webhook: int, /) -> None:
    """Send nothing for now. What is told meanwhile waits for 24 h, then fails."""
    _change(webhook, paused=True)
    say(f"webhook {webhook} is paused")


@app.command
def resume(webhook: int, /) -> None:
    """Send again: after a pause, to what said that it is gone, and to what a key made that has ended, which is the operator's from then on."""
    before = run(lambda session: _found(session, webhook))
    _change(webhook, paused=False)
    say(f"webhook {webhook} is active")
    if before.reason in ("key_revoked", "key_expired"):
        tell(
            f"the holder of key {before.api_key_id} may know its signing secret; `beat webhooks rotate {webhook}` gives a new one"
        )


@app.command
def remove(webhook: int, /) -> None:
    """Drop an endpoint with its deliveries."""

    async def work(session: Session) -> None:
        async with session.engine.database.transaction() as transaction:
            await endpoints.delete(transaction, webhook, _me())

    run(work)
    say(f"webhook {webhook} is removed")


@app.command
def deliveries(
    webhook: int, /, *, state: str | None = None, limit: int = 50, cursor: str | None = None, json: Json = False
) -> None:
    """List an endpoint's deliveries, newest first.

    Parameters
    ----------
    state
        pending, delivered or failed.
    cursor
        Where the page before ended.
    """

    async def work(session: Session) -> DeliveryList:
        async with session.engine.database.transaction() as transaction:
            return await endpoints.deliveries(transaction, webhook, _me(), state=state, limit=limit, cursor=cursor)

    page = run(work)
    if json:
        show_json(page)
        return
    show_rows(
        ("id", "type", "occurred (UTC)", "state", "attempts", "next", "status", "error"),
        [
            (str(d.id), d.type, _moment(d.occurred_at), d.state, d.attempt, _moment(d.next_at), d.status, d.error)
            for d in page.deliveries
        ],
        empty="there is none",
    )
    if page.next_cursor:
        tell(f"there are more: --cursor {page.next_cursor}")


@app.command
def resend(webhook: int, delivery: int | None = None, /, *, since: datetime | None = None) -> None:
    """Send one delivery again, or all that failed since a time.

    Parameters
    ----------
    since
        Of events from this time (UTC) on, 10,000 at most.
    """
    if (delivery is None) == (since is None):
        raise BadInput("name one delivery, or --since TIME for all that failed since")

    async def work(session: Session) -> int:
        async with session.engine.database.transaction() as transaction:
            if delivery is not None:
                await endpoints.resend(transaction, webhook, delivery, _me())
                return 1
            assert since is not None
            return await endpoints.resend_failed(
                transaction, webhook, since if since.tzinfo else since.replace(tzinfo=UTC), _me()
            )

    say(f"{run(work)} on the way again")


def _change(webhook: int, *, paused: bool) -> None:
    async def work(session: Session) -> None:
        async with session.engine.database.transaction() as transaction:
            allow = session.engine.settings.webhook_allow_private
            await endpoints.change(transaction, webhook, _me(), allow_private=allow, paused=paused)

    run(work)


async def _found(session: Session, webhook: int) -> EndpointView:
    async with session.engine.database.transaction() as transaction:
        return await endpoints.find(transaction, webhook, _me())


def _me() -> Reader:
    return Reader(who(), all=True)


def _moment(at: datetime | None) -> str | None:
    return None if at is None else f"{at:%Y-%m-%d %H:%M:%S}"
