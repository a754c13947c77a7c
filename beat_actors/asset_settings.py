"""Settings of assets: where they are fetched from, and what that may take of this host."""

from typing import Annotated

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class AssetSettings(BaseSettings):
    """Part of `settings.Settings`."""

    model_config = SettingsConfigDict(env_prefix="BEAT_", extra="ignore", frozen=True, hide_input_in_errors=True)

    asset_origin: Annotated[
        str | None,
        Field(
            pattern=r"^https?://[^?#]+$",
            description="base URL that takes the place of scheme and host in the URLs of assets, and gets the host as the first segment of the path, "
            "for example http://127.0.0.1:8090/_cdn of a simulator; needs BEAT_ENVIRONMENT=rehearsal",
        ),
    ] = None
    asset_max_per_host: Annotated[
        int, Field(ge=1, le=10_000, description="maximum concurrent downloads of assets from one host, per process")
    ] = 200
    asset_memory_mb: Annotated[
        int,
        Field(
            ge=32,
            le=65_536,
            description="maximum megabytes of pictures that one process holds in memory; further downloads wait",
        ),
    ] = 192
    asset_disk_mb: Annotated[
        int,
        Field(
            ge=256,
            le=1_048_576,
            description="maximum megabytes of videos that one process holds in temporary files; further downloads wait",
        ),
    ] = 2048
