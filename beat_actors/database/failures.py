"""What an error of PostgreSQL means for its caller: its connection is of no use any more, it has much to do, or it refuses.

Everything else is a fault of the statement, and is raised as it is.
"""

import psycopg

from beat_actors.errors import (
    StorageBrokenOff,
    StorageContended,
    StorageForbidden,
    StorageLost,
    StorageReadOnly,
    StorageUnavailable,
)
from beat_actors.logins import said

UNAVAILABLE = (
    psycopg.OperationalError,
    psycopg.InterfaceError,
    # What a process finds that was stopped in the middle of a transaction, and woke up too late.
    psycopg.errors.IdleInTransactionSessionTimeout,
)
# What PostgreSQL breaks off for another transaction's sake. The same may be done again, and be well.
CONTENDED = (
    psycopg.errors.DeadlockDetected,
    psycopg.errors.SerializationFailure,
    psycopg.errors.LockNotAvailable,
)
READ_ONLY = "25006"
# transaction_timeout, of PostgreSQL 17; it ends the session.
TRANSACTION_TIMEOUT = "25P04"
PRIVILEGE, LOGIN = "42501", "28"
# What comes of them where a pooler gives out sessions by the transaction and does not know of them.
PREPARED_ELSEWHERE = (psycopg.errors.DuplicatePreparedStatement, psycopg.errors.InvalidSqlStatementName)
STANDBY = "session is read-only"
"""libpq's words for a server that `target_session_attrs` does not allow."""


def meaning(error: psycopg.Error, *, sent: bool) -> StorageUnavailable | None:
    """The error as it is for the caller; `None` for a fault of the statement. `sent`: the connection stood, and something may have been
    done over it."""
    state, words = error.sqlstate or "", said(error)
    if isinstance(error, PREPARED_ELSEWHERE):
        return StorageUnavailable(
            f"a pooler before PostgreSQL mixes up prepared statements ({words}): "
            "set BEAT_DATABASE_PREPARED_STATEMENTS=false, or use PgBouncer 1.22 with max_prepared_statements"
        )
    if state == READ_ONLY or STANDBY in str(error):
        return StorageReadOnly(
            f"PostgreSQL takes no writes ({words}): it is a standby, in recovery or set to be read only; "
            "let BEAT_DATABASE_URL lead to the primary"
        )
    if isinstance(error, CONTENDED):
        return StorageContended(f"PostgreSQL broke the transaction off: {words}")
    if state == PRIVILEGE:
        return StorageForbidden(
            f"PostgreSQL answers, and refuses: {words}; give the role its privileges: `beat migrate`"
        )
    if state.startswith(LOGIN) or (not sent and _is_login(words)):
        return StorageForbidden(f"PostgreSQL answers, and refuses the login: {words}; correct BEAT_DATABASE_URL")
    if isinstance(error, psycopg.errors.QueryCanceled):
        return StorageBrokenOff(f"PostgreSQL did not answer: {words}")
    if isinstance(error, UNAVAILABLE) or state == TRANSACTION_TIMEOUT:
        # What the server says of itself, it says instead of doing it.
        kind = StorageLost if sent and error.sqlstate is None else StorageUnavailable
        return kind(f"PostgreSQL did not answer: {words}")
    return None


def _is_login(words: str) -> bool:
    """Errors of a connection that was not made carry no state, only the server's words."""
    return (
        "password authentication failed" in words
        or "no pg_hba.conf entry" in words
        or "permission denied for database" in words
    )
