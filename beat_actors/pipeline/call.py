"""One call to a provider under its lease: made while the lease holds, or not at all, and with the moment at which it was sent."""

import asyncio
import contextlib
import re
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, Protocol
from urllib.parse import urlsplit

from beat_actors.database import Database, Statements, arrays
from beat_actors.engine import Engine
from beat_actors.errors import StorageUnavailable, VaultError, VaultKeyMissing
from beat_actors.own_trouble import OwnTrouble
from beat_actors.platforms.interface import Answer, Call, Health, Outcome, Secret, Source, Verdict
from beat_actors.redaction import ECHOED, HIDDEN, NOTHING, WITHHELD, Redactor
from beat_actors.transport.http import Exchange

NO_EXCHANGE = Exchange("", "", 0.0)
# Bytes of an answer above which a thread looks for the secret, so that the other calls of the process go on.
LONG = 1 << 18
LOOK_EVERY = 1.0
"""Seconds at most for which what is known of a batch's credentials is relied upon."""
SCOPE = re.compile(r"[A-Za-z][A-Za-z0-9_.:/-]{0,99}")
MOST_SCOPES = 200
EXHAUSTED = "this process has no memory or no descriptors left"


class Leased(Protocol):
    """A claimed call, of a fetch or for a credential's own sake. `claimed_at`, `use_from` and `use_until`: epoch seconds."""

    @property
    def id(self) -> int: ...
    @property
    def source(self) -> str: ...
    @property
    def credential_id(self) -> int: ...
    @property
    def key_id(self) -> str: ...
    @property
    def secret(self) -> bytes: ...
    @property
    def generation(self) -> int: ...
    @property
    def claimed_at(self) -> float: ...
    @property
    def use_from(self) -> float | None: ...
    @property
    def use_until(self) -> float: ...


class Sealed(NamedTuple):
    """A credential's sealed secret."""

    id: int
    source: str
    secret: bytes


SQL = Statements(__file__)
STANDING = SQL("standing", int)
OTHERS = SQL("others", Sealed)


@dataclass(frozen=True, slots=True)
class Attempt:
    """How a call went: `verdict` is set where there is no answer to judge.

    `answer` is what the provider said, word for word: it is read, and neither stored nor shown. `at`: the latest moment at which the
    provider can have begun to count the call, and `began` when it was begun, both by the database's clock. `redactor` knows the secret that the call was made with.
    `process`: the one that came to no connection.
    """

    exchange: Exchange
    verdict: Verdict | None = None
    at: float | None = None
    redactor: Redactor = field(default=NOTHING, repr=False)
    began: float | None = None
    process: str = ""

    @property
    def made(self) -> bool:
        """Whether a call was made: only then is it charged and traced."""
        return self.exchange is not NO_EXCHANGE

    @property
    def answer(self) -> Answer | None:
        return self.exchange.answer

    def without_answer(self) -> "Attempt":
        """The same call, of whose answer nothing can be stored."""
        return replace(self, exchange=replace(self.exchange, url=plain(self.exchange.url)))

    async def kept(self, body: bytes) -> bytes | None:
        """A body as it may be stored; `None` where it repeats the secret in a way that cannot be taken out."""
        if len(body) <= LONG:
            return self.redactor.body(body)
        return await asyncio.to_thread(self.redactor.body, body)

    def judged(self, verdict: Verdict) -> Verdict:
        """A verdict as it may be kept."""
        code, detail = self.redactor.code(verdict.code), self.redactor.words(verdict.detail)
        if detail == WITHHELD and code:
            detail = f"{WITHHELD} ({code})"
        return replace(verdict, code=code, detail=detail)

    def refreshed(self, source: Source, verdict: Verdict) -> Verdict:
        """The verdict on a refresh as it may be kept: no words, and of its code what the source declares. An answer that is no good
        may hold a new secret, which nobody knows yet."""
        declared = {str(one) for rule in source.errors for one in (rule.code, rule.subcode) if one is not None}
        parts = [part for part in verdict.code.split("/") if (part.isdecimal() and len(part) <= 3) or part in declared]
        status = "" if self.answer is None else str(self.answer.status)
        return replace(verdict, code="/".join(parts) or status, detail="")

    def known(self, health: Health) -> Health:
        """What a check found as it may be kept: of the scopes those that are names."""
        if health.scopes is None:
            return health
        named = [one for one in sorted(health.scopes) if SCOPE.fullmatch(one) and self.redactor.words(one) == one]
        return replace(health, scopes=frozenset(named[:MOST_SCOPES]))


class Standing:
    """Whether the credentials of a batch of leases may still be called, which was so at `started` (on `time.monotonic`).

    A batch whose calls wait for their slots looks again, by one statement for all of them, once a second at most. `begun` has the ids of the
    leases whose call was begun. `upkeep`: the calls are for the credentials' own sake, which a dead credential may need.
    """

    def __init__(self, database: Database, leases: Sequence[Leased], started: float, *, upkeep: bool = False) -> None:
        self.begun: set[int] = set()
        self._database = database
        self._leases = {lease.id: (lease.id, lease.credential_id, lease.generation) for lease in leases}
        self._looked = started
        self._claimed = time.monotonic()
        self._upkeep = upkeep
        self._looking = asyncio.Lock()

    async def its_time(self, lease: Leased) -> None:
        """Wait until the lease's call may be made, where that is later: by a clock that is not ahead of the database's."""
        while lease.use_from is not None:
            wait = lease.use_from - lease.claimed_at - (time.monotonic() - self._claimed)
            if wait <= 0:
                return
            await asyncio.sleep(wait)

    async def allows(self, lease: Leased) -> bool:
        """False too where PostgreSQL cannot be asked."""
        if time.monotonic() - self._looked > LOOK_EVERY:
            async with self._looking:
                if time.monotonic() - self._looked > LOOK_EVERY:
                    await self._look()
        return lease.id in self._leases

    async def _look(self) -> None:
        asked = [row for lease_id, row in self._leases.items() if lease_id not in self.begun]
        values = arrays(asked, "ids", "credentials", "generations")
        looked = time.monotonic()
        try:
            async with self._database.statements() as alone:
                stand = set(await alone.rows(STANDING, values | {"upkeep": self._upkeep}))
        except StorageUnavailable:
            stand = set()
        else:
            self._looked = looked
        self._leases = {lease_id: row for lease_id, row in self._leases.items() if lease_id in stand}


async def attempt(
    engine: Engine,
    source: Source,
    lease: Leased,
    build: Callable[[Secret], Call],
    started: float,
    standing: Standing,
    *,
    urgent: bool = False,
) -> Attempt:
    """Open the leased credential's secret and make the call. `started`: before the lease was taken, on `time.monotonic`.

    The time from which the lease can be used is waited for, then the slot of the provider's host, until the lease's end at most. Then the
    credential is looked at again, and then the clock: nothing that lies between these and the call can wait.
    """
    try:
        secret = engine.vault.open(lease.credential_id, lease.source, lease.key_id, bytes(lease.secret))
    except VaultKeyMissing as error:
        return Attempt(
            NO_EXCHANGE, Verdict(Outcome.UNUSED, "vault", str(error))
        )  # this process's trouble, not the credential's
    except VaultError as error:
        if await _opens_nothing(engine, lease):
            engine.own_trouble.cannot_open(lease.key_id)
            return Attempt(NO_EXCHANGE, Verdict(Outcome.UNUSED, "vault", str(error)))
        return Attempt(NO_EXCHANGE, Verdict(Outcome.CREDENTIAL_DEAD, "vault", str(error)))
    engine.own_trouble.opens(lease.key_id)
    hidden = source.redactor(secret)
    try:
        call = build(secret)
    except Exception as error:  # noqa: BLE001 - the calls beside it are none the worse
        if engine.own_trouble.caused(error):
            return unused(EXHAUSTED)
        return Attempt(NO_EXCHANGE, not_made(error))
    async with AsyncExitStack() as held:
        try:
            async with asyncio.timeout(lease.use_until - time_of(lease, started)):
                await standing.its_time(lease)
                await held.enter_async_context(engine.client.slot(source, call, urgent=urgent))
                if not await standing.allows(lease):
                    return unused("its credential was put out of use before the call")
        except TimeoutError:
            return unused("the lease ran out before the call")
        now = time_of(lease, started)
        if now >= lease.use_until:
            return unused("the lease ran out before the call")
        standing.begun.add(lease.id)
        exchange = _shown(await engine.client.exchange(source, call), hidden)
    return _came_to(engine.own_trouble, exchange, now, hidden)


async def _opens_nothing(engine: Engine, lease: Leased) -> bool:
    """Whether a key has opened nothing in this process, other credentials' secrets included: then the key is wrong, and no credential is
    to blame. It is so too where PostgreSQL cannot be asked for others."""
    if engine.vault.has_opened(lease.key_id):
        return False
    try:
        async with engine.database.statements() as alone:
            others = await alone.rows(OTHERS, {"key": lease.key_id, "id": lease.credential_id})
    except StorageUnavailable:
        return True
    for other in others:
        with contextlib.suppress(VaultError):
            engine.vault.open(other.id, other.source, lease.key_id, bytes(other.secret))
    return not engine.vault.has_opened(lease.key_id)


def caused_by_process(engine: Engine, error: Exception, *, begun: bool) -> Attempt | None:
    """How a call ends that this process's own lack of memory or descriptors broke off: unused where it was not begun, else of unknown
    outcome, and charged. `None` for any other error."""
    if not engine.own_trouble.caused(error):
        return None
    return (
        Attempt(Exchange("", "", 0.0), Verdict(Outcome.UNKNOWN, "resources", EXHAUSTED)) if begun else unused(EXHAUSTED)
    )


def unused(why: str) -> Attempt:
    """What is said of a lease for which no call was made: nothing is charged."""
    return Attempt(NO_EXCHANGE, Verdict(Outcome.UNUSED, detail=why))


def _came_to(own: OwnTrouble, exchange: Exchange, now: float, hidden: Redactor) -> Attempt:
    # A request that has left may lie on the line, or in the queue of a busy provider, and count only when it is taken up. That it
    # was, the beginning of an answer shows, and nothing before it.
    at = now + exchange.answered_after
    if exchange.sent:
        own.reached()
    if exchange.answer is not None:
        return Attempt(exchange, None, at, hidden, now)
    failure = exchange.failure
    detail, code = (failure.detail, failure.kind) if failure is not None else ("", "")
    if not exchange.sent and code == "request":
        return Attempt(NO_EXCHANGE, Verdict(Outcome.MALFORMED, "not_made", f"the call's URL is none: {detail}"))
    if not exchange.sent and code == "closed":
        return unused("its process ended before the call")
    if code == "resources":
        own.exhausted()
        # What was sent is charged and says nothing of the provider.
        said = Verdict(Outcome.UNKNOWN, code, EXHAUSTED)
        return Attempt(exchange, said, at, began=now) if exchange.sent else unused(EXHAUSTED)
    if not exchange.sent:
        own.not_reached(urlsplit(exchange.url).netloc)
        if own.is_cut_off:
            return unused("this process reaches no provider")
        return Attempt(NO_EXCHANGE, Verdict(Outcome.UNREACHED, code, detail), began=now, process=own.process)
    return Attempt(exchange, Verdict(Outcome.UPSTREAM_DOWN, code, detail), at, began=now)


def _shown(exchange: Exchange, hidden: Redactor) -> Exchange:
    """With the host alone for its URL, where a secret stands in the rest."""
    if hidden.body(exchange.url.encode()) == exchange.url.encode():
        return exchange
    return replace(exchange, url=urlsplit(exchange.url)._replace(path=f"/{HIDDEN}", query="").geturl())


def echoed(status: int) -> Verdict:
    """What is said of a good answer that repeats the secret in a way that cannot be taken out: nothing of it is kept."""
    return Verdict(Outcome.MALFORMED, f"{status}/{ECHOED}", "the answer repeats the credential, so it is not kept")


def time_of(lease: Leased, started: float) -> float:
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

    Nothing was sent, so nothing is charged or traced; the next source is asked.
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
