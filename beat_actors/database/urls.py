"""URLs of databases. Apart from the migrations, so that a worker starts without Alembic."""


def driver_url(url: str) -> str:
    """The same URL, naming the driver for SQLAlchemy."""
    scheme, _, rest = url.partition("://")
    return f"postgresql+psycopg://{rest}" if scheme in ("postgres", "postgresql") else url
