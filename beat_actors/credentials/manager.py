"""CredentialManager: everything that people and stages do with credentials, save choosing one, which is the broker's turn."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from random import Random
from typing import Any

from beat_actors.credentials.decision import Desk
from beat_actors.credentials.state import Lane
from beat_actors.credentials.store import load_snapshot, lock
from beat_actors.credentials.vault import Revealed, Vault
from beat_actors.database import Database, Transaction, columns, jsonb
from beat_actors.errors import BadInput, NoAvailableSources, NotFound
from beat_actors.platforms.interface import Source
from beat_actors.platforms.registry import platforms
from beat_actors.requests.intake import check_text

# A duplicate is found by its fingerprint; the id is drawn first because the seal is bound to it.
INSERT = """
INSERT INTO credential (id, platform, source, label, owner, fingerprint, key_id, secret, weight)
OVERRIDING SYSTEM VALUE VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)
ON CONFLICT (source, fingerprint) DO NOTHING RETURNING id
"""
LIST = """
SELECT c.id, c.platform, c.source, c.label, c.owner, c.weight, c.enabled, c.disabled_till, c.disabled_reason, c.dead_at, c.dead_reason,
       c.denied, c.ladder, c.reported_remaining, c.reported_reset_at, c.key_id, c.created_at, coalesce(u.calls, 0) AS calls,
       CASE WHEN c.dead_at IS NOT NULL THEN 'dead' WHEN NOT c.enabled THEN 'disabled'
            WHEN c.disabled_till > clock_timestamp() THEN 'cooling' WHEN c.disabled_till IS NOT NULL THEN 'probing'
            ELSE 'ready' END AS state
FROM credential c LEFT JOIN credential_usage u ON u.subject = 'credential:' || c.id AND u.limit_name = 'total'
WHERE (%(source)s::text IS NULL OR c.source = %(source)s) ORDER BY c.source, c.id
"""
EVENT = "INSERT INTO credential_event (credential_id, kind, until, cause) VALUES (%s, %s, NULL, %s)"
SECRETS = "SELECT id, source, key_id, secret FROM credential WHERE id = ANY(%s)"
# What waits may have waited for just this credential: the next turn looks at every lane again.
UNBLOCK = "UPDATE lane SET blocked_until = clock_timestamp() WHERE platform = %s AND reasons IS NOT NULL"


@dataclass(frozen=True, slots=True)
class CredentialInfo:
    """A credential as people see it; the secret is not part of it."""

    id: int
    platform: str
    source: str
    label: str
    owner: str | None
    weight: int
    enabled: bool
    disabled_till: datetime | None
    disabled_reason: str | None
    dead_at: datetime | None
    dead_reason: str | None
    denied: list[str]
    ladder: int
    reported_remaining: int | None
    reported_reset_at: datetime | None
    key_id: str
    created_at: datetime
    calls: int
    state: str


class CredentialManager:
    def __init__(self, database: Database, vault: Vault) -> None:
        self.database = database
        self.vault = vault

    async def add(
        self, source: str, secret: Mapping[str, str], *, label: str = "", weight: int = 1
    ) -> tuple[int, bool]:
        """Seal and store a credential; (id, whether it is new). It is used from the broker's next turn on.

        Raises `BadInput` for an unknown source, a missing or superfluous secret field, or a weight outside 1..10,000.
        """
        platform, declared = source_named(source)
        fields = declared.secret_fields
        if set(secret) != set(fields) or not all(secret.values()):
            raise BadInput(
                f"a credential of {source} has the fields {', '.join(fields)}, none of them empty", field="secret"
            )
        for name, value in secret.items():
            check_text(value, name, longest=4096)
        declared.check_secret(secret)
        check_text(label, "label", longest=200)
        if not 1 <= weight <= 10_000:
            raise BadInput(f"weight is 1 to 10000, not {weight}", field="weight")
        fingerprint = self.vault.fingerprint(source, secret)
        async with self.database.transaction() as transaction:
            known = await transaction.value(
                "SELECT id FROM credential WHERE source = %s AND fingerprint = %s", (source, fingerprint)
            )
            if known is not None:
                return known, False
            new_id = await transaction.value("SELECT nextval(pg_get_serial_sequence('credential', 'id'))")
            key_id, sealed = self.vault.seal(new_id, source, secret)
            called, owner = label or f"{source} {new_id}", declared.owner(secret)
            values = (new_id, platform, source, called, owner, fingerprint, key_id, sealed, weight)
            if await transaction.value(INSERT, values) is None:
                known = await transaction.value(
                    "SELECT id FROM credential WHERE source = %s AND fingerprint = %s", (source, fingerprint)
                )
                return known, False
            await transaction.run(EVENT, (new_id, "added", jsonb({"label": label})))
            await transaction.run(UNBLOCK, (platform,))
            return new_id, True

    async def overview(self, source: str | None = None) -> Sequence[CredentialInfo]:
        async with self.database.transaction() as transaction:
            return [CredentialInfo(**row._asdict()) for row in await transaction.rows(LIST, {"source": source})]

    async def enable(self, credential_id: int, *, reason: str) -> None:
        """Back into use at once: enabled, no rest left, alive. The next call shows whether the provider agrees."""
        await self._change(
            credential_id,
            "enabled",
            "enabled = true, disabled_till = NULL, disabled_reason = NULL, dead_at = NULL, dead_reason = NULL, "
            "denied = '{}', probing = false",
            reason,
        )

    async def disable(self, credential_id: int, *, reason: str) -> None:
        """Out of use from the broker's next turn on, until it is enabled by hand."""
        await self._change(credential_id, "disabled", "enabled = false", reason)

    async def reset(self, credential_id: int, *, reason: str) -> None:
        """End a rest now, and start again at the foot of the ladder."""
        await self._change(
            credential_id,
            "reset",
            "disabled_till = NULL, disabled_reason = NULL, ladder = 0, ladder_at = NULL, probing = false, "
            "reported_remaining = NULL, reported_reset_at = NULL",
            reason,
        )

    async def rotate_keys(self, *, batch: int = 200) -> int:
        """Seal again, with the ring's first key, whatever another key sealed; returns how many. Calls go on meanwhile."""
        rotated = 0
        while True:
            async with self.database.transaction() as transaction:
                rows = await transaction.rows(
                    "SELECT id, source, key_id, secret FROM credential WHERE key_id <> %s ORDER BY id LIMIT %s FOR UPDATE",
                    (self.vault.sealing_key_id, batch),
                )
                if not rows:
                    return rotated
                sealed = []
                for row in rows:
                    opened = self.vault.open(row.id, row.source, row.key_id, row.secret)
                    sealed.append((row.id, *self.vault.seal(row.id, row.source, opened)))
                rotated += await transaction.run(
                    "UPDATE credential c SET key_id = n.key_id, secret = n.secret "
                    "FROM unnest(%s::bigint[], %s::text[], %s::bytea[]) AS n(id, key_id, secret) WHERE c.id = n.id",
                    columns(sealed, 3),
                )

    async def reveal(self, transaction: Transaction, ids: Collection[int]) -> dict[int, Revealed]:
        """Open these secrets, for the call that is about to be made and nothing else."""
        rows = await transaction.rows(SECRETS, (list(ids),))
        return {row.id: self.vault.open(row.id, row.source, row.key_id, row.secret) for row in rows}

    async def fetch_enabled_sources(
        self, platform: str, operation: str, *, exclusions: Collection[str] = ()
    ) -> list[str]:
        """The sources of the operation's chain that could be called now, in the chain's order, without `exclusions`."""
        async with self.database.transaction() as transaction:
            snapshot = await load_snapshot(transaction, platforms()[platform])
        desk = Desk(snapshot, Random(0))
        chain = platforms()[platform].chains[operation]
        return [
            source for source in chain if source not in exclusions and desk.has_room(Lane(0, operation, 1, (source,)))
        ]

    async def get_enabled_cred(self, platform: str, operation: str, *, exclusions: Collection[str] = ()) -> int:
        """The id of a credential that the broker could lease now, chosen as it would choose. Nothing is charged.

        Raises `NoAvailableSources` with the reasons for each credential and the earliest time at which one may be back.
        """
        async with self.database.transaction() as transaction:
            snapshot = await load_snapshot(transaction, platforms()[platform])
        chain = tuple(source for source in platforms()[platform].chains[operation] if source not in exclusions)
        desk, lane = Desk(snapshot, Random()), Lane(0, operation, 1, chain)
        lease = desk.pick(lane, 0)
        if lease is None:
            blocked = desk.blocked(lane)
            earliest = datetime.fromtimestamp(blocked.until).astimezone() if blocked.until is not None else None
            raise NoAvailableSources(earliest, [reason.to_json() for reason in blocked.reasons])
        return lease.credential_id

    async def _change(self, credential_id: int, kind: str, assignments: str, reason: str) -> None:
        check_text(reason, "reason", longest=1000)
        async with self.database.transaction() as transaction:
            platform = await transaction.value("SELECT platform FROM credential WHERE id = %s", (credential_id,))
            if platform is None:
                raise NotFound(f"there is no credential {credential_id}; `beat credentials list` shows them")
            await lock(transaction, platform)  # a turn that is under way would write back what it had read
            await transaction.run(
                f"UPDATE credential SET {assignments}, updated_at = clock_timestamp() WHERE id = %s",  # noqa: S608 - the assignments are this module's own text
                (credential_id,),
            )
            await transaction.run(EVENT, (credential_id, kind, jsonb({"reason": reason})))
            await transaction.run(UNBLOCK, (platform,))


def source_named(source: str) -> tuple[str, Source]:
    """A source, and the platform that it belongs to. Raises `BadInput` with the names that exist."""
    for platform in platforms().values():
        if source in platform.sources:
            return platform.name, platform.sources[source]
    known: list[Any] = sorted(name for platform in platforms().values() for name in platform.sources)
    raise BadInput(f"there is no source {source!r}; there is: {', '.join(known)}", field="source")
