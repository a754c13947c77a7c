"""Which keys are good: any, unless told otherwise. Kept by fingerprint; no secret stays here."""

from collections.abc import Sequence

import msgspec

from beat_actors.simulator.ledger import fingerprint


class KeyState(msgspec.Struct, frozen=True, kw_only=True):
    source: str
    credential: str
    revoked: bool


class Keys:
    def __init__(self, *, accept_any: bool = True) -> None:
        self.accept_any = accept_any
        self._revoked: dict[tuple[str, str], bool] = {}

    def set(self, source: str, secret: str, *, revoked: bool = False) -> str:
        """Make a key known, good or revoked. Returns its fingerprint."""
        name = fingerprint(secret)
        self._revoked[source, name] = revoked
        return name

    def is_dead(self, source: str, credential: str) -> bool:
        """`credential` is a fingerprint."""
        return self._revoked.get((source, credential), not self.accept_any)

    def known(self) -> Sequence[KeyState]:
        return [
            KeyState(source=source, credential=credential, revoked=revoked)
            for (source, credential), revoked in self._revoked.items()
        ]

    def reset(self) -> None:
        self._revoked.clear()
