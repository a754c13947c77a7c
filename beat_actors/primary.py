"""Connections to Redis that end where the server takes no writes: a replica after a fail-over, one that loads its data, one without its
replicas. The pool makes the next one anew, and by then the name may lead to the primary. Whatever ends a connection raises a `redis.RedisError`.
"""

from typing import Any, Final

import redis
from redis.asyncio import Connection as AsyncConnection
from redis.asyncio import SSLConnection as AsyncSSLConnection

NO_WRITES: Final = ("READONLY", "LOADING", "MASTERDOWN", "NOREPLICAS")
"""The first words of such a server's errors. A script's error has them somewhere in it."""


class WrongServer(redis.ConnectionError):
    """This Redis takes no writes; the connection to it was closed."""


def is_wrong_server(error: redis.RedisError) -> bool:
    return isinstance(
        error, redis.exceptions.ReadOnlyError | redis.exceptions.MasterDownError | redis.exceptions.BusyLoadingError
    ) or any(word in str(error) for word in NO_WRITES)


class _Ends:
    """Raises `WrongServer`, a connection error, where redis-py raises a response error and keeps the connection."""

    def read_response(self, *arguments: Any, **options: Any) -> Any:
        try:
            return super().read_response(*arguments, **options)  # type: ignore[misc]
        except redis.ResponseError as error:
            if not is_wrong_server(error):
                raise
            self.disconnect()  # type: ignore[attr-defined]
            raise WrongServer(f"Redis takes no writes: {error}") from None


class _AsyncEnds:
    """As `_Ends`, for asyncio. A write to a connection that was reset raises a connection error: uvloop's own is a `RuntimeError`, which nobody expects of
    a server that is away."""

    async def send_packed_command(self, *arguments: Any, **options: Any) -> None:
        try:
            await super().send_packed_command(*arguments, **options)  # type: ignore[misc]
        except RuntimeError as error:
            raise redis.ConnectionError(f"the connection to Redis was reset: {error}") from None

    async def read_response(self, *arguments: Any, **options: Any) -> Any:
        try:
            return await super().read_response(*arguments, **options)  # type: ignore[misc]
        except redis.ResponseError as error:
            if not is_wrong_server(error):
                raise
            await self.disconnect()  # type: ignore[attr-defined]
            raise WrongServer(f"Redis takes no writes: {error}") from None


class Primary(_Ends, redis.Connection):
    """A connection in clear."""


class PrimaryTls(_Ends, redis.SSLConnection):
    """A connection with TLS."""


class AsyncPrimary(_AsyncEnds, AsyncConnection):
    """A connection in clear, for asyncio."""


class AsyncPrimaryTls(_AsyncEnds, AsyncSSLConnection):
    """A connection with TLS, for asyncio."""


def primary(url: str) -> type[redis.Connection]:
    """The class of connections to this URL. redis-py lets the class that it is given decide about TLS, not the URL's scheme."""
    return PrimaryTls if _has_tls(url) else Primary


def async_primary(url: str) -> type[AsyncConnection]:
    """As `primary`, for asyncio."""
    return AsyncPrimaryTls if _has_tls(url) else AsyncPrimary


def _has_tls(url: str) -> bool:
    return url.lower().startswith("rediss:")
