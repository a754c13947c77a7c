"""E-mail over SMTP: with TLS from the beginning (`smtps`), with STARTTLS (`smtp`), or without encryption (`smtp+plain`)."""

import asyncio
import re
import socket
import ssl
from collections.abc import Sequence
from email.message import EmailMessage
from email.utils import format_datetime
from urllib.parse import unquote, urlsplit

import aiosmtplib

from beat_actors.notify.kinds import MAIL_PORTS, SMTP_PORTS
from beat_actors.notify.message import Message, plain, title
from beat_actors.transport.failures import meaning
from beat_actors.transport.guard import PrivateAddress, check_address
from beat_actors.webhooks.client import CONNECT, TOTAL, Reply

_UNPRINTABLE = re.compile(r"[^ -~]+")
KEPT = 300
ALLOW = "BEAT_NOTIFY_ALLOW_PRIVATE"


def mail(message: Message, sender: str, recipients: Sequence[str]) -> EmailMessage:
    """The mail. Its Message-ID is the same in each attempt; mails of one group are one thread."""
    domain = sender.rpartition("@")[2]
    thread = re.sub(r"[^a-z0-9]+", "-", f"{message.source}-{message.sink}-{message.group}".lower()).strip("-")
    found = EmailMessage()
    found["Subject"] = title(message)
    found["From"] = sender
    found["To"] = ", ".join(recipients)
    found["Date"] = format_datetime(message.at)
    found["Message-ID"] = f"<beat-notification-{message.id}@{domain}>"
    found["References"] = f"<beat-{thread}@{domain}>"
    found["Auto-Submitted"] = "auto-generated"
    found.set_content(plain(message), cte="quoted-printable")
    return found


class Mailer:
    """Sends mails, each over a connection of its own. `private`: it may connect to private addresses. `trusted`: the authorities that are trusted."""

    def __init__(self, trusted: ssl.SSLContext, *, private: bool) -> None:
        self._trusted, self._private = trusted, private

    async def send(self, url: str, mail: EmailMessage) -> Reply:
        """Make one attempt, within `TOTAL` seconds. Never raises for what the network or the server does. `status` is SMTP's."""
        try:
            async with asyncio.timeout(TOTAL):
                return await self._send(url, mail)
        except TimeoutError:
            return Reply(None, f"the mail server did not take the message within {TOTAL:g} s")
        except PrivateAddress:
            return Reply(
                None, f"its address or port is not one for the public, so nothing was sent; {ALLOW} would allow it"
            )
        except aiosmtplib.SMTPAuthenticationError as error:
            return Reply(None, f"the mail server refuses the user or the password: {_shown(error)}")
        except aiosmtplib.SMTPRecipientsRefused as error:
            return Reply(
                None,
                f"the mail server refuses all recipients: {_shown(error.recipients[0]) if error.recipients else ''}",
            )
        except aiosmtplib.SMTPException as error:
            return Reply(None, f"{type(error).__name__}: {_shown(error)}")
        except (OSError, ValueError) as error:
            return Reply(None, meaning(error))

    async def _send(self, url: str, mail: EmailMessage) -> Reply:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or SMTP_PORTS[parts.scheme]
        server = aiosmtplib.SMTP(
            hostname=host,
            local_hostname=_own_name(),
            use_tls=parts.scheme == "smtps",
            start_tls=parts.scheme == "smtp",
            username=None if parts.username is None else unquote(parts.username),
            password=None if parts.password is None else unquote(parts.password),
            tls_context=self._trusted,
            timeout=TOTAL,
            sock=await self._connected(host, port),
        )
        async with server:
            refused, _ = await server.send_message(mail)
        if refused:
            return Reply(250, f"the mail server refuses {len(refused)} of the recipients")
        return Reply(250)

    async def _connected(self, host: str, port: int) -> socket.socket:
        """A connection to the first address that answers. Each address is checked as it is connected to."""
        loop, failure = asyncio.get_running_loop(), OSError("its name does not resolve")
        for family, kind, protocol, _, place in await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM):
            if not self._private:
                check_address(str(place[0]), int(place[1]), MAIL_PORTS)
            made = socket.socket(family, kind, protocol)
            made.setblocking(False)
            try:
                await asyncio.wait_for(loop.sock_connect(made, place), CONNECT)
            except (OSError, TimeoutError) as error:
                made.close()
                failure = error if isinstance(error, OSError) else OSError("no connection in time")
            except BaseException:
                made.close()
                raise
            else:
                return made
        raise failure


def _own_name() -> str:
    """What the server is told; the library would look the name up, which may take long."""
    name = socket.gethostname()
    return name if re.fullmatch(r"[A-Za-z0-9.-]{1,253}", name) else "localhost"


def _shown(error: BaseException) -> str:
    said = getattr(error, "message", None) or str(error)
    return _UNPRINTABLE.sub(" ", str(said)).strip()[:KEPT]
