"""Settings of the metrics."""

from typing import Annotated

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class MetricsSettings(BaseSettings):
    """Part of `settings.Settings`."""

    model_config = SettingsConfigDict(env_prefix="BEAT_", extra="ignore", frozen=True, hide_input_in_errors=True)

    metrics_listen: Annotated[
        str | None,
        Field(
            pattern=r"^[^\s/]+:\d{1,5}$",
            description="address (`host:port`) at which each scheduler also serves `/metrics`, without a key; default: only the API serves it, with a key of the scope `metrics`",
        ),
    ] = None
