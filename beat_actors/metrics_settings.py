"""Settings of what operators see from outside: metrics and traces."""

from typing import Annotated, Literal

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from beat_actors.json_setting import from_json


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


class TraceSettings(MetricsSettings):
    """Part of `settings.Settings`."""

    otlp_endpoint: Annotated[
        str | None,
        Field(
            pattern=r"^https?://[^\s?#@]+$",
            description="base URL of an OpenTelemetry collector, such as `http://collector:4318`; traces are posted to `/v1/traces` below it, as OTLP "
            "over HTTP. Set it for the scheduler. Not set: no traces are made ([traces.md](traces.md))",
        ),
    ] = None
    otlp_headers: Annotated[
        SecretStr | None,
        Field(
            description="headers of each such call, as `name=value,name=value`, with percent-encoding in the values; usually a key of the collector. Set it for the scheduler alone"
        ),
    ] = None
    trace_sample: Annotated[
        float,
        Field(
            ge=0,
            le=1,
            description="share of the requests whose traces are exported, beside those that failed, were slow, or that their caller sampled",
        ),
    ] = 0.01
    trace_asked: Annotated[
        float,
        Field(
            ge=0,
            le=1,
            description="share of the requests that their caller sampled whose traces are exported for that reason; the trace id decides",
        ),
    ] = 1.0
    trace_slow: Annotated[
        dict[Literal["customer", "standard", "batch"], Annotated[float, Field(gt=0)]],
        NoDecode,
        from_json("it must be JSON: {PRIORITY: SECONDS}"),
        Field(
            description="seconds after which a request is slow, so that its trace is exported, as JSON: `{PRIORITY: SECONDS}`; a priority that is not named has no limit"
        ),
    ] = {"customer": 30, "standard": 900}

    @field_validator("otlp_headers")
    @classmethod
    def _headers(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            from beat_actors.traces.headers import headers_of

            headers_of(value.get_secret_value())
        return value
