"""Settings of what is kept: for how long, and in which bucket."""

from typing import Annotated, Self

from pydantic import Field, model_validator
from pydantic_settings import NoDecode

from beat_actors.json_setting import from_json
from beat_actors.metrics_settings import TraceSettings


class KeptSettings(TraceSettings):
    """Part of `settings.Settings`."""

    s3_endpoint_url: Annotated[
        str | None, Field(pattern=r"^https?://", description="URL of the S3 endpoint; default: AWS")
    ] = None
    s3_bucket: Annotated[
        str | None,
        Field(
            pattern=r"^[A-Za-z0-9._-]{3,255}$",
            description="bucket for objects; not set: raw payloads stay in PostgreSQL. The scheduler and `beat` need its credentials, in the usual AWS variables",
        ),
    ] = None
    asset_bucket: Annotated[
        str | None,
        Field(
            pattern=r"^[A-Za-z0-9._-]{3,255}$",
            description="bucket for copies of media (pictures and videos); its content is public, so use another bucket than BEAT_S3_BUCKET; not set: nothing is copied. Endpoint and region are those of BEAT_S3_BUCKET",
        ),
    ] = None
    s3_region: Annotated[
        str | None,
        Field(pattern=r"^[a-z0-9-]{1,64}$", description="region of the bucket; default: from the AWS variables"),
    ] = None
    s3_prefix: Annotated[
        str,
        Field(
            pattern=r"^([A-Za-z0-9._-]+/){0,8}$",
            max_length=200,
            description="prefix of all object keys; ends with a slash, or is empty",
        ),
    ] = "beat/"

    raw_payload_days: Annotated[int, Field(ge=1, le=3650, description="days for which raw payloads are kept")] = 7
    raw_payload_archive: Annotated[
        bool,
        Field(description="false writes no raw payloads to the bucket; payloads that are already there are still read"),
    ] = True
    raw_payload_database_days: Annotated[
        int,
        Field(
            ge=1,
            le=3650,
            description="full days before today for which PostgreSQL keeps raw payloads that are also in the bucket",
        ),
    ] = 1
    request_days: Annotated[
        int,
        Field(
            ge=1,
            le=3650,
            description="days for which ended requests, events, resolved alerts and quarantine entries are kept",
        ),
    ] = 90
    log_days: Annotated[
        int, Field(ge=1, le=3650, description="days for which the logs of calls, profiles, posts and changes are kept")
    ] = 90

    entity_days: Annotated[
        int | None,
        Field(
            ge=1,
            le=36_500,
            description="days after which entities (profiles, posts, comments, orders, …) that were not observed again are deleted; not set: entities are kept",
        ),
    ] = None

    served_age: Annotated[
        dict[Annotated[str, Field(pattern=r"^[a-z0-9_]+\.[a-z0-9-]+$")], Annotated[float, Field(gt=0)]],
        NoDecode,
        from_json("it must be JSON: {PLATFORM.KIND: SECONDS}"),
        Field(
            description='seconds after which a stored value is not served any more, as JSON: `{PLATFORM.KIND: SECONDS}`, such as `{"instagram.profiles": 2592000}`; reads get 202 and a refresh, or 503'
        ),
    ] = {}

    deploy: Annotated[
        str | None,
        Field(
            pattern=r"^[A-Za-z0-9._-]{1,64}$",
            description="name of what is deployed, such as the commit; rows name it beside the version of Beat, so that a restore can select what it has read",
        ),
    ] = None

    parser_canary: Annotated[
        dict[Annotated[str, Field(pattern=r"^[a-z0-9_-]+/[a-z0-9_]+$")], Annotated[float, Field(ge=0, le=1)]],
        NoDecode,
        from_json("it must be JSON: {SOURCE/OPERATION: SHARE}"),
        Field(
            description='share of the answers that an operation\'s next parser reads, as JSON: `{SOURCE/OPERATION: SHARE}`, such as `{"lama/profile_by_handle": 0.05}`; the default is none'
        ),
    ] = {}

    @model_validator(mode="after")
    def _two_buckets(self) -> Self:
        if self.asset_bucket is not None and self.asset_bucket == self.s3_bucket:
            raise ValueError(
                "BEAT_ASSET_BUCKET is the bucket of BEAT_S3_BUCKET. Media are public and raw payloads are not, so name another one"
            )
        return self
