"""The deliverer: makes deliveries of the outbox' events and sends them, many at a time, as long as its process lives.

Any number may run. Which of them makes a delivery is settled by a claim in the database; one that dies loses its leases and nothing else.
"""

import asyncio

import msgspec

from beat_actors.credentials.vault import Vault
from beat_actors.database import Database
from beat_actors.errors import StorageUnavailable, VaultError
from beat_actors.logger import get_logger
from beat_actors.pausing import pause
from beat_actors.webhooks import deliveries
from beat_actors.webhooks.backoff import delay
from beat_actors.webhooks.client import Reply, WebhookClient
from beat_actors.webhooks.deliveries import Claimed, Outcome
from beat_actors.webhooks.endpoints import opened
from beat_actors.webhooks.signing import sign

log = get_logger(__name__)

PLACES = 256
"""Calls that one process has out at a time."""
IDLE = 0.5
ASLEEP = 2.0
"""Seconds between two looks while no endpoint is active."""


class Deliverer:
    """Make it inside a running event loop; `close` it there."""

    def __init__(self, database: Database, vault: Vault) -> None:
        self._database = database
        self._vault = vault
        self._outcomes: list[Outcome] = []
        self._calls: set[asyncio.Task[None]] = set()
        self._settled = asyncio.Event()
        self._idle = IDLE
        self._client = WebhookClient(allow_private=database.settings.webhook_allow_private)

    async def run(self, stopped: asyncio.Event) -> None:
        """Deliver until `stopped`; then calls that are out are waited for and settled."""
        while not stopped.is_set():
            try:
                busy = await self.step()
            except StorageUnavailable as error:
                busy = False
                log.warning("webhooks_skipped", error=str(error))
            except Exception:
                busy = False
                log.exception("webhooks_failed")
            if not busy:
                self._settled.clear()
                await pause(stopped.wait(), self._settled.wait(), within=self._idle)
        try:
            await self.drain()
        except StorageUnavailable as error:  # they are made again when their leases end
            log.warning("webhooks_not_settled", error=str(error))

    async def step(self) -> bool:
        """Settle what came back, make deliveries of what is new, begin what is due; whether there is likely more at once."""
        await self._settle()
        found = await deliveries.look(self._database)
        self._idle = IDLE if found.active else ASLEEP
        made = await deliveries.fan_out(self._database) if found.news or found.pending else 0
        if found.late:
            await deliveries.fail_late(self._database)
        room = PLACES - len(self._calls)
        claimed = await deliveries.claim(self._database, room) if room and (made or found.due) else []
        for row in claimed:
            call = asyncio.create_task(self._deliver(row))
            self._calls.add(call)
            call.add_done_callback(self._calls.discard)
        return made == deliveries.EVENTS

    async def drain(self) -> None:
        """Wait for the calls that are out, and settle them."""
        if self._calls:
            await asyncio.wait(self._calls)
        await self._settle()

    async def close(self) -> None:
        for call in self._calls:
            call.cancel()
        await self._client.close()

    async def _settle(self) -> None:
        outcomes, self._outcomes = self._outcomes, []
        if not outcomes:
            return
        try:
            await deliveries.settle(self._database, outcomes)
        except BaseException:
            self._outcomes = outcomes + self._outcomes
            raise

    async def _deliver(self, row: Claimed) -> None:
        outcome = await self._call(row)
        self._outcomes.append(outcome)
        self._settled.set()
        log.info("webhook", delivery=row.id, endpoint=row.endpoint_id, attempt=row.attempt, status=outcome.status)

    async def _call(self, row: Claimed) -> Outcome:
        reply = await self._attempt(row)
        return Outcome(
            row.id,
            row.attempt,
            row.endpoint_id,
            reply.accepted,
            0.0 if reply.accepted else max(delay(row.tries), reply.pause),
            gone=reply.status == 410,
            status=reply.status,
            error=None if reply.accepted else reply.said,
            pause=reply.pause,
        )

    async def _attempt(self, row: Claimed) -> Reply:
        try:
            secrets = opened(self._vault, row.endpoint_id, row)
            body = msgspec.json.encode({"type": row.type, "timestamp": row.occurred_at, "data": row.data})
            headers = {
                "content-type": "application/json",
                "webhook-id": str(row.event_id),
                "webhook-timestamp": str(row.at),
                "webhook-signature": sign(secrets, str(row.event_id), row.at, body),
            }
            if row.traceparent is not None:
                headers["traceparent"] = row.traceparent
            return await self._client.post(row.url, body, headers)
        except VaultError:
            return Reply(None, "the signing secret does not open with BEAT_VAULT_KEYS; add the key that sealed it back")
        except Exception as error:  # whatever one endpoint brings about is that delivery's failure
            log.exception("webhook_call_failed", delivery=row.id)
            return Reply(None, type(error).__name__)
