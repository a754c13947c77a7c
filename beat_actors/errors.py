"""The error hierarchy. Each class's docstring is the sentence that explains it; faces derive problem types and exit codes from it."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar


class BeatError(Exception):
    """Something went wrong

    The base of all errors of Beat.
    """

    code: ClassVar[str] = "beat_error"


class BadInput(BeatError):
    """Invalid request

    The message names the field and what it must be.
    """

    code = "bad_input"

    def __init__(self, message: str, *, field: str | None = None) -> None:
        super().__init__(message)
        self.field = field


class UnknownName(BadInput):
    """Unknown name

    Nothing has this name; the message lists the names that exist.
    """

    code = "unknown_name"


class UnknownPlatform(UnknownName):
    """Unknown platform

    No platform of that name is registered.
    """

    code = "unknown_platform"


class UnknownFlow(UnknownName):
    """Unknown flow

    The platform has no flow of that name.
    """

    code = "unknown_flow"


class NotFound(BeatError):
    """Not found

    The row does not exist, or the caller may not see it.
    """

    code = "not_found"


class NotGranted(NotFound):
    """Owner not granted

    The account may not use this owner, so nothing of it can be asked for.
    """

    code = "owner_not_granted"


class SubjectErased(BeatError):
    """Person erased

    The person's data were erased, and are not collected again until an operator lifts the erasure.
    """

    code = "subject_erased"

    def __init__(self, platform: str) -> None:
        super().__init__(
            f"the data of this person were erased at {platform}, and are not collected again; nothing was accepted. An operator can lift the "
            f"erasure: `beat erase lift {platform} SUBJECT --reason …`"
        )


class NotFresh(BeatError):
    """No fresh data

    What is known is older than was asked for, and no refresh is in progress.

    `retry_after` is in seconds, `None` where waiting alone does not help.
    """

    code = "not_fresh"

    def __init__(self, message: str, *, retry_after: float | None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class CursorExpired(BeatError):
    """Cursor expired

    What the cursor points at is no longer kept, so changes may be missing.
    """

    code = "cursor_expired"


class Unauthenticated(BeatError):
    """Missing or invalid API key"""

    code = "unauthenticated"


class Forbidden(BeatError):
    """Not allowed for this API key

    `scope` is the scope that the key lacks, `None` where no scope would help.
    """

    code = "forbidden"

    def __init__(self, message: str, *, scope: str | None = None) -> None:
        super().__init__(message)
        self.scope = scope


class Conflict(BeatError):
    """Conflict with the current state

    The row is in a state that does not allow the change.
    """

    code = "conflict"


class KeyReused(Conflict):
    """Idempotency key already used for another request"""

    code = "idempotency_key_reused"


class BadSettings(BeatError):
    """A BEAT_* variable has a value that cannot be used; nothing was started."""

    code = "bad_settings"


class SecretMissing(BeatError):
    """Secret missing

    This process was started without a secret that the work needs; nothing was done.
    """

    code = "secret_missing"


class StorageUnavailable(BeatError):
    """PostgreSQL unavailable

    PostgreSQL did not answer in time; nothing was accepted or changed.
    """

    code = "storage_unavailable"


class StorageReadOnly(StorageUnavailable):
    """PostgreSQL unavailable

    This PostgreSQL takes no writes: it is a standby, in recovery, or set to be read only; nothing was accepted or changed.
    """


class StorageForbidden(StorageUnavailable):
    """PostgreSQL unavailable

    PostgreSQL refuses this login, or its role lacks a privilege; nothing was accepted or changed.
    """


class StorageTooSlow(StorageUnavailable):
    """PostgreSQL unavailable

    PostgreSQL did not answer in time; whether it did what was asked is not known.
    """


class StorageBrokenOff(StorageUnavailable):
    """PostgreSQL unavailable

    PostgreSQL broke a statement off, for its time limit or by hand; nothing was changed.
    """


class StorageLost(StorageUnavailable):
    """PostgreSQL unavailable

    The connection to PostgreSQL was lost; whether it did what was asked is not known.
    """


class StorageContended(StorageUnavailable):
    """PostgreSQL unavailable

    PostgreSQL broke the transaction off in favour of another one; nothing was changed, and the same may be done again.
    """


class RedisUnavailable(BeatError):
    """Redis unavailable

    Redis did not answer in time; nothing was changed in it.
    """

    code = "redis_unavailable"


class ObjectsUnavailable(BeatError):
    """The bucket did not answer in time, or refused; whether it did what was asked is not known.

    `reason`: the bucket's own code, as `NoSuchBucket`; `unreachable`, or `no_credentials`.
    """

    code = "objects_unavailable"

    def __init__(self, message: str, *, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


class ObjectMissing(BeatError):
    """The bucket has no such object, or it ends before the bytes that were asked for."""

    code = "object_missing"


class LimitsUnavailable(BeatError):
    """Limits unavailable

    Redis timed out, so the remaining quota is unknown; nothing was accepted or changed.
    """

    code = "limits_unavailable"


@dataclass(frozen=True, slots=True)
class Standing:
    """How a limit stands for one request: what is left to it, and the seconds until more is (0 where the window is empty)."""

    name: str
    calls: int
    seconds: int
    left: int
    renews_in: float
    per_subject: bool


class RateLimitError(BeatError):
    """Concurrency Limit Exceeded

    A limit of the stack has no room for an on-demand request, so nothing was taken from any of them. `limit` names the one that
    has room again last, after `retry_after` seconds; `standings` is how all of them stand.
    """

    code = "rate_limited"
    MESSAGE = "Concurrency Limit Exceeded"
    NUMBER = 2
    """The code by which clients have always known this refusal."""

    def __init__(
        self, limit: str, retry_after: float, standings: Sequence[Standing], *, per_subject: bool = False
    ) -> None:
        super().__init__(
            f"{self.MESSAGE}: {limit} has no room for {math.ceil(retry_after)} s; nothing was accepted or counted"
        )
        self.limit = limit
        self.retry_after = retry_after
        self.standings = standings
        self.per_subject = per_subject


class TooManyTests(BeatError):
    """Too many test events

    A webhook or its account was sent as many test events as a minute allows.
    """

    code = "too_many_tests"

    def __init__(self, message: str, *, seconds: int) -> None:
        super().__init__(message)
        self.seconds = seconds


class TooManyOpen(BeatError):
    """Too many open requests

    An account, or a key without one, has as many open requests as it may have.
    """

    code = "too_many_open"

    def __init__(self, most: int, count: int, wanted: int, *, seconds: int) -> None:
        super().__init__(
            f"{most} requests may be open at a time; {count} are, and this call adds {wanted}, so nothing was accepted. Wait for requests to "
            "end, cancel some, send fewer, or ask the operator for more."
        )
        self.seconds = seconds


class VaultError(BeatError):
    """A secret could not be sealed or opened: the key is missing, or the ciphertext belongs to another credential."""

    code = "vault"


class VaultKeyMissing(VaultError):
    """This process was started without the key that a secret is sealed with; other processes may hold it."""


class KeyNotEverywhere(VaultError):
    """Processes that live do not hold the vault's new key yet; nothing was sealed with it."""


class NoAvailableSources(BeatError):
    """Every source that could answer is out for now; `earliest_at` is when the first of them may be back."""

    code = "no_available_sources"
    MESSAGE = "No source is available at the moment"

    def __init__(self, earliest_at: datetime | None, reasons: list[dict[str, Any]]) -> None:
        super().__init__(self.MESSAGE)
        self.earliest_at = earliest_at
        self.reasons = reasons


class Malformed(BeatError):
    """A provider's answer does not have the shape that its parser needs; `path` points at the key."""

    code = "malformed"

    def __init__(self, message: str, *, path: str = "$") -> None:
        super().__init__(f"{message} - at `{path}`" if "at `" not in message else message)
        self.path = path


class Missing(BeatError):
    """The provider answered properly, and what was asked for does not exist."""

    code = "missing"


class Private(BeatError):
    """The provider answered properly, and what was asked for is not public."""

    code = "private"


class DeadlineExceeded(BeatError):
    """The work did not end within its deadline."""

    code = "deadline_exceeded"


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """The error, and what it was raised from, each once: two errors may each be raised from the other. aiohttp keeps what a socket raised as `os_error`."""
    seen = set[int]()
    while error is not None and id(error) not in seen:
        yield error
        seen.add(id(error))
        error = getattr(error, "os_error", None) or error.__cause__
