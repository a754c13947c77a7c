"""`beat webhooks`: where events go and what became of them. A secret is shown when it is made, and never again."""

import sys
from datetime import UTC, datetime
from typing import Annotated

from cyclopts import App, Parameter

from beat_actors.cli.ids import WebhookId
from beat_actors.cli.operators import ask
from beat_actors.cli.operators.webhooks import There
from beat_actors.cli.output import TABLE, Flag, Shape, printable, say, show_json, show_list, tell
from beat_actors.errors import BadInput
from beat_actors.moments import moment

app = App(name="webhooks", help="Webhooks: list, add, pause, resume, rotate, remove; their deliveries; resend.")


@app.command(name="list")
def list_(*, shape: Shape = TABLE) -> None:
    """List the endpoints, without their secrets."""
    show_list(
        ask(There, lambda beat: beat.webhooks()),
        ("id", "account", "url", "events", "state", "reason", "made by", "breaker", "last success", "last error"),
        lambda e: (
            e.id, e.account_id, e.url, " ".join(e.events), e.state, e.reason,
            f"key {e.api_key_id} {e.api_key_name}" if e.api_key_id else None, e.breaker, e.last_success_at, e.last_error,
        ),
        shape,
        prose=("last error",),
        empty="there is no webhook; add one: `beat webhooks add URL`",
    )  # fmt: skip


@app.command
def add(
    url: str,
    /,
    *,
    event: Annotated[list[str] | None, Parameter(negative="")] = None,
    account: str | None = None,
    json: Flag = False,
) -> None:
    """Add an endpoint. Its secret is printed once, alone on standard output.

    Parameters
    ----------
    event
        Types such as beat.scrape_request.complete, or beat.alert.*; may be given several times; all if not given.
    account
        Whose events; without one those of all accounts, and the alerts.
    """
    made = ask(There, lambda beat: beat.add(url, event or ["*"], account))
    if json:
        show_json({"id": made.id, "secret": made.secret})
        return
    tell(printable(f"webhook {made.id} to {made.url}. This is the only time that its secret is shown:"))
    sys.stdout.write(f"{made.secret}\n")


@app.command
def rotate(webhook: WebhookId, /) -> None:
    """Give an endpoint a new secret; for 24 h both sign."""
    new = ask(There, lambda beat: beat.rotate(webhook))
    tell(f"the old secret also signs until {moment(new.old_secret_until)}; the new one:")
    sys.stdout.write(f"{new.secret}\n")


@app.command
def pause(webhook: WebhookId, /) -> None:
    """Pause deliveries. Events wait for 24 h, then their deliveries fail."""
    ask(There, lambda beat: beat.pause(webhook, paused=True))
    say(f"webhook {webhook} is paused")


@app.command
def resume(webhook: WebhookId, /) -> None:
    """Resume deliveries: after a pause, after the endpoint answered 410, and for an endpoint whose key has ended. The latter belongs to the
    operator from then on."""

    async def work(beat: There) -> str | None:
        before = await beat.webhook(webhook)
        await beat.pause(webhook, paused=False)
        return str(before.api_key_id) if before.reason in ("key_revoked", "key_expired") else None

    key = ask(There, work)
    say(f"webhook {webhook} is active")
    if key is not None:
        tell(f"the holder of key {key} may know its signing secret; make a new one: `beat webhooks rotate {webhook}`")


@app.command
def remove(webhook: WebhookId, /, *, reason: str) -> None:
    """Remove an endpoint with its deliveries.

    Parameters
    ----------
    reason
        Kept in the audit log.
    """
    ask(There, lambda beat: beat.remove(webhook, reason=reason))
    say(f"webhook {webhook} is removed")


@app.command
def deliveries(
    webhook: WebhookId, /, *, state: str | None = None, limit: int = 50, cursor: str | None = None, shape: Shape = TABLE
) -> None:
    """List an endpoint's deliveries, newest first.

    Parameters
    ----------
    state
        pending, delivered or failed.
    cursor
        Where the page before ended.
    """
    page = ask(There, lambda beat: beat.deliveries(webhook, state, limit, cursor))
    show_list(
        page.deliveries,
        ("id", "type", "occurred", "state", "attempts", "next", "status", "error"),
        lambda d: (d.id, d.type, d.occurred_at, d.state, d.attempt, d.next_at, d.status, d.error),
        shape,
        prose=("error",),
        spare=("next", "attempts"),
        empty=f"webhook {webhook} has no {f'{state} ' if state else ''}deliveries",
    )
    if page.next_cursor:
        tell(f"there are more: --cursor {page.next_cursor}")


@app.command
def resend(webhook: WebhookId, delivery: int | None = None, /, *, since: datetime | None = None) -> None:
    """Send one delivery again, or all that failed since a time.

    Parameters
    ----------
    since
        Of events from this time (UTC) on, 10,000 at most.
    """
    if (delivery is None) == (since is None):
        raise BadInput("name one delivery, or --since TIME for all that failed since")

    async def work(beat: There) -> int:
        if delivery is not None:
            await beat.resend(webhook, delivery)
            return 1
        assert since is not None
        return await beat.resend_failed(webhook, since if since.tzinfo else since.replace(tzinfo=UTC))

    count = ask(There, work)
    say(f"Queued {count:,} {'delivery' if count == 1 else 'deliveries'} to be sent again")
