"""Sinks, receivers and alerts, a line each."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any, cast

from aiohttp import web
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, Session

from beat_actors.alerts import Alert, list_alerts, open_alerts, resolve_alerts
from beat_actors.credentials.vault import Vault
from beat_actors.database import Database
from beat_actors.notify import sinks
from beat_actors.notify.kinds import Definition, Route
from beat_actors.notify.notifier import Notifier
from beat_actors.notify.sinks import NotificationSinkView, NotificationView


@dataclass
class Call:
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Receiver:
    """An HTTP server of somebody who is notified. `script`: the statuses of the next calls; after it `always`. `echo`: refusals repeat the call."""

    url: str = ""
    calls: list[Call] = field(default_factory=list)
    script: list[int] = field(default_factory=list)
    always: int = 200
    echo: bool = False
    headers: dict[str, str] = field(default_factory=dict)
    gate: asyncio.Event | None = None

    async def answer(self, request: web.Request) -> web.Response:
        body = await request.read()
        self.calls.append(Call(request.path, {name.lower(): value for name, value in request.headers.items()}, body))
        if self.gate is not None:
            await self.gate.wait()
        status = self.script.pop(0) if self.script else self.always
        said = f"{request.path} {request.headers.get('Authorization')} {body.decode()}" if self.echo else "said"
        return web.Response(status=status, headers=self.headers, text=said)


@asynccontextmanager
async def receiving() -> AsyncIterator[Receiver]:
    receiver = Receiver()
    application = web.Application()
    application.router.add_post("/{path:.*}", receiver.answer)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    receiver.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield receiver
    finally:
        await runner.cleanup()


@dataclass
class MailServer:
    """A mail server that keeps what it is sent. `refuses`: recipients."""

    port: int = 0
    mails: list[tuple[list[str], EmailMessage]] = field(default_factory=list)
    users: list[tuple[str, str]] = field(default_factory=list)
    refuses: Sequence[str] = ()
    silent: bool = False

    async def handle_RCPT(  # noqa: N802 - the library's name
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, _options: list[str]
    ) -> str:
        if address in self.refuses:
            return "550 no such user"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802
        if self.silent:
            await asyncio.sleep(3600)
        mail = message_from_bytes(cast("bytes", envelope.content), policy=policy.default)
        self.mails.append((list(envelope.rcpt_tos), cast("EmailMessage", mail)))
        return "250 OK"


@asynccontextmanager
async def mail_server(
    *, tls: ssl.SSLContext | None = None, starttls: ssl.SSLContext | None = None, login: tuple[str, str] | None = None
) -> AsyncIterator[MailServer]:
    """`tls`: from the beginning. `login`: the user and the password that it asks for."""
    made = MailServer()

    def check(_server: SMTP, _session: Session, _envelope: Envelope, _mechanism: str, data: Any) -> AuthResult:
        given = (data.login.decode(), data.password.decode())
        made.users.append(given)
        return AuthResult(success=given == login)

    def serve() -> SMTP:
        return SMTP(
            made,
            hostname="mail.test",
            tls_context=starttls,
            require_starttls=starttls is not None,
            authenticator=check if login else None,
            auth_required=login is not None,
            auth_require_tls=False,
        )

    server = await asyncio.get_running_loop().create_server(serve, "127.0.0.1", 0, ssl=tls)
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        server.close()


async def add(
    database: Database, name: str, *, private: bool = True, route: dict[str, Any] | None = None, **given: Any
) -> str | None:
    """Add a sink; its signing secret, if it has one."""
    async with database.transaction() as transaction:
        _, secret = await sinks.create(
            transaction,
            Vault(database.settings),
            name,
            Definition(**given),
            Route(**(route or {})),
            private=private,
            actor="test",
        )
    return secret


def alert(key: str, severity: str = "warning", **fields: Any) -> Alert:
    said = {"cause": f"cause of {key}", "impact": "it hurts", "automatic": "Beat waits", "action": "`beat doctor`"}
    return Alert(key=key, severity=severity, **said | fields)


async def raised(database: Database, *alerts: Alert) -> list[int]:
    """Open these alerts; their ids."""
    async with database.transaction() as transaction:
        await open_alerts(transaction, alerts)
        found = {one.key: one.id for one in await list_alerts(transaction, limit=5000)}
    return [found[one.key] for one in alerts]


async def over(database: Database, *keys: str) -> None:
    async with database.transaction() as transaction:
        await resolve_alerts(transaction, keys)


async def pass_(notifier: Notifier) -> None:
    await notifier.step()
    await notifier.drain()


async def seen(database: Database, name: str) -> NotificationSinkView:
    async with database.transaction() as transaction:
        return await sinks.find(transaction, name)


async def listed(database: Database, name: str) -> list[NotificationView]:
    async with database.transaction() as transaction:
        return await sinks.messages(transaction, sink=name, limit=200)


async def order_test(database: Database, name: str) -> int:
    async with database.transaction() as transaction:
        return await sinks.send_test(transaction, name, actor="test")
