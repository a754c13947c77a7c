"""Settings of what is kept: for how long, and in which bucket."""

from typing import Annotated

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class KeptSettings(BaseSettings):
    """Part of `settings.Settings`."""

    model_config = SettingsConfigDict(env_prefix="BEAT_", extra="ignore", frozen=True, hide_input_in_errors=True)

    s3_endpoint_url: Annotated[str | None, Field(pattern=r"^https?://", description="S3 endpoint; default: AWS")] = None
    s3_bucket: Annotated[
        str | None,
        Field(
            pattern=r"^[A-Za-z0-9._-]{3,255}$",
            description="bucket of what is stored as objects; not set: raw payloads stay in PostgreSQL. Its credentials come from the usual AWS variables, and are for the scheduler and `beat`",
        ),
    ] = None
    s3_region: Annotated[
        str | None,
        Field(pattern=r"^[a-z0-9-]{1,64}$", description="region of the bucket; default: as AWS' variables say"),
    ] = None
    s3_prefix: Annotated[
        str,
        Field(
            pattern=r"^([A-Za-z0-9._-]+/){0,8}$",
            max_length=200,
            description="what the keys of all objects begin with; ends with a slash, or is empty",
        ),
    ] = "beat/"

    raw_payload_days: Annotated[int, Field(ge=1, le=3650, description="days that raw payloads are kept")] = 7
    raw_payload_archive: Annotated[
        bool,
        Field(
            description="false keeps raw payloads out of the bucket, where there is one; what lies there is read all the same"
        ),
    ] = True
    raw_payload_database_days: Annotated[
        int,
        Field(
            ge=1,
            le=3650,
            description="whole days before today of which PostgreSQL keeps the raw payloads that are in the bucket as well",
        ),
    ] = 1
    request_days: Annotated[
        int,
        Field(ge=1, le=3650, description="days that ended requests, events, resolved alerts and quarantine are kept"),
    ] = 90
    log_days: Annotated[
        int, Field(ge=1, le=3650, description="days that the logs of calls, profiles, posts and changes are kept")
    ] = 90

    entity_days: Annotated[
        int | None,
        Field(
            ge=1,
            le=36_500,
            description="days after which profiles, posts, comments, orders and all else that was not observed again is forgotten; not set: kept",
        ),
    ] = None
