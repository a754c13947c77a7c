"""What an error means to a script (the exit code) and to a person (one sentence).

Errors of drivers and of the client stand here by name: only a command that has loaded a driver can fail in it, and no other one loads it."""

from beat_actors.cli.output import BAD_INPUT, FAILED, NOT_FOUND, UNAVAILABLE
from beat_actors.errors import (
    BadInput,
    BadSettings,
    BeatError,
    LimitsUnavailable,
    NotFound,
    ObjectMissing,
    ObjectsUnavailable,
    RedisUnavailable,
    SecretMissing,
    StorageUnavailable,
    UnknownFlow,
    UnknownName,
    UnknownPlatform,
)
from beat_actors.logins import said

POSTGRES = ("psycopg.OperationalError", "sqlalchemy.exc.OperationalError")
NOT_MIGRATED = ("psycopg.errors.UndefinedTable", "psycopg.errors.UndefinedColumn")
REDIS, HTTP = "redis.exceptions.RedisError", "aiohttp.client_exceptions.ClientError"
API = "beat_actors.client.errors"

# The first of an error's classes that stands here decides.
EXIT: dict[type[BaseException] | str, int] = {
    UnknownName: NOT_FOUND,
    BadInput: BAD_INPUT,
    BadSettings: BAD_INPUT,
    SecretMissing: BAD_INPUT,
    StorageUnavailable: UNAVAILABLE,
    RedisUnavailable: UNAVAILABLE,
    LimitsUnavailable: UNAVAILABLE,
    ObjectsUnavailable: UNAVAILABLE,
    **dict.fromkeys((*POSTGRES, *NOT_MIGRATED, REDIS, HTTP), UNAVAILABLE),
    OSError: UNAVAILABLE,
    NotFound: NOT_FOUND,
    ObjectMissing: NOT_FOUND,
    f"{API}.BadRequest": BAD_INPUT,
    f"{API}.NotAllowed": BAD_INPUT,
    f"{API}.NotThere": NOT_FOUND,
    f"{API}.Away": UNAVAILABLE,
    f"{API}.ApiError": FAILED,
    BeatError: FAILED,
}


UNKNOWN = frozenset({UnknownName.code, UnknownPlatform.code, UnknownFlow.code})
"""Codes of the API for names that nothing has."""


def exit_code(error: BaseException) -> int:
    """The same for an error here and for the API's answer to it."""
    if _is(error, f"{API}.BadRequest") and getattr(error, "code", None) in UNKNOWN:
        return NOT_FOUND
    found = (EXIT.get(kind, EXIT.get(_name(kind))) for kind in type(error).__mro__)
    return next((code for code in found if code is not None), FAILED)


def sentence(error: BaseException) -> str:
    """A driver's message is cut to its first line and to what it means."""
    if isinstance(error, BeatError) or _is(error, f"{API}.ApiError"):
        return str(error)
    if _is(error, *NOT_MIGRATED):
        return "the database does not have the schema that this code needs: run `beat migrate`"
    told = said(getattr(error, "orig", None) or error)
    if _is(error, *POSTGRES):
        return f"PostgreSQL did not answer: {told}"
    if _is(error, REDIS):
        return f"Redis does not answer: {told}"
    if isinstance(error, OSError) or _is(error, HTTP):
        return told
    return f"unexpected error ({type(error).__name__}: {told}); --debug shows where"


def _is(error: BaseException, *names: str) -> bool:
    return any(_name(kind) in names for kind in type(error).__mro__)


def _name(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"
