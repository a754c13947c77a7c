"""What an operator should know of webhooks: endpoints that take nothing, and events that nobody delivers."""

from beat_actors.alerts import Alert
from beat_actors.database import Database
from beat_actors.database.vitals import SEEN_WITHIN
from beat_actors.webhooks.deliveries import DUE, PROCESS

# What a revoked or expired key made is told for a day, as a webhook that said that it is gone is.
IN_TROUBLE = """
SELECT e.id, e.state, e.failures, split_part(split_part(e.url, '://', 2), '/', 1) AS host, k.id AS key_id, k.revoked_at IS NOT NULL AS revoked
FROM webhook_endpoint e LEFT JOIN api_key k ON k.id = e.api_key_id AND least(k.revoked_at, k.expires_at) <= clock_timestamp()
WHERE CASE e.state
    WHEN 'disabled' THEN e.last_failure_at > clock_timestamp() - interval '1 day'
    WHEN 'active' THEN CASE WHEN k.id IS NULL THEN e.trips > 0
        ELSE least(k.revoked_at, k.expires_at) > clock_timestamp() - interval '1 day' END
    END
ORDER BY e.id LIMIT 200
"""
# Since when something waits that a deliverer would take at once; no row where one reports, or nothing has waited for longer than a
# process may take to report.
NOT_DELIVERED = f"""
SELECT extract(epoch FROM clock_timestamp() - since)::integer AS seconds FROM (SELECT least(
    (SELECT min((SELECT d.next_at FROM webhook_delivery d WHERE d.endpoint_id = e.id AND d.state = 'pending' ORDER BY d.next_at, d.id LIMIT 1))
     FROM webhook_endpoint e WHERE {DUE}),
    (SELECT o.occurred_at FROM webhook_position p CROSS JOIN LATERAL (
        SELECT occurred_at FROM outbox_event WHERE (xid, id) > (p.xid, p.id) AND xid < beat_xid_in_era(pg_snapshot_xmin(pg_current_snapshot()))
        ORDER BY xid, id LIMIT 1) o
     WHERE EXISTS (SELECT FROM webhook_endpoint WHERE state = 'active'))) AS since) w
WHERE since < clock_timestamp() - make_interval(secs => %(within)s)
  AND NOT EXISTS (SELECT FROM process WHERE name = %(process)s AND seen_at > clock_timestamp() - make_interval(secs => %(within)s))
"""  # noqa: S608 - this module's own text


async def in_trouble(database: Database) -> list[Alert]:
    """Endpoints that take nothing, up to 200 of them, and events that are due while no deliverer is alive."""
    async with database.statements() as alone:
        rows = await alone.rows(IN_TROUBLE)
        waiting = await alone.row(NOT_DELIVERED, {"within": SEEN_WITHIN, "process": PROCESS})
    found = [
        _paused(row.id, row.host, "was revoked" if row.revoked else "expired")
        if row.key_id is not None and row.state == "active"
        else _failing(row.id, row.host, row.failures, gone=row.state == "disabled")
        for row in rows
    ]
    return [*found, _not_delivered(waiting.seconds)] if waiting else found


def _not_delivered(seconds: int) -> Alert:
    return Alert(
        key="webhook:deliverer",
        severity="critical",
        cause=f"webhooks have been due for {seconds} s, and no deliverer is alive",
        impact="no consumer is told of anything; events wait, and deliveries fail after 24 h",
        automatic="all of it is delivered as soon as a deliverer runs",
        action="start one: python -m scheduler.deliverer; see that it reaches PostgreSQL: beat doctor",
    )


def _paused(number: int, host: str, how: str) -> Alert:
    return Alert(
        key=f"webhook:{number}",
        severity="warning",
        cause=f"the webhook to {host} is paused: the API key that made it {how}",
        impact="its consumer is told of nothing; the events themselves and other webhooks go on",
        automatic="what is due to it waits for 24 h, then fails",
        action=f"see who made it: beat webhooks list; then beat webhooks resume {number} and beat webhooks rotate {number}, "
        f"or beat webhooks remove {number}",
    )


def _failing(number: int, host: str, failures: int, *, gone: bool) -> Alert:
    if gone:
        cause, automatic = f"the webhook to {host} said that it is gone (410)", "nothing more is sent to it"
        then = f"resume {number}"
    else:
        cause = f"the webhook to {host} failed {failures} times in a row"
        automatic = "one delivery after each rest (30 s to 1 h) finds out whether it is back; what waits goes then, or fails after 24 h"
        then = f"resend {number} --since TIME for what had failed"
    return Alert(
        key=f"webhook:{number}",
        severity="warning",
        cause=cause,
        impact="its consumer is told of nothing; the events themselves and other webhooks go on",
        automatic=automatic,
        action=f"beat webhooks deliveries {number}; when its consumer is back: beat webhooks {then}",
    )
