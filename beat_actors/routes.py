"""How calls to a provider leave: to which base URL, through which proxy, trusting which authorities, under which user agent.

`BEAT_SOURCES` has them by source; the entry `*` holds for all sources, and each source's own entry goes before it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, Field, SecretStr, field_validator
from pydantic_settings import NoDecode

from beat_actors.json_setting import from_json

ALL = "*"
"""The entry that holds for every source."""
ASSETS = "assets"
"""The entry for downloads of pictures and videos, from whatever host."""
PROXIES = frozenset({"http", "https", "socks4", "socks5"})
LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
USER_AGENT = "beat/0.1"


class SourceSettings(BaseModel, frozen=True, extra="forbid", hide_input_in_errors=True):
    """What an installation sets for one source. A field that is not named keeps its default."""

    base_url: str | None = None
    simulated: bool | None = None
    proxy: SecretStr | None = None
    ca_file: str | None = None
    user_agent: Annotated[str | None, Field(pattern=r"^[\x20-\x7e]{1,200}$")] = None

    @field_validator("base_url")
    @classmethod
    def _base_url(cls, value: str | None) -> str | None:
        if value is None:
            return None
        parts = urlsplit(value)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
            raise ValueError(
                "base_url is an http or https URL without a query, such as https://gateway.example.com/graph"
            )
        if parts.scheme == "http" and parts.hostname not in LOOPBACK:
            raise ValueError("base_url is https, because the provider's key goes there; http is for this host alone")
        return value.rstrip("/")

    @field_validator("proxy")
    @classmethod
    def _proxy(cls, value: SecretStr | None) -> SecretStr | None:
        if value is None or not value.get_secret_value():
            return value
        try:
            parts = urlsplit(value.get_secret_value())
            is_whole = parts.scheme in PROXIES and bool(parts.hostname) and parts.port is not None
        except ValueError:
            is_whole = False
        if not is_whole:
            raise ValueError(
                "proxy is a URL with a port, such as http://user:password@proxy.example.com:3128 or socks5://127.0.0.1:1080"
            )
        return value


def _one_base_each(value: dict[str, SourceSettings]) -> dict[str, SourceSettings]:
    if ALL in value and value[ALL].base_url is not None:
        raise ValueError(f"base_url belongs to one source and not to {ALL!r}")
    if ASSETS in value and value[ASSETS].base_url is not None:
        raise ValueError(
            f"{ASSETS!r} has no base_url, because assets come from many hosts; a rehearsal sets BEAT_ASSET_ORIGIN"
        )
    return value


Sources = Annotated[dict[str, SourceSettings], NoDecode, from_json("it is not JSON"), AfterValidator(_one_base_each)]
"""The type of the setting."""


@dataclass(frozen=True, slots=True)
class Route:
    """How the calls of one source leave. `simulated`: to the simulator. `base_url`: in the place of the provider's own; `None`: the own."""

    simulated: bool
    base_url: str | None
    proxy: SecretStr | None
    ca_file: str | None
    user_agent: str

    @property
    def through(self) -> str | None:
        """The proxy without its password, for people."""
        if self.proxy is None:
            return None
        parts = urlsplit(self.proxy.get_secret_value())
        return f"{parts.scheme}://{parts.hostname}:{parts.port}"


def route(sources: Mapping[str, SourceSettings], simulator_url: str | None, source: str) -> Route:
    """The route of a source. An empty `proxy` or `ca_file` of its own takes back what `*` says.

    A source whose own entry names a `base_url` is not simulated, unless the entry says so.
    """
    common, own = sources.get(ALL, SourceSettings()), sources.get(source, SourceSettings())
    if own.simulated is not None:
        wanted = own.simulated
    elif own.base_url is not None:
        wanted = False
    else:
        wanted = common.simulated is not False
    is_simulated = simulator_url is not None and wanted
    proxy = own.proxy if own.proxy is not None else common.proxy
    ca_file = own.ca_file if own.ca_file is not None else common.ca_file
    return Route(
        simulated=is_simulated,
        base_url=f"{simulator_url.rstrip('/')}/{source}" if is_simulated and simulator_url else own.base_url,
        # The simulator is this installation's own: no proxy lies between.
        proxy=None if is_simulated or proxy is None or not proxy.get_secret_value() else proxy,
        ca_file=None if is_simulated or not ca_file else ca_file,
        user_agent=own.user_agent or common.user_agent or USER_AGENT,
    )
