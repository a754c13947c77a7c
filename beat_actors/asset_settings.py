"""Settings of assets: where they are fetched from, what that may take of this host, and what those get who read them."""

from typing import Annotated

from pydantic import Field, field_validator
from pydantic_settings import SettingsConfigDict

from beat_actors.asset_budget_settings import AssetBudgetSettings


class AssetSettings(AssetBudgetSettings):
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
    asset_uploads: Annotated[
        int,
        Field(
            ge=1,
            le=50_000,
            description="maximum uploads of assets in flight, per process; a process with fewer descriptors (`ulimit -n`) has fewer",
        ),
    ] = 5000
    asset_uploads_per_second: Annotated[
        int | None,
        Field(
            ge=1,
            le=100_000,
            description="maximum uploads of assets that one process begins per second, where it shares its host with workers; not set: no limit",
        ),
    ] = None
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
    asset_base_url: Annotated[
        str | None,
        Field(
            pattern=r"^https?://[^?#\s]+$",
            description="URL under which readers get the objects of BEAT_ASSET_BUCKET, usually that of a CDN; not set: the API sends the bytes itself",
        ),
    ] = None
    asset_cold_reads: Annotated[
        int,
        Field(
            ge=0,
            le=1_000_000,
            description="pictures per minute that readers without a key may cause to be fetched or made before their turn, all together; 0: none",
        ),
    ] = 600
    asset_cold_reads_of_network: Annotated[
        int,
        Field(
            ge=0,
            le=1_000_000,
            description="the same for the readers of one network (IPv4: /24, IPv6: /48)",
        ),
    ] = 120
    asset_cold_refetches: Annotated[
        int,
        Field(
            ge=0,
            le=1_000_000,
            description="expired assets per minute for which readers without a key may cause a call to a provider, which an account pays for, all together; "
            "one network may cause a fifth of it; 0: none",
        ),
    ] = 10
    api_proxies: Annotated[
        int,
        Field(
            ge=0,
            le=10,
            description="number of proxies of your own in front of the API, each of which adds to the header `X-Forwarded-For`; needed to tell apart readers without a key",
        ),
    ] = 0

    @field_validator("asset_base_url", mode="before")
    @classmethod
    def _empty_is_unset(cls, value: object) -> object:
        """docker-compose.yml sets it to nothing where it is not set."""
        return value or None
