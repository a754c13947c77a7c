"""Every actor, in the worker process that runs them. It builds that process's broker, so nobody else imports it."""

from actors import (  # noqa: F401
    asset_variants,
    credential_broker,
    credentials,
    ingest,
    process,
    quarantine,
    retrieve,
    suspects,
    upload_assets,
)
