"""Who calls: the key behind a token, remembered for seconds, so that a call costs no round trip to the database.

A key that is revoked stops working within `FRESH` seconds, in every process. Whatever comes in, one statement looks keys up at a
time, for all that wait; so a flood of invented tokens costs the database no more than a trickle does.
"""

import asyncio
import hmac
import time
from dataclasses import dataclass
from typing import NamedTuple

from beat_actors.access.scopes import Scope, allowed
from beat_actors.access.tokens import Token, parse
from beat_actors.database import Database, Statements
from beat_actors.errors import StorageTooSlow, StorageUnavailable, Unauthenticated
from beat_actors.logger import get_logger

log = get_logger(__name__)

FRESH = 5.0
"""Seconds that what is known of a key is used."""
RENEWED = 2.5
"""Seconds after which it is looked up again while it is still used, so that nobody waits for it."""
SEEN = 60.0
"""Seconds between two notes of a key's last use, in each process."""
MOST_KEPT = 10_000

NO_KEY = "the call carries no key; send one as `Authorization: Bearer beat_…` (`beat keys create NAME --scope submit` makes it)"
NOT_A_KEY = "invalid API key: check that it is complete and from this installation"


class Key(NamedTuple):
    """A key as it stands in the database. `hash`: of the whole token."""

    id: int
    prefix: str
    hash: bytes
    name: str
    account_id: str | None
    scopes: list[str]
    rate_limit: int
    revoked: bool
    seconds_left: float | None


SQL = Statements(__file__)
LOOK = SQL("look", Key)
NOTE = SQL("note")


@dataclass(frozen=True, slots=True)
class Caller:
    """Whose call it is. `scopes`: all that its key allows. `rate_limit`: calls a minute."""

    key_id: int
    name: str
    account_id: str | None
    scopes: frozenset[Scope]
    rate_limit: int

    @property
    def actor(self) -> str:
        """As the audit log has it."""
        return f"key:{self.key_id}"


@dataclass(slots=True)
class _Known:
    """A row as it was at `at`."""

    at: float
    row: Key
    caller: Caller


class Keyring:
    """One for each process and event loop."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known: dict[str, _Known] = {}
        self._noted: dict[int, float] = {}
        self._asked: dict[str, asyncio.Future[_Known | None]] = {}
        self._used: set[int] = set()
        self._clerk: asyncio.Task[None] | None = None

    async def caller(self, text: str | None, *, within: float = 60.0) -> Caller:
        """Whose token this is. Raises `Unauthenticated`, and `StorageUnavailable` where it cannot be looked up, or not `within` so many
        seconds."""
        if not text:
            raise Unauthenticated(NO_KEY)
        token = parse(text)
        if token is None:
            raise Unauthenticated(NOT_A_KEY)
        known = await self._find(token, within)
        # Compared in constant time: how much of a secret is right cannot be measured. That a prefix is unknown can be, since it is
        # looked up each time; prefixes are no secret. What became of a key is told to its holder alone.
        genuine = hmac.compare_digest(known.row.hash if known is not None else bytes(32), token.digest)
        if known is None or not genuine:
            raise Unauthenticated(NOT_A_KEY)
        now = time.monotonic()
        if known.row.revoked:
            raise Unauthenticated("the key was revoked")
        if known.row.seconds_left is not None and known.row.seconds_left <= now - known.at:
            raise Unauthenticated("the key has expired")
        if now - self._noted.get(known.row.id, -SEEN) >= SEEN:
            self._noted[known.row.id] = now
            self._used.add(known.row.id)
            self._wake()
        return known.caller

    async def close(self) -> None:
        """Ends when what was begun is done."""
        if self._clerk is not None:
            await self._clerk

    async def _find(self, token: Token, within: float) -> _Known | None:
        known = self._known.get(token.prefix)
        age = time.monotonic() - known.at if known is not None else FRESH
        if known is not None and age < FRESH:
            if age >= RENEWED:
                self._ask(token.prefix)
            return known
        try:
            async with asyncio.timeout(within):
                return await asyncio.shield(self._ask(token.prefix))
        except TimeoutError:
            raise StorageTooSlow("the key was not looked up in the time that a caller is kept") from None

    def _ask(self, prefix: str) -> asyncio.Future[_Known | None]:
        if prefix not in self._asked:
            self._asked[prefix] = asyncio.get_running_loop().create_future()
            # Nobody may be waiting for it, and what failed is asked again.
            self._asked[prefix].add_done_callback(lambda answer: answer.cancelled() or answer.exception())
            self._wake()
        return self._asked[prefix]

    def _wake(self) -> None:
        if self._clerk is None or self._clerk.done():
            self._clerk = asyncio.create_task(self._work())

    async def _work(self) -> None:
        while self._asked or self._used:
            asked, self._asked = self._asked, {}
            used, self._used = self._used, set()
            try:
                async with self._database.statements() as alone:
                    if asked:
                        self._learn(asked, await alone.rows(LOOK, {"prefixes": list(asked)}))
                    if used:
                        await alone.run(NOTE, {"ids": sorted(used)})
            except Exception as error:
                if not isinstance(error, StorageUnavailable):
                    log.exception("keys_not_read")
                for answer in asked.values():
                    if not answer.done():
                        answer.set_exception(error)

    def _learn(self, asked: dict[str, asyncio.Future[_Known | None]], rows: list[Key]) -> None:
        found = {row.prefix: row for row in rows}
        now = time.monotonic()
        if len(self._known) > MOST_KEPT:
            self._known = {prefix: known for prefix, known in self._known.items() if now - known.at < FRESH}
            self._noted = {key: at for key, at in self._noted.items() if now - at < SEEN}
        for prefix, answer in asked.items():
            row = found.get(prefix)
            known = None
            # What does not exist is not kept: a flood of inventions would fill the memory, and a new key works at once.
            if row is not None:
                caller = Caller(row.id, row.name, row.account_id, allowed(row.scopes), row.rate_limit)
                known = self._known[prefix] = _Known(now, row, caller)
            if not answer.done():
                answer.set_result(known)
