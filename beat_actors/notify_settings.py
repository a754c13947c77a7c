"""Settings of notifications: sinks that an installation defines by its environment (BEAT_NOTIFY), and what sinks may be."""

from typing import Annotated, Literal

from pydantic import BaseModel, Field, SecretStr
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from beat_actors.json_setting import from_json


class NotifySink(BaseModel, frozen=True, extra="forbid", hide_input_in_errors=True):
    """A sink, as `beat notify add` takes it. `repeat`: seconds, 0: never."""

    kind: Literal["email", "slack", "pagerduty", "alertmanager", "webhook"]
    url: SecretStr | None = None
    key: SecretStr | None = None
    to: list[str] = []
    sender: str | None = None
    severity: Literal["info", "warning", "critical"] = "warning"
    platforms: list[str] | None = None
    hours: str | None = None
    days: str | None = None
    timezone: str = "UTC"
    group_by: Literal["all", "rule"] | None = None
    repeat: int | None = None
    resolved: bool = True


NotifySinks = Annotated[
    dict[Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")], NotifySink],
    NoDecode,
    from_json(
        "it must be JSON: {NAME: {kind, url, key, to, sender, severity, platforms, hours, days, timezone, group_by, repeat, resolved}}"
    ),
]
"""The type of the setting: sinks by name."""


class NotifySettings(BaseSettings):
    """Part of `settings.Settings`."""

    model_config = SettingsConfigDict(env_prefix="BEAT_", extra="ignore", frozen=True, hide_input_in_errors=True)

    notify: Annotated[
        NotifySinks | None,
        Field(
            description="sinks of notifications, as JSON: `{NAME: {kind, url, key, to, sender, severity, platforms, hours, days, timezone, group_by, "
            "repeat, resolved}}` ([notifications.md](notifications.md)). Set it only for deliverers, the same for all. `{}` removes the sinks that it "
            "had defined; not set: they stay"
        ),
    ] = None
    notify_allow_private: Annotated[
        bool,
        Field(
            description="also allows sinks of notifications that are added over the API to be at private addresses and unusual ports; use it only if "
            "everybody with the scope operate may reach these addresses"
        ),
    ] = False
    notify_ca_file: Annotated[
        str | None,
        Field(
            description="certificate authorities (PEM) that deliverers trust, in addition to the system's, when they send notifications"
        ),
    ] = None
