"""One call to a provider under its lease: made while the lease holds, or not at all, and with the moment at which it was sent."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import quote

from beat_actors.engine import Engine
from beat_actors.errors import VaultError
from beat_actors.platforms.interface import Answer, Call, Outcome, Secret, Source, Verdict
from beat_actors.transport.http import HIDDEN, Exchange

NO_EXCHANGE = Exchange("", "", 0.0)
# Less is no secret, and would be found anywhere.
SHORTEST_SECRET = 8


@dataclass(frozen=True, slots=True)
class Attempt:
    """How a call went: `verdict` is set where there is no answer to judge.

    `at`: the latest moment at which the provider can have begun to count the call, by the database's clock. `hidden`: what must
    not be kept of an answer, because it is of the secret; providers repeat it in links and in messages.
    """

    exchange: Exchange
    verdict: Verdict | None = None
    at: float | None = None
    hidden: tuple[str, ...] = field(default=(), repr=False)

    @property
    def answer(self) -> Answer | None:
        """The answer as it may be kept."""
        found = self.exchange.answer
        if found is None:
            return None
        body = found.body
        for text in self.hidden:
            body = body.replace(text.encode(), HIDDEN.encode())
        return found if body is found.body else replace(found, body=body)

    def judged(self, verdict: Verdict) -> Verdict:
        """A verdict as it may be kept."""
        detail = verdict.detail
        for text in self.hidden:
            detail = detail.replace(text, HIDDEN)
        return verdict if detail == verdict.detail else replace(verdict, detail=detail)


async def attempt(
    engine: Engine, source: Source, lease: Any, build: Callable[[Secret], Call], started: float
) -> Attempt:
    """Open the leased credential's secret and make the call. `started`: before the lease was taken, on `time.monotonic`."""
    now = time_of(lease, started)
    if now >= lease.use_until:
        return Attempt(NO_EXCHANGE, Verdict(Outcome.UNUSED, detail="the lease ran out before the call"))
    try:
        secret = engine.vault.open(lease.credential_id, lease.source, lease.key_id, bytes(lease.secret))
    except VaultError as error:
        return Attempt(NO_EXCHANGE, Verdict(Outcome.CREDENTIAL_DEAD, "vault", str(error)))
    call = build(secret)
    exchange = await engine.client.exchange(source, call)
    # A request that has left may lie on the line, or in the queue of a busy provider, and count only when it is taken up. That it
    # was, the beginning of an answer shows, and nothing before it.
    at = now + exchange.answered_after
    if exchange.answer is not None:
        return Attempt(exchange, None, at, _hidden(secret, call))
    failure = exchange.failure
    detail, code = (failure.detail, failure.kind) if failure is not None else ("", "")
    return Attempt(exchange, Verdict(Outcome.UPSTREAM_DOWN, code, detail), at)


def _hidden(secret: Secret, call: Call) -> tuple[str, ...]:
    """The fields that the call carries where nothing is logged, as an answer may spell them."""
    carried = " ".join((*call.secret_query.values(), *call.headers.values(), *(call.form or {}).values()))
    values = [value for value in secret.values() if len(value) >= SHORTEST_SECRET and value in carried]
    spelt = ((value, quote(value, safe=""), value.replace("/", "\\/")) for value in values)
    return tuple(dict.fromkeys(text for spellings in spelt for text in spellings))


def time_of(lease: Any, started: float) -> float:
    """The database's clock now, never behind it: what lies between the statement's beginning and now is added to the time it gave."""
    return float(lease.claimed_at) + time.monotonic() - started


def traced(attempt: Attempt, verdict: Verdict) -> dict[str, Any]:
    """What a trace row says of a call and of how it was judged."""
    exchange = attempt.exchange
    answer, failure = exchange.answer, exchange.failure
    return {
        "method": exchange.method,
        "url": exchange.url,
        "status": answer.status if answer else (failure.status if failure else None),
        "ms": round(exchange.ms, 3),
        "bytes": len(answer.body) if answer else None,
        "outcome": verdict.outcome.value,
        "code": verdict.code,
        "detail": plain(verdict.detail),
    }


def unreadable(error: Exception) -> Verdict:
    """What is said of an answer that broke its reader: whatever was sent, it harms no other call of the batch."""
    return Verdict(Outcome.MALFORMED, detail=f"the answer could not be judged: {type(error).__name__}: {error}"[:300])


def not_made(error: Exception) -> Verdict:
    """What is said of a call that could not even be put together; in no words of the error's own, which may hold the secret.

    It is charged as if it had been made, since nobody knows how far it came; the next source is asked.
    """
    return Verdict(Outcome.MALFORMED, "not_made", f"the call could not be put together: {type(error).__name__}")


def reported(verdict: Verdict | None) -> dict[str, Any]:
    """What a settlement says of the provider's own count."""
    if verdict is None or verdict.reported is None:
        return {}
    return {"reported_remaining": verdict.reported.remaining, "reported_reset": verdict.reported.reset_seconds}


def plain(text: str) -> str:
    """What PostgreSQL can hold of a provider's words."""
    return text.replace("\0", "�").encode("utf-8", "replace").decode()[:300]
