"""A credential as people see it: its state, what is known of its secret, what happened to it. Never the secret."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from beat_actors.database import Statements


@dataclass(frozen=True, slots=True)
class CredentialInfo:
    """A credential as people see it; the secret is not part of it.

    `shared`: it also serves calls that need no owner, of all accounts. `expires_at` is its token's end where it `refreshes`; `denied`: operations that the provider does not let it do; one call looks at `denied_until` whether that is still so. `check_at` is NULL where the next check is at once, or never.
    """

    id: int
    platform: str
    source: str
    label: str
    owner: str | None
    shared: bool
    weight: int
    enabled: bool
    disabled_till: datetime | None
    disabled_reason: str | None
    dead_at: datetime | None
    dead_reason: str | None
    denied: list[str]
    denied_until: datetime | None
    ladder: int
    reported_remaining: int | None
    reported_reset_at: datetime | None
    key_id: str
    created_at: datetime
    scopes: list[str] | None
    expires_at: datetime | None
    data_access_expires_at: datetime | None
    check_at: datetime | None
    checked_at: datetime | None
    check_outcome: str | None
    check_detail: str | None
    refreshes: bool
    refreshed_at: datetime | None
    calls: int
    state: str


@dataclass(frozen=True, slots=True)
class CredentialEvent:
    """One line of a credential's flight recorder."""

    at: datetime
    kind: str
    until: datetime | None
    cause: dict[str, Any] | None


SQL = Statements(__file__)
LIST = SQL("list", CredentialInfo)
RECORDED = SQL("recorded", CredentialEvent)
