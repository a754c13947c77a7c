"""Accounts that share an installation, and for each a shadow: an installation in which the others do not exist.

Whatever an account does, it does in both; what operators and the provider do, they do everywhere that it concerns. What an account is told and
can see must then be the same in both.
"""

import itertools
import uuid
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from difflib import unified_diff
from typing import Any

import msgspec
import psycopg
from falcon.testing import Result

from beat_actors.settings import Settings
from tests.conftest import MESSAGE_KEYS, VAULT_KEYS, Servers
from tests.integration.access.bazaar import HANDLES, STORES, TABLES, Provider
from tests.integration.access.installations import Installation
from tests.integration.access.views import NOBODYS, Eyes

ACCOUNTS = ("acme", "globex", "initech")
PUBLIC, OWNED = ("profile", "card", "discover"), ("orders", "insights", "own")
FOREIGN = 1
"""So many of the newest rows of each other account an account tries to reach."""


class Leak(AssertionError):
    """An account's view depends on what others do."""


def settings_of(servers: Servers, url: str) -> Settings:
    """Ample: what accounts share is never used up, so nothing of it shows."""
    return Settings(
        environment="rehearsal",
        database_url=servers.engine_url(servers.process_url(url)),
        database_owner_url=servers.owner_url(url),
        database_prepared_statements=servers.pooler is None,
        redis_url=servers.valkey.url,
        redis_namespace=f"test-{uuid.uuid4().hex[:8]}",
        limit_prefix=f"test-{uuid.uuid4().hex[:8]}-",
        vault_keys=VAULT_KEYS,
        message_keys=MESSAGE_KEYS,
        broker_batch=2000,
        broker_in_flight=10_000,
        broker_in_flight_per_source=10_000,
        stage_lease=900,
    )


@contextmanager
def installations(servers: Servers, template: str) -> Iterator["Neighbours"]:
    """The shared one and a shadow for each account, not yet open."""
    provider = Provider()

    def installed(accounts: Sequence[str]) -> Installation:
        url = opened.enter_context(servers.databases.database(f"test_{uuid.uuid4().hex[:12]}"))
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(TABLES)
        return Installation(url, settings_of(servers, url), provider, accounts)

    with ExitStack() as opened:
        yield Neighbours(provider, installed(ACCOUNTS), {account: installed([account]) for account in ACCOUNTS})


class Neighbours:
    """`shared` and `shadows`, in step with each other."""

    def __init__(self, provider: Provider, shared: Installation, shadows: dict[str, Installation]) -> None:
        self.provider, self.shared, self.shadows = provider, shared, shadows
        self.all = [shared, *shadows.values()]

    async def open(self) -> None:
        for installation in self.all:
            await installation.open()

    async def close(self) -> None:
        for installation in self.all:
            await installation.close()

    async def begin(self) -> None:
        """Nothing has happened yet. Each account has a store of its own, of which the others' shadows know nothing."""
        self.provider.version, self.provider.mood = 1, "ok"
        for installation in self.all:
            await installation.forget()
            installation.mark()
        self._eyes = {
            account: (Eyes(self.shared, account), Eyes(self.shadows[account], account)) for account in ACCOUNTS
        }
        for account, store in zip(ACCOUNTS, STORES, strict=True):
            await self.shared.connect(store, account)
            await self.shadows[account].connect(store, account)

    # What accounts do.

    async def submit(self, account: str, *wanted: tuple[str, str], key: str | None = None, **fields: Any) -> None:
        """Ask for (flow, handle or store), one or several."""
        items = [
            {"platform": "bazaar", "flow": flow, "params": {"store" if flow in OWNED else "handle": of}, **fields}
            for flow, of in wanted
        ]
        body: Any = items[0] if len(items) == 1 else {"requests": items}
        headers = {} if key is None else {"Idempotency-Key": key}
        await self._do(account, "POST", "/v1/scrape-requests", json=body, headers=headers)

    async def refresh(self, account: str, handle: str, *, key: str | None = None) -> None:
        headers = {} if key is None else {"Idempotency-Key": key}
        await self._do(account, "POST", f"/v1/profiles/bazaar/{handle}/refresh", headers=headers)

    async def cancel(self, account: str, nth: int) -> None:
        await self._to_row(account, "request", nth, "POST", "/v1/scrape-requests/{}/cancel")

    async def retry(self, account: str, nth: int) -> None:
        await self._to_row(account, "request", nth, "POST", "/v1/scrape-requests/{}/retry")

    async def retry_matching(self, account: str, status: str) -> None:
        await self._do(account, "POST", "/v1/scrape-requests/retry", json={"status": status})

    async def read(self, account: str, path: str, *, stale: bool = False) -> None:
        """Only what is new is good enough, so that a refresh is started."""
        await self._do(account, "GET", path, params={"max_age": "0", "allow_stale": "true" if stale else "false"})

    async def add_webhook(self, account: str, events: str) -> None:
        body = {"url": f"https://{account}.example.com/hook", "events": [events]}
        await self._do(account, "POST", "/v1/webhooks", kind="webhook", json=body)

    async def drop_webhook(self, account: str, nth: int) -> None:
        await self._to_row(account, "webhook", nth, "DELETE", "/v1/webhooks/{}")

    async def resend(self, account: str, nth: int) -> None:
        body = {"since": "2020-01-01T00:00:00Z"}
        await self._to_row(account, "webhook", nth, "POST", "/v1/webhooks/{}/resend", json=body)

    # What operators do.

    async def grant(self, account: str, store: str) -> None:
        shadow = self.shadows[account]
        if store not in shadow.credentials:  # there from the day on which it concerns this account
            await shadow.connect(store)
        body = {"platform": "bazaar", "owner": store, "reason": "agreed"}
        await self._operate(account, "POST", f"/v1/accounts/{account}/grants", json=body)

    async def revoke(self, account: str, store: str, *, at_once: bool = False) -> None:
        """The store is no longer there for this account, and in its shadow not at all: what it had fetched from it is not shown any more."""
        params = {"platform": "bazaar", "owner": store, "reason": "ended"}
        result = await self._operate(account, "DELETE", f"/v1/accounts/{account}/grants", params=params)
        if result.status_code == 200:
            await self.shadows[account].disconnect(store, at_once=at_once)

    async def round(self) -> None:
        """Once through all stages."""
        await self.turn()
        for name in ("retrieve", "ingest", "process"):
            await self.stage(name)

    async def share(self, store: str, *, shared: bool) -> None:
        """A store's token serves everybody's calls from now on, or no longer."""

        async def change(installation: Installation) -> None:
            if shared and store not in installation.credentials:
                await installation.connect(store)
            if store in installation.credentials:
                credentials, number = installation.engine.credentials, installation.credentials[store]
                await (credentials.share if shared else credentials.unshare)(number, reason="agreed")

        await self._everywhere(change)

    # What happens.

    async def turn(self) -> None:
        await self._everywhere(Installation.turn)

    async def stage(self, name: str) -> None:
        await self._everywhere(lambda installation: installation.stage(name))

    async def work(self) -> None:
        """Three rounds through all stages."""
        for _ in range(3):
            await self.round()

    async def deliver(self) -> None:
        await self._everywhere(Installation.deliver)

    async def stop_waiting(self) -> None:
        await self._everywhere(Installation.stop_waiting)

    # What accounts see.

    async def compare(self, *accounts: str) -> None:
        """Raises `Leak` where an account's view is not what it is in its shadow."""
        for account in accounts or ACCOUNTS:
            own = self._eyes[account][0].numbers
            others = [other for other in ACCOUNTS if other != account]
            foreign: dict[str, list[int]] = {}
            for kind in ("request", "webhook"):
                newest = [self._eyes[other][0].numbers.all(kind)[-FOREIGN:] for other in others]
                foreign[kind] = sorted(set(itertools.chain(*newest)) - set(own.all(kind)))
            nobodys = {kind: [NOBODYS + n for n in range(len(rows))] for kind, rows in foreign.items()}
            views = []
            self._mark_others(account)
            for eyes, numbers in zip(self._eyes[account], (foreign, nobodys), strict=True):
                eyes.installation.mark()
                views.append(await eyes.view(others, numbers))
            self._same(account, "what it sees", *views)

    def _same(self, account: str, what: str, shared: Any, shadow: Any) -> None:
        if shared == shadow:
            return
        told = [
            msgspec.json.format(msgspec.json.encode(one), indent=1).decode().splitlines() for one in (shadow, shared)
        ]
        changes = "\n".join(unified_diff(*told, "alone", "among others", lineterm="", n=4))
        raise Leak(f"{account}: {what} depends on other accounts\n{changes}")

    # How it is kept in step.

    async def _do(
        self, account: str, method: str, path: str, *, kind: str = "request", foreign: int | None = None, **said: Any
    ) -> None:
        """The account calls the API in both of its installations, and is told the same."""
        await self._in_both(account, f"{method} {path}", lambda eyes: (path, said), method, kind)

    async def _to_row(self, account: str, kind: str, nth: int, method: str, path: str, **said: Any) -> None:
        """Of the rows of this kind that it knows, to the nth from the end on."""
        known = len(self._eyes[account][0].numbers.all(kind))
        if known:
            at = known - 1 - nth % known
            where = lambda eyes: (path.format(eyes.numbers.all(kind)[at]), said)  # noqa: E731
            await self._in_both(account, f"{method} {path}", where, method, kind)

    async def _in_both(
        self, account: str, what: str, where: Callable[[Eyes], tuple[str, Any]], method: str, kind: str
    ) -> None:
        told = []
        self._mark_others(account)
        for eyes in self._eyes[account]:
            path, said = where(eyes)
            eyes.installation.mark()
            told.append(eyes.told(await eyes.installation.call(account, method, path, **said), kind))
        self._same(account, f"the answer to {what}", *told)

    async def _operate(self, account: str, method: str, path: str, **said: Any) -> Result:
        self._mark_others(account)
        for eyes in self._eyes[account]:
            eyes.installation.mark()
            result = await eyes.installation.call("operator", method, path, **said)
        return result

    async def _everywhere(self, act: Callable[[Installation], Awaitable[None]]) -> None:
        for installation in self.all:
            installation.mark()
            await act(installation)

    def _mark_others(self, account: str) -> None:
        for other, shadow in self.shadows.items():
            if other != account:
                shadow.mark()


READABLE = [
    *(f"/v1/profiles/bazaar/{handle}" for handle in HANDLES),
    *(f"/v1/stores/bazaar/{store}{behind}" for store in STORES for behind in ("", "/orders", "/insights")),
]
