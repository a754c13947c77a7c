"""Faults that are switched on while the simulator runs: who has which one now. What they do to an answer is `damage.py`."""

import random
import time
from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import Literal, get_args

import msgspec

from beat_actors.simulator.ledger import fingerprint


class FaultKind(StrEnum):
    OUTAGE = "outage"  # `status`, 503 unless said; `body` html or json
    TIMEOUT = "timeout"  # never answers
    HANG = "hang"  # the same
    RESET = "reset"  # the connection is torn down
    RATE_LIMIT = "rate_limit"  # the provider's own refusal, with Retry-After where `retry_after` is given
    QUOTA = "quota"  # the plan's budget is gone
    REVOKED = "revoked"  # the credential is dead
    SLOW = "slow"  # `delay` seconds late, else whole
    MISSING_KEY = "missing_key"  # the identifying keys are gone
    WRONG_TYPE = "wrong_type"  # the numbers are objects
    HTML = "html"  # 200 with a page
    TRUNCATED = "truncated"  # half of the body, announced as all of it; of a picture with `body` cut: announced whole, and torn down
    WRONG_USER = "wrong_user"  # somebody else's answer
    UNSTORABLE = "unstorable"  # texts end with a NUL and a lone surrogate
    HUGE = "huge"  # numbers have a hundred digits
    NESTED = "nested"  # a hundred thousand brackets deep
    CORRUPT = "corrupt"  # well-formed and false, as `body` says (see `corruption.py`); 0 followers unless said
    GIGABYTE = "gigabyte"  # a body that does not end for 1 GiB
    GZIP_BOMB = "gzip_bomb"  # 256 MiB in a quarter of a megabyte
    REDIRECT = "redirect"  # to another host, or with `body` loop to itself
    SLOW_LORIS = "slow_loris"  # a byte every `delay` seconds


Corruption = Literal[
    "zero", "negative", "thousandfold", "thousandth", "digit", "swapped", "subset", "int32", "three", "stale", "other", "identity"
]  # fmt: skip
CORRUPTIONS = frozenset(get_args(Corruption))


class Fault(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """As it is asked for. `source` may be `*`, or `media` for the hosts of pictures; `credential` is a fingerprint or the secret itself.

    `rate`: the share of calls hit. `seconds`: how long it stays. `times`: how many calls it hits before it goes.
    `days`: how old the numbers of a `corrupt` answer with the `body` stale are.
    `ways`: in which ways `corrupt` answers are false, instead of `body`; each of them equally often.
    `seed`: which calls are hit, and in which way, depends on it and on what is asked for, and no more on how many calls came before. The same
    call is then always answered in the same way.
    `malformed` is another word for `missing_key`, or for the kind that `variant` names.
    """

    kind: str
    source: str = "*"
    operation: str | None = None
    credential: str | None = None
    rate: float = 1.0
    seconds: float | None = None
    times: int | None = None
    status: int | None = None
    delay: float = 1.0
    retry_after: float | None = None
    days: float = 1.0
    body: Literal["html", "json", "host", "loop", "cut"] | Corruption | None = None
    ways: tuple[Corruption, ...] = ()
    seed: int | None = None
    variant: str | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.rate <= 1:
            raise ValueError("rate is a share between 0 and 1")
        if (
            (self.seconds is not None and self.seconds <= 0)
            or self.delay < 0
            or self.days <= 0
            or (self.times is not None and self.times < 1)
        ):
            raise ValueError("seconds, times and days are positive, delay is not negative")
        if self.status is not None and not 300 <= self.status <= 599:
            raise ValueError("status is one of an error, 300..599")
        if self.ways and (self.kind != FaultKind.CORRUPT or self.body is not None):
            raise ValueError("ways are those of a corrupt answer, and stand instead of its body")
        self.effect()

    @property
    def corruption(self) -> str:
        """In which way a `corrupt` answer is false."""
        return self.body if self.body is not None and self.body in CORRUPTIONS else "zero"

    def effect(self) -> FaultKind:
        """Raises `ValueError` with the kinds that exist."""
        name = (self.variant or FaultKind.MISSING_KEY) if self.kind == "malformed" else self.kind
        try:
            return FaultKind(name)
        except ValueError:
            raise ValueError(f"no fault kind {name!r}; there is: malformed, {', '.join(FaultKind)}") from None


class ActiveFault(msgspec.Struct, frozen=True, kw_only=True):
    """As it stands now. `credential` is a fingerprint: the board keeps no secret. `expires_in` is in seconds."""

    id: int
    kind: FaultKind
    fault: Fault
    hits: int
    expires_in: float | None


class _Standing:
    __slots__ = ("expires_at", "fault", "hits", "id", "kind")

    def __init__(self, number: int, fault: Fault, expires_at: float | None) -> None:
        self.id = number
        self.fault = fault
        self.kind = fault.effect()
        self.expires_at = expires_at
        self.hits = 0


class FaultBoard:
    """The first fault that matches a call hits it; the one set last is asked first."""

    def __init__(self, seed: int = 1, clock: Callable[[], float] = time.monotonic) -> None:
        self._chance = random.Random(seed)
        self._clock = clock
        self._standing: list[_Standing] = []
        self._last = 0

    def add(self, fault: Fault) -> ActiveFault:
        self._last += 1
        if fault.credential is not None and not _is_fingerprint(fault.credential):
            fault = msgspec.structs.replace(fault, credential=fingerprint(fault.credential))
        expires_at = None if fault.seconds is None else self._clock() + fault.seconds
        standing = _Standing(self._last, fault, expires_at)
        self._standing.insert(0, standing)
        return self._shown(standing)

    def remove(self, number: int) -> bool:
        before = len(self._standing)
        self._standing = [standing for standing in self._standing if standing.id != number]
        return len(self._standing) < before

    def clear(self, source: str | None = None) -> int:
        """Remove all, or a source's; returns how many."""
        before = len(self._standing)
        self._standing = [s for s in self._standing if source is not None and s.fault.source != source]
        return before - len(self._standing)

    def active(self) -> Sequence[ActiveFault]:
        self._expire()
        return [self._shown(standing) for standing in self._standing]

    def hit(self, source: str, operation: str, credential: str, asked: object = None) -> tuple[FaultKind, Fault] | None:
        """The fault that this call meets, with the one of its `ways` that it meets. Counts as a hit. `asked`: what the call asks for; calls that ask
        for the same are equal as text."""
        if not self._standing:
            return None
        self._expire()
        for standing in self._standing:
            fault = standing.fault
            chance = self._chance if fault.seed is None else random.Random(f"{fault.seed} {source} {operation} {asked}")
            if (
                fault.source in ("*", source)
                and fault.operation in (None, operation)
                and fault.credential in (None, credential)
                and (fault.rate >= 1 or chance.random() < fault.rate)
            ):
                standing.hits += 1
                if fault.times is not None and standing.hits >= fault.times:
                    self._standing.remove(standing)
                if fault.ways:
                    fault = msgspec.structs.replace(fault, body=chance.choice(fault.ways), ways=())
                return standing.kind, fault
        return None

    def _expire(self) -> None:
        now = self._clock()
        self._standing = [s for s in self._standing if s.expires_at is None or s.expires_at > now]

    def _shown(self, standing: _Standing) -> ActiveFault:
        left = None if standing.expires_at is None else standing.expires_at - self._clock()
        return ActiveFault(
            id=standing.id, kind=standing.kind, fault=standing.fault, hits=standing.hits, expires_in=left
        )


def _is_fingerprint(text: str) -> bool:
    return text == "none" or (len(text) == 12 and all(letter in "0123456789abcdef" for letter in text))
