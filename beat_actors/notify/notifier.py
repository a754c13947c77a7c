"""The notifier: makes messages of alerts and sends them, as long as its process lives.

Any number may run. Which of them sends a message is settled by a claim in the database; one that dies loses its leases and nothing else. A sink
that does not answer holds up its own messages alone.
"""

import asyncio
import random
import ssl
from collections.abc import Mapping

from beat_actors.credentials.vault import Vault
from beat_actors.database import Database
from beat_actors.errors import StorageUnavailable, VaultError
from beat_actors.logger import get_logger
from beat_actors.notify import queue
from beat_actors.notify.kinds import EMAIL
from beat_actors.notify.message import Message, has_news
from beat_actors.notify.queue import Claimed, Outcome
from beat_actors.notify.seeding import seed
from beat_actors.notify.senders import http
from beat_actors.notify.senders.email import ALLOW, Mailer, mail
from beat_actors.notify.sinks import SEALED_FOR
from beat_actors.pausing import pause
from beat_actors.redaction import Redactor
from beat_actors.settings import Settings
from beat_actors.webhooks.client import Reply, WebhookClient

log = get_logger(__name__)

EVERY, ASLEEP = 5.0, 15.0
"""Seconds between two looks, and between two while there is no sink."""
PLACES = 32
"""Messages that one process has out at a time."""
FIRST, FACTOR, LONGEST = 5.0, 3.0, 600.0
AGENT = "beat-notify/1"


class Notifier:
    """Make it inside a running event loop; `close` it there."""

    def __init__(self, database: Database, vault: Vault) -> None:
        self._database, self._vault = database, vault
        self._sending: set[asyncio.Task[None]] = set()
        self._seeded = False
        trusted = authorities(database.settings)
        self._clients = {
            private: WebhookClient(allow_private=private, trusted=trusted, agent=AGENT, setting=ALLOW)
            for private in (False, True)
        }
        self._mailers = {private: Mailer(trusted, private=private) for private in (False, True)}

    async def run(self, stopped: asyncio.Event) -> None:
        """Notify until `stopped`; then messages that are out are waited for."""
        while not stopped.is_set():
            wait = EVERY
            try:
                wait = await self.step()
            except StorageUnavailable as error:
                log.warning("notifications_skipped", error=str(error))
            except Exception:
                log.exception("notifications_failed")
            await pause(stopped.wait(), within=wait)
        await self.drain()

    async def step(self) -> float:
        """Make messages of what is new, begin to send what is due; seconds until the next look."""
        if not self._seeded:
            await seed(self._database, self._vault)
            self._seeded = True
        sinks = await queue.look(self._database)
        if not sinks:
            return ASLEEP
        made = await queue.plan(self._database, sinks) if sinks[0].busy else 0
        room = PLACES - len(self._sending)
        if room and (made or sinks[0].due):
            for row in await queue.claim(self._database, room):
                task = asyncio.create_task(self._notify(row))
                self._sending.add(task)
                task.add_done_callback(self._sending.discard)
        return EVERY

    async def drain(self) -> None:
        """Wait for the messages that are out."""
        if self._sending:
            await asyncio.wait(set(self._sending))

    async def close(self) -> None:
        for task in self._sending:
            task.cancel()
        for client in self._clients.values():
            await client.close()

    async def _notify(self, row: Claimed) -> None:
        """Send one message, and write down how it went. If that fails, the message is sent again when its lease has ended."""
        try:
            told, affected = ([], []) if row.test else await queue.content(self._database, row)
            settings = self._database.settings
            message = Message(
                id=row.id,
                sink=row.name,
                group=row.group_key,
                at=row.at,
                source=settings.event_source,
                alerts=told,
                affected=affected,
                counted=queue.COUNTED,
                link=None if settings.public_url is None else f"{settings.public_url.rstrip('/')}/v1/alerts",
                test=row.test,
                repeat_seconds=row.repeat_seconds,
            )
            if not has_news(message):
                await queue.settle(self._database, row, Outcome("dropped"), ())
                return
            reply = await self._send(row, message)
            sent = reply.accepted
            delay = 0.0 if sent else max(pause_after(row.failures), min(reply.pause, LONGEST))
            outcome = Outcome("sent" if sent else "failed", delay, reply.status, reply.said or None)
            await queue.settle(self._database, row, outcome, told)
            log.info("notification", sink=row.name, message=row.id, attempt=row.attempt, sent=sent, alerts=len(told))
        except StorageUnavailable as error:
            log.warning("notification_not_settled", sink=row.name, message=row.id, error=str(error))
        except Exception:
            log.exception("notification_failed", sink=row.name, message=row.id)

    async def _send(self, row: Claimed, message: Message) -> Reply:
        """Never raises for what the sink brings about. The words of the sink that are kept hold none of its secrets."""
        try:
            secrets = self._vault.open(row.sink_id, SEALED_FOR, row.key_id, row.secret)
        except VaultError:
            return Reply(None, "its address does not open with BEAT_VAULT_KEYS; add the key that sealed it back")
        try:
            reply = await self._attempt(row, message, secrets)
        except Exception as error:
            log.exception("notification_attempt_failed", sink=row.name, message=row.id)
            return Reply(None, type(error).__name__)
        return Reply(reply.status, Redactor(secrets.values()).words(reply.said), reply.pause)

    async def _attempt(self, row: Claimed, message: Message, secrets: Mapping[str, str]) -> Reply:
        if row.kind == EMAIL:
            letter = mail(message, row.sender or "", row.recipients)
            return await self._mailers[row.private].send(secrets["url"], letter)
        reply = Reply(None)
        for call in http.calls(row.kind, message, secrets):
            reply = await self._clients[row.private].post(call.url, call.body, call.headers)
            if not reply.accepted:
                return reply
        return Reply(reply.status)


def pause_after(failures: int) -> float:
    """Seconds for which a sink is left alone after this many failures in a row and another one: 5 s, 15 s, 45 s … up to 10 min, a bit more or less."""
    return min(FIRST * FACTOR ** min(failures, 10), LONGEST) * random.uniform(0.8, 1.2)


def authorities(settings: Settings) -> ssl.SSLContext:
    """The system's, and those of BEAT_NOTIFY_CA_FILE."""
    made = ssl.create_default_context()
    if settings.notify_ca_file is not None:
        made.load_verify_locations(cafile=settings.notify_ca_file)
    return made
