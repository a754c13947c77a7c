"""The error hierarchy. Each class's docstring is the sentence that explains it; faces derive problem types and exit codes from it."""

from datetime import datetime
from typing import Any, ClassVar


class BeatError(Exception):
    """Something in Beat went wrong."""

    code: ClassVar[str] = "beat_error"


class BadInput(BeatError):
    """The input cannot be used as it is; the message names the field and what it should be."""

    code = "bad_input"

    def __init__(self, message: str, *, field: str | None = None) -> None:
        super().__init__(message)
        self.field = field


class UnknownPlatform(BadInput):
    """No platform of that name is registered."""

    code = "unknown_platform"


class UnknownFlow(BadInput):
    """The platform has no flow of that name."""

    code = "unknown_flow"


class NotFound(BeatError):
    """There is no such row."""

    code = "not_found"


class Unauthenticated(BeatError):
    """No key was given, or one that opens nothing here."""

    code = "unauthenticated"


class BadSettings(BeatError):
    """A BEAT_* variable has a value that cannot be used; nothing was started."""

    code = "bad_settings"


class StorageUnavailable(BeatError):
    """PostgreSQL did not answer in time; nothing was accepted or changed."""

    code = "storage_unavailable"


class RedisUnavailable(BeatError):
    """Redis did not answer in time; nothing was changed in it."""

    code = "redis_unavailable"


class VaultError(BeatError):
    """A secret could not be sealed or opened: the key is missing, or the ciphertext belongs to another credential."""

    code = "vault"


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
