"""CredentialManager: everything that people and stages do with credentials, save choosing one, which is the broker's turn."""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from random import Random
from typing import TYPE_CHECKING, Any, NamedTuple

import psycopg

from beat_actors import audit
from beat_actors.access import grants
from beat_actors.broker.changes import between_turns, lock, look_again
from beat_actors.credentials.alerts import watch
from beat_actors.credentials.info import LIST, RECORDED, CredentialEvent, CredentialInfo
from beat_actors.credentials.vault import Revealed, Vault
from beat_actors.database import Database, Statement, Statements, Transaction, arrays, jsonb
from beat_actors.database.processes import SEEN_WITHIN
from beat_actors.errors import BadInput, KeyNotEverywhere, NoAvailableSources, NotFound
from beat_actors.notify import sinks
from beat_actors.platforms.interface import Source
from beat_actors.platforms.registry import platforms, source_named
from beat_actors.text import check_text
from beat_actors.webhooks.endpoints import seal_anew

if TYPE_CHECKING:  # what a turn consists of is loaded by those who choose as it does
    from beat_actors.broker.decision import Allocator


class Lacking(NamedTuple):
    """A live process without a key of the vault."""

    name: str
    host: str
    pid: int


class Sealed(NamedTuple):
    """A credential's secret as it is stored."""

    id: int
    source: str
    key_id: str
    secret: bytes


SQL = Statements(__file__)
NEXT_ID = SQL("next_id", int)
INSERT = SQL("insert", int)
REPLACE = SQL("replace")
RENEW = SQL("renew", int)
KNOWN = SQL("known", int)
EVENT = SQL("event")
LACKING = SQL("lacking", Lacking)
SECRETS = SQL("secrets", Sealed)
OTHERWISE_SEALED = SQL("otherwise_sealed", Sealed)
SEAL_ANEW = SQL("seal_anew")
ENABLE, DISABLE, SHARE, RESET = SQL("enable"), SQL("disable"), SQL("share"), SQL("reset")


@dataclass(frozen=True, slots=True)
class Renewal:
    """What a refresh brought for the secret of this generation: `fields` that are new in it. Times are epoch seconds."""

    credential_id: int
    source: str
    generation: int
    secret: Revealed
    fields: Mapping[str, str] = field(repr=False)
    expires_at: float
    refresh_at: float


class CredentialManager:
    """`actor`: in whose name it changes credentials, as the audit log has it."""

    def __init__(self, database: Database, vault: Vault, *, actor: str = "beat") -> None:
        self.database = database
        self.vault = vault
        self.actor = actor

    async def add(
        self,
        source: str,
        secret: Mapping[str, str],
        *,
        label: str = "",
        weight: int = 1,
        account_id: str | None = None,
        shared: bool | None = None,
    ) -> tuple[int, bool]:
        """Seal and store a credential; (id, whether it is new). It is used from the broker's next turn on.

        `account_id`: the account is granted the credential's owner, also where the credential was known. `shared`: the credential
        also serves calls that need no owner, of all accounts; unless it is said, only one that is added for no account does.

        Raises `BadInput` for an unknown source, a missing or superfluous secret field, a weight outside 1..10,000, or an account
        where the source's credentials belong to nobody.
        """
        platform, declared = source_named(source)
        _check_secret(declared, secret)
        check_text(label, "label", longest=200)
        if not 1 <= weight <= 10_000:
            raise BadInput(f"weight is 1 to 10000, not {weight}", field="weight")
        owner = declared.owner(secret)
        if account_id is not None and owner is None:
            raise BadInput(
                f"a credential of {source} belongs to no owner, so there is nothing to grant", field="account"
            )
        secret_of = {"source": source, "fingerprint": self.vault.fingerprint(source, secret)}

        async def once() -> tuple[int, bool]:
            async with self.database.transaction() as transaction:
                if account_id is not None and owner is not None:
                    use = grants.Use(account_id, platform, owner)
                    await grants.grant(transaction, use, reason="its credential was added for it", actor=self.actor)
                known = await transaction.value(KNOWN, secret_of)
                if known is not None:
                    return known, False
                new_id = await transaction.only(NEXT_ID)
                key_id, sealed = self.vault.seal(new_id, source, secret)
                values = {
                    "id": new_id,
                    "platform": platform,
                    **secret_of,
                    "label": label or f"{source} {new_id}",
                    "owner": owner,
                    "shared": account_id is None if shared is None else shared,
                    "key_id": key_id,
                    "secret": sealed,
                    "weight": weight,
                    "refreshes": declared.is_refreshed(secret),
                }
                if await transaction.value(INSERT, values) is None:
                    return await transaction.only(KNOWN, secret_of), False
                await self._event(transaction, new_id, "added", {"label": label})
                fields = {"source": source, "label": values["label"], "weight": weight, "shared": values["shared"]}
                await self._record(transaction, "add", new_id, **fields)
                await look_again(transaction, platform)
                return new_id, True

        return await self.database.again(once)

    async def replace(self, credential_id: int, secret: Mapping[str, str], *, reason: str) -> None:
        """Give a credential a new secret, which is checked at once; a dead credential is reactivated if the check passes.

        Where the source has no check, it is back in use at once. Raises `NotFound`, and `BadInput` as `add` does or where a
        credential has that secret already.
        """
        check_text(reason, "reason", longest=1000)
        info = await self.info(credential_id)
        _, declared = source_named(info.source)
        _check_secret(declared, secret)
        refreshes = declared.is_refreshed(secret)
        key_id, sealed = self.vault.seal(credential_id, info.source, secret)
        values = {
            "id": credential_id,
            "owner": declared.owner(secret),
            "fingerprint": self.vault.fingerprint(info.source, secret),
            "key_id": key_id,
            "secret": sealed,
            "refreshes": refreshes,
            "checked": declared.check is not None,
            "to_prove": refreshes or declared.check is not None,
        }

        async def replace(transaction: Transaction) -> None:
            await transaction.run(REPLACE, values)
            await self._event(transaction, credential_id, "replaced", {"reason": reason})
            await self._record(transaction, "replace", credential_id, source=info.source, reason=reason)

        try:
            await self._between_turns(info.platform, replace)
        except psycopg.errors.UniqueViolation:
            async with self.database.transaction() as transaction:
                known = await transaction.value(KNOWN, values | {"source": info.source})
            raise BadInput(f"credential {known} of {info.source} has this secret already", field="secret") from None

    async def renew(self, transaction: Transaction, platform: str, renewals: Sequence[Renewal]) -> set[int]:
        """Seal what refreshes brought; the ids of the credentials whose secret was still the one that was refreshed."""
        if not renewals:
            return set()
        await lock(transaction, platform)
        rows = []
        for item in renewals:
            secret = {**item.secret, **item.fields}
            form = source_named(item.source)[1].refresh
            given = {name: secret[name] for name in form.fields} if form is not None else secret
            sealed = self.vault.seal(item.credential_id, item.source, secret)
            times = (item.expires_at, item.refresh_at)
            fingerprint = self.vault.fingerprint(item.source, given)
            rows.append((item.credential_id, item.generation, fingerprint, *sealed, *times))
        names = ("ids", "generations", "fingerprints", "key_ids", "secrets", "expires_at", "refresh_at")
        return set(await transaction.rows(RENEW, arrays(rows, *names)))

    async def overview(self, source: str | None = None) -> Sequence[CredentialInfo]:
        """All credentials, or those of a source. Raises `UnknownName` for a source that does not exist."""
        if source is not None:
            source_named(source)
        async with self.database.transaction() as transaction:
            return await transaction.rows(LIST, {"source": source, "id": None})

    async def info(self, credential_id: int) -> CredentialInfo:
        """Raises `NotFound`."""
        async with self.database.transaction() as transaction:
            found = await transaction.row(LIST, {"source": None, "id": credential_id})
        if found is None:
            raise NotFound(f"there is no credential {credential_id}; `beat credentials list` shows them")
        return found

    async def history(self, credential_id: int, *, limit: int = 20) -> Sequence[CredentialEvent]:
        """What happened to a credential, newest first."""
        async with self.database.transaction() as transaction:
            return await transaction.rows(RECORDED, {"id": credential_id, "limit": limit})

    async def enable(self, credential_id: int, *, reason: str) -> None:
        """Back into use at once: enabled, without a cooldown, alive. The next call shows whether the provider agrees."""
        await self._change(credential_id, "enable", "enabled", ENABLE, reason)

    async def disable(self, credential_id: int, *, reason: str) -> None:
        """Out of use from the broker's next turn on, until it is enabled by hand."""
        await self._change(credential_id, "disable", "disabled", DISABLE, reason)

    async def share(self, credential_id: int, *, reason: str) -> None:
        """Let the credential also serve calls that need no owner, of all accounts. Raises `NotFound`."""
        await self._change(credential_id, "share", "shared", SHARE, reason, shared=True)

    async def unshare(self, credential_id: int, *, reason: str) -> None:
        """Let the credential serve its owner's calls alone. Raises `NotFound`, and `BadInput` where it has no owner."""
        if (await self.info(credential_id)).owner is None:
            raise BadInput(f"credential {credential_id} has no owner, so it can only serve everybody's calls")
        await self._change(credential_id, "unshare", "unshared", SHARE, reason, shared=False)

    async def reset(self, credential_id: int, *, reason: str) -> None:
        """End a cooldown now, and start the backoff at its first step. Raises `NotFound`, and `BadInput` where the credential is dead."""
        info = await self.info(credential_id)
        if info.state == "dead":
            raise BadInput(
                f"credential {credential_id} is dead ({info.dead_reason}), and a reset only ends a cooldown; "
                f"`beat credentials enable {credential_id} --reason …` puts it back into use, `beat credentials replace {credential_id} --reason …` gives it a new secret"
            )
        await self._change(credential_id, "reset", "reset", RESET, reason)

    async def rotate_keys(self, *, batch: int = 200) -> int:
        """Seal again, with the ring's first key, whatever another key sealed; returns how many. Calls go on meanwhile.

        Raises `KeyNotEverywhere` while a live process that uses the vault has not registered that key.
        """
        async with self.database.statements() as alone:
            lacking = await alone.rows(LACKING, {"seconds": SEEN_WITHIN, "key": self.vault.sealing_fingerprint})
        if lacking:
            where = ", ".join(f"{row.name} {row.host}:{row.pid}" for row in lacking[:10])
            raise KeyNotEverywhere(
                f"{len(lacking)} live processes do not hold key {self.vault.sealing_key_id!r}: {where}. Restart them with it first; "
                f"a process that has ended is forgotten after {SEEN_WITHIN} s"
            )
        rotated = 0
        while True:
            async with self.database.transaction() as transaction:
                by_another = {"key": self.vault.sealing_key_id, "limit": batch}
                rows = await transaction.rows(OTHERWISE_SEALED, by_another)
                endpoints = await seal_anew(transaction, self.vault, batch=batch)
                notified = await sinks.seal_anew(transaction, self.vault, batch=batch)
                if not rows and not endpoints and not notified:
                    return rotated
                rotated += len(endpoints) + len(notified)
                sealed = []
                for row in rows:
                    opened = self.vault.open(row.id, row.source, row.key_id, row.secret)
                    sealed.append((row.id, *self.vault.seal(row.id, row.source, opened)))
                rotated += await transaction.run(SEAL_ANEW, arrays(sealed, "ids", "key_ids", "secrets"))
                detail = {
                    "key_id": self.vault.sealing_key_id,
                    "credentials": [row.id for row in rows],
                    "webhooks": endpoints,
                    "notify_sinks": notified,
                }
                await audit.record(transaction, actor=self.actor, action="vault.rotate", target="vault", detail=detail)

    async def reveal(self, transaction: Transaction, ids: Collection[int]) -> dict[int, Revealed]:
        """Open these secrets, for the call that is about to be made and nothing else."""
        rows = await transaction.rows(SECRETS, {"ids": list(ids)})
        return {row.id: self.vault.open(row.id, row.source, row.key_id, row.secret) for row in rows}

    async def fetch_enabled_sources(
        self, platform: str, operation: str, *, exclusions: Collection[str | int] = ()
    ) -> list[str]:
        """The sources of the operation's chain that could be called now, in the chain's order.

        `exclusions`: sources by name, and single credentials by id, whose source stays in as long as another of its credentials can.
        """
        from beat_actors.broker.state import Lane

        chain, allocator = await self._allocator(platform, operation, exclusions, Random(0))
        return [source for source in chain if allocator.has_room(Lane(0, operation, 1, (source,)))]

    async def get_enabled_cred(self, platform: str, operation: str, *, exclusions: Collection[str | int] = ()) -> int:
        """The id of a credential that the broker could lease now, chosen as it would choose. Nothing is charged.

        `exclusions` as in `fetch_enabled_sources`. Raises `NoAvailableSources` with the reasons for each credential that is left and
        the earliest time at which one may be back.
        """
        from beat_actors.broker.state import Lane

        chain, allocator = await self._allocator(platform, operation, exclusions, Random())
        lane = Lane(0, operation, 1, chain)
        lease = allocator.pick(lane, 0)
        if lease is None:
            blocked = allocator.blocked(lane)
            earliest = datetime.fromtimestamp(blocked.until, UTC) if blocked.until is not None else None
            raise NoAvailableSources(earliest, [reason.to_json() for reason in blocked.reasons])
        return lease.credential_id

    async def _allocator(
        self, platform: str, operation: str, exclusions: Collection[str | int], rng: Random
    ) -> tuple[tuple[str, ...], "Allocator"]:
        """The chain and the credentials as they stand now, without those that are excluded. Calls in flight take room."""
        from beat_actors.broker.decision import Allocator
        from beat_actors.broker.loading import HELD, UNTAKEN, load_groups, load_snapshot

        async with self.database.transaction() as transaction:
            of_platform = {"platform": platform}
            held = await transaction.rows(HELD, of_platform) + await transaction.rows(UNTAKEN, of_platform)
            snapshot = await load_snapshot(transaction, platforms()[platform], held=held, seed=rng.getrandbits(62))
            wanted = {(source, ""): (operation,) for source in platforms()[platform].chains[operation]}
            await load_groups(transaction, platform, snapshot, wanted)
        for credential_id in snapshot.credentials.keys() & set(exclusions):
            del snapshot.credentials[credential_id]
        chain = platforms()[platform].chains[operation]
        return tuple(source for source in chain if source not in exclusions), Allocator(snapshot, rng)

    async def _between_turns(self, platform: str, change: Callable[[Transaction], Awaitable[None]]) -> None:
        """Change credentials of the platform; what waits for one looks again."""

        async def changed(transaction: Transaction) -> None:
            await change(transaction)
            await look_again(transaction, platform)
            await watch(transaction, platform)

        await between_turns(self.database, platform, changed)

    async def _change(
        self, credential_id: int, verb: str, kind: str, statement: Statement[None], reason: str, **values: Any
    ) -> None:
        check_text(reason, "reason", longest=1000)
        info = await self.info(credential_id)

        async def change(transaction: Transaction) -> None:
            await transaction.run(statement, {"id": credential_id, **values})
            await self._event(transaction, credential_id, kind, {"reason": reason})
            await self._record(transaction, verb, credential_id, source=info.source, reason=reason)

        await self._between_turns(info.platform, change)

    async def _event(self, transaction: Transaction, credential_id: int, kind: str, cause: dict[str, Any]) -> None:
        await transaction.run(EVENT, {"id": credential_id, "kind": kind, "cause": jsonb(cause)})

    async def _record(self, transaction: Transaction, verb: str, credential_id: int, **detail: Any) -> None:
        target = f"credential/{credential_id}"
        await audit.record(transaction, actor=self.actor, action=f"credential.{verb}", target=target, detail=detail)


def _check_secret(source: Source, secret: Mapping[str, str]) -> None:
    forms = source.secret_forms()
    if set(secret) not in map(set, forms) or not all(secret.values()):
        fields = "; or ".join(", ".join(form) for form in forms)
        raise BadInput(f"a credential of {source.name} has the fields {fields}, none of them empty", field="secret")
    for name, value in secret.items():
        check_text(value, name, longest=4096)
    source.check_secret(secret)
