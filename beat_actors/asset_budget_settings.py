"""Settings of what assets may cost, and of what is told when they are deleted."""

from typing import Annotated

from pydantic import BaseModel, Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


class AssetPrices(BaseModel, frozen=True, extra="forbid"):
    """What assets cost, in one currency. The defaults are the public prices of S3 Standard (us-east-1, US dollars); fetching is free there."""

    put_1000: float = Field(default=0.005, ge=0, le=1000)
    stored_gb_month: float = Field(default=0.023, ge=0, le=1000)
    request_1000: float = Field(default=0.0, ge=0, le=1000)
    fetched_gb: float = Field(default=0.0, ge=0, le=1000)


class AssetBudgetSettings(BaseSettings):
    """Part of `settings.Settings`."""

    model_config = SettingsConfigDict(env_prefix="BEAT_", extra="ignore", frozen=True, hide_input_in_errors=True)

    asset_daily_requests: Annotated[
        int | None,
        Field(
            ge=1,
            le=10**12,
            description="maximum requests for assets to their origins per day (UTC), all processes together; not set: no limit. Less urgent classes stop before it",
        ),
    ] = None
    asset_daily_bytes: Annotated[
        int | None,
        Field(
            ge=1,
            le=10**18,
            description="maximum bytes of assets fetched from their origins per day (UTC), all processes together; not set: no limit",
        ),
    ] = None
    asset_prices: Annotated[
        AssetPrices | None,
        Field(
            description="prices for `beat assets costs`, as JSON: `{put_1000, stored_gb_month, request_1000, fetched_gb}` (a thousand PUTs, a GB stored for a month, a thousand requests to origins, a GB from there); the defaults are those of S3 Standard in us-east-1, in US dollars"
        ),
    ] = None
    asset_purge_url: Annotated[
        str | None,
        Field(
            pattern=r"^https?://",
            description="URL that gets a POST with `{paths: […]}` when objects of assets were deleted, so that a CDN deletes its copies; answers 2xx when that is done, else it is asked again",
        ),
    ] = None
    asset_purge_token: Annotated[
        SecretStr | None,
        Field(description="bearer token for BEAT_ASSET_PURGE_URL, only for the scheduler, which deletes objects"),
    ] = None
