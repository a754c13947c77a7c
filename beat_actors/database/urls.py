"""URLs of databases. Apart from the migrations, so that a worker starts without Alembic."""

from typing import Any

from psycopg.conninfo import conninfo_to_dict

DRIVER = "postgresql+psycopg://"
"""What SQLAlchemy is told; where to connect, it is told by `connect_args`."""


def connect_args(url: str) -> dict[str, Any]:
    """The URL as libpq's parameters, so that all that libpq reads can be in it: several hosts, `target_session_attrs`, `sslmode`.

    Raises `psycopg.ProgrammingError` for what libpq cannot read.
    """
    scheme, separator, rest = url.partition("://")
    return conninfo_to_dict(f"{scheme.partition('+')[0]}{separator}{rest}")
