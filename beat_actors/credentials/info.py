"""A credential as people see it: its state, what is known of its secret, what happened to it. Never the secret."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from beat_actors.database import Statements


@dataclass(frozen=True, slots=True)
class CredentialInfo:
    """A credential, without its secret.

    `shared`: it also serves the calls of all accounts that need no owner. `refreshes`: Beat renews its token. `expires_at`: when the token expires.
    `denied`: operations that the provider refuses to this credential; one call at `denied_until` tests whether the provider still refuses.
    `check_at`: when the next check is due; null if it is due now or never.
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
    """One entry of a credential's history."""

    at: datetime
    kind: str
    until: datetime | None
    cause: dict[str, Any] | None


SQL = Statements(__file__)
LIST = SQL("list", CredentialInfo)
RECORDED = SQL("recorded", CredentialEvent)
