"""Which keys are good: any, unless told otherwise. Kept by fingerprint; no secret stays here."""

import time
from collections.abc import Callable, Sequence

from msgspec import structs

from beat_actors.simulator.ledger import fingerprint
from beat_actors.simulator.provider import Grant


class KeyState(Grant, frozen=True, kw_only=True):
    source: str
    credential: str


class Keys:
    """`clock` gives epoch seconds."""

    def __init__(self, *, accept_any: bool = True, clock: Callable[[], float] = time.time) -> None:
        self.accept_any = accept_any
        self._clock = clock
        self._grants: dict[tuple[str, str], Grant] = {}
        # Of a key that was got with another: that one's fingerprint. It counts as that one, and is revoked with it.
        self._holders: dict[tuple[str, str], str] = {}

    def set(self, source: str, secret: str, grant: Grant) -> str:
        """Make a key known, good or revoked. Returns its fingerprint."""
        name = fingerprint(secret)
        self._grants[source, name] = grant
        return name

    def grant(self, source: str, credential: str) -> Grant:
        """`credential` is a fingerprint. A key past its end is revoked, and so is one whose holder is."""
        grant = self._grants.get((source, credential)) or Grant(revoked=not self.accept_any)
        over = grant.expires_at is not None and grant.expires_at <= self._clock()
        holder = self.holder(source, credential)
        over = over or (holder != credential and self.grant(source, holder).revoked)
        return structs.replace(grant, revoked=True) if over else grant

    def holder(self, source: str, credential: str) -> str:
        """The fingerprint as which a key counts: its own, or that of the key that it was got with."""
        return self._holders.get((source, credential), credential)

    def issue(self, source: str, holder: str, secret: str, seconds: float) -> None:
        """A key that was got with another, good for so many seconds."""
        name = self.set(source, secret, Grant(expires_at=int(self._clock() + seconds)))
        self._holders[source, name] = holder

    def reaches(self, source: str, credential: str, scope: str | None) -> bool:
        """Whether a key opens what needs this scope: it was given, and its access to data has not ended."""
        grant = self.grant(source, credential)
        over = grant.data_access_expires_at is not None and grant.data_access_expires_at <= self._clock()
        return scope is None or (not over and (grant.scopes is None or scope in grant.scopes))

    def known(self) -> Sequence[KeyState]:
        return [
            KeyState(source=source, credential=credential, **structs.asdict(grant))
            for (source, credential), grant in self._grants.items()
        ]

    def reset(self) -> None:
        self._grants.clear()
        self._holders.clear()
