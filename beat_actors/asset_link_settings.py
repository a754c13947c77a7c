"""Settings of the links to assets: what readers of the API get in media fields."""

from typing import Annotated, Self

from pydantic import Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict


class AssetLinkSettings(BaseSettings):
    """Part of `settings.Settings`."""

    model_config = SettingsConfigDict(env_prefix="BEAT_", extra="ignore", frozen=True, hide_input_in_errors=True)

    public_url: Annotated[
        str | None,
        Field(
            pattern=r"^https?://[^?#\s]+$",
            description="URL of the API as readers of its answers see it; not set: links to assets in answers are paths",
        ),
    ] = None
    asset_cloudfront_key_id: Annotated[
        str | None,
        Field(
            pattern=r"^[A-Z0-9]{5,64}$",
            description="id of the public key at CloudFront; if it is set, URLs under BEAT_ASSET_BASE_URL are signed",
        ),
    ] = None
    asset_cloudfront_key: Annotated[
        SecretStr | None,
        Field(description="the private key of BEAT_ASSET_CLOUDFRONT_KEY_ID: RSA, as PEM; `\\n` stands for a new line"),
    ] = None
    asset_cloudfront_seconds: Annotated[
        int, Field(ge=600, le=31_536_000, description="seconds for which a signed URL works at least")
    ] = 86_400

    @model_validator(mode="after")
    def _whole_key(self) -> Self:
        if (self.asset_cloudfront_key_id is None) != (self.asset_cloudfront_key is None):
            raise ValueError("set both BEAT_ASSET_CLOUDFRONT_KEY_ID and BEAT_ASSET_CLOUDFRONT_KEY, or neither")
        return self
