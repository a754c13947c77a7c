"""What an error means to a script (the exit code) and to a person (one sentence)."""

import aiohttp
import psycopg
import redis
import sqlalchemy.exc

from beat_actors.cli.output import BAD_INPUT, FAILED, NOT_FOUND, UNAVAILABLE
from beat_actors.client import ApiError, Away, BadRequest, NotAllowed, NotThere
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

# The first of an error's classes that stands here decides.
EXIT: dict[type[BaseException], int] = {
    UnknownName: NOT_FOUND,
    BadInput: BAD_INPUT,
    BadSettings: BAD_INPUT,
    SecretMissing: BAD_INPUT,
    StorageUnavailable: UNAVAILABLE,
    RedisUnavailable: UNAVAILABLE,
    LimitsUnavailable: UNAVAILABLE,
    ObjectsUnavailable: UNAVAILABLE,
    aiohttp.ClientError: UNAVAILABLE,
    redis.RedisError: UNAVAILABLE,
    psycopg.OperationalError: UNAVAILABLE,
    sqlalchemy.exc.OperationalError: UNAVAILABLE,
    psycopg.errors.UndefinedTable: UNAVAILABLE,
    psycopg.errors.UndefinedColumn: UNAVAILABLE,
    OSError: UNAVAILABLE,
    NotFound: NOT_FOUND,
    ObjectMissing: NOT_FOUND,
    BadRequest: BAD_INPUT,
    NotAllowed: BAD_INPUT,
    NotThere: NOT_FOUND,
    Away: UNAVAILABLE,
    ApiError: FAILED,
    BeatError: FAILED,
}


UNKNOWN = frozenset({UnknownName.code, UnknownPlatform.code, UnknownFlow.code})
"""Codes of the API for names that nothing has."""


def exit_code(error: BaseException) -> int:
    """The same for an error here and for the API's answer to it."""
    if isinstance(error, BadRequest) and error.code in UNKNOWN:
        return NOT_FOUND
    return next((EXIT[kind] for kind in type(error).__mro__ if kind in EXIT), FAILED)


def sentence(error: BaseException) -> str:
    """A driver's message is cut to its first line and to what it means."""
    if isinstance(error, BeatError | ApiError):
        return str(error)
    if isinstance(error, psycopg.errors.UndefinedTable | psycopg.errors.UndefinedColumn):
        return "the database does not have the schema that this code needs: run `beat migrate`"
    told = said(getattr(error, "orig", None) or error)
    if isinstance(error, psycopg.OperationalError | sqlalchemy.exc.OperationalError):
        return f"PostgreSQL did not answer: {told}"
    if isinstance(error, redis.RedisError):
        return f"Redis does not answer: {told}"
    if isinstance(error, aiohttp.ClientError | OSError):
        return told
    return f"unexpected error ({type(error).__name__}: {told}); --debug shows where"
