"""Before Falcon: calls that Falcon cannot read as the server passes them on, and errors outside of its handlers."""

from collections.abc import Awaitable, Callable
from typing import Any

import falcon.asgi
import msgspec
from falcon.asgi import Request, Response

from api.deadline import ended
from api.problems import BodyBroken, problem, unexpected
from api.services import HEADERS
from beat_actors.errors import BeatError

Event = dict[str, Any]
Receive = Callable[[], Awaitable[Event]]
Send = Callable[[Event], Awaitable[None]]

PROBLEM_HEADERS = [
    (name.lower().encode(), value.encode())
    for name, value in {**HEADERS, "Content-Type": "application/problem+json"}.items()
]


class Front(falcon.asgi.App[Request, Response]):
    """Falcon's application. It answers HTTP/1.0 too. Each error is answered as a problem, with the headers of every answer."""

    async def __call__(self, scope: Event, receive: Any, send: Any) -> None:  # type: ignore[override]
        if scope["type"] != "http":
            await super().__call__(scope, receive, send)
            return
        if scope.get("http_version") == "1":  # the server's name for 1.0, which Falcon does not know
            scope = {**scope, "http_version": "1.0"}
        call = _Call(receive, send)
        try:
            await super().__call__(scope, call.receive, call.send)
        except Exception as error:
            if call.answered:
                raise
            await _refuse(
                send,
                problem(error) if isinstance(error, BeatError) else unexpected(error, scope["method"], ""),
            )
        finally:
            ended()  # a call that was cut off had no response


class _Call:
    """The two ends of one call."""

    __slots__ = ("_receive", "_send", "_whole", "answered")

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive, self._send = receive, send
        self._whole = self.answered = False

    async def receive(self) -> Event:
        """Raises `BodyBroken` where the body ends too early: its framing is wrong, or the caller is gone."""
        event = await self._receive()
        if event["type"] == "http.request":
            self._whole = not event.get("more_body", False)
        elif not self._whole:
            raise BodyBroken("the body ended before it was whole; its length or its chunks are not as they should be")
        return event

    async def send(self, event: Event) -> None:
        self.answered = True
        await self._send(event)


async def _refuse(send: Send, body: dict[str, Any]) -> None:
    await send({"type": "http.response.start", "status": body["status"], "headers": PROBLEM_HEADERS})
    await send({"type": "http.response.body", "body": msgspec.json.encode(body)})
