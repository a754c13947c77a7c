"""A credential as people see it: its state, what is known of its secret, what happened to it. Never the secret."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

LIST = """
SELECT c.id, c.platform, c.source, c.label, c.owner, c.shared, c.weight, c.enabled, c.disabled_till, c.disabled_reason, c.dead_at, c.dead_reason,
       c.denied, c.denied_until, c.ladder, c.reported_remaining, c.reported_reset_at, c.key_id, c.created_at, c.scopes, c.expires_at,
       c.data_access_expires_at, c.check_at, c.checked_at, c.check_outcome, c.check_detail, c.refreshes, c.refreshed_at,
       coalesce(u.calls, 0) AS calls,
       CASE WHEN c.dead_at IS NOT NULL THEN 'dead' WHEN NOT c.enabled THEN 'disabled'
            WHEN c.disabled_till > clock_timestamp() THEN 'cooling'
            WHEN c.refreshes AND c.expires_at <= clock_timestamp() THEN 'refreshing'
            WHEN c.disabled_till IS NOT NULL THEN 'probing' ELSE 'ready' END AS state
FROM credential c LEFT JOIN credential_usage u ON u.subject = 'credential:' || c.id AND u.limit_name = 'total'
WHERE (%(source)s::text IS NULL OR c.source = %(source)s) AND (%(id)s::bigint IS NULL OR c.id = %(id)s) ORDER BY c.source, c.id
"""
RECORDED = "SELECT at, kind, until, cause FROM credential_event WHERE credential_id = %s ORDER BY id DESC LIMIT %s"


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
