"""Beat without one of the checks that keep accounts apart, by the name of the check.

Where a check is held twice, both are taken out, since without one alone nothing can be seen; the name says so.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

import api.on_demand
import api.submissions
from beat_actors.access import grants
from beat_actors.access.reader import Sees
from beat_actors.broker import leasing, loading
from beat_actors.broker.state import Credential, Snapshot
from beat_actors.data import changes, reading, refreshing
from beat_actors.database import Statement
from beat_actors.requests import explain, intake, listing, queries, retry
from beat_actors.webhooks import deliveries, endpoints

Mutant = Callable[[pytest.MonkeyPatch], None]
MUTANTS: dict[str, Mutant] = {}


def mutant(name: str) -> Callable[[Mutant], Mutant]:
    def known(made: Mutant) -> Mutant:
        MUTANTS[name] = made
        return made

    return known


def _holds_all(patch: pytest.MonkeyPatch, *modules: Any) -> None:
    """In these modules every account holds every grant."""

    async def missing(*_: Any) -> set[Any]:
        return set()

    for module in modules:
        patch.setattr(module, "grants", SimpleNamespace(**vars(grants) | {"missing": missing}))


def _without(patch: pytest.MonkeyPatch, module: Any, statement: str, condition: str, instead: str = "") -> None:
    patch.setattr(module, statement, _replaced(getattr(module, statement), condition, instead))


def _replaced(sql: Any, condition: str, instead: str) -> Any:
    """The statement, or its text, with another condition."""
    if isinstance(sql, Statement):
        return Statement(sql.name, sql.contract, _replaced(sql.text, condition, instead), sql.row)
    assert condition in sql
    return sql.replace(condition, instead)


@mutant("the grant, when a request is accepted: of one, and of each of a list")
def _(patch: pytest.MonkeyPatch) -> None:
    _holds_all(patch, intake, api.submissions)


@mutant("the grant, when a request runs again")
def _(patch: pytest.MonkeyPatch) -> None:
    _holds_all(patch, retry)


@mutant("the grant, when a read starts a refresh: there, and where its request is accepted")
def _(patch: pytest.MonkeyPatch) -> None:
    _holds_all(patch, refreshing, intake)


@mutant("the grant, when a credential is leased: there, and when it is revoked")
def _(patch: pytest.MonkeyPatch) -> None:
    _without(patch, leasing, "LEASE", "r.account_id IS NOT NULL", "false")
    _without(patch, grants, "WAITING", "l.owner = %(owner)s", "l.owner = 'nobody' || %(owner)s")


@mutant("that what waits fails when a grant is revoked, where nothing could be leased")
def _(patch: pytest.MonkeyPatch) -> None:
    _without(patch, grants, "WAITING", "l.owner = %(owner)s", "l.owner = 'nobody' || %(owner)s")


@mutant("the grant, in what is read")
def _(patch: pytest.MonkeyPatch) -> None:
    visible = reading.visible

    def own(sees: Sees, row: str, account: str, platform: str) -> str:
        return f"{row}.account_id = {account}" if sees is Sees.OWN else visible(sees, row, account, platform)

    patch.setattr(reading, "visible", own)


@mutant("the account, in things that are found")
def _(patch: pytest.MonkeyPatch) -> None:
    found = reading._find
    patch.setattr(reading, "_find", lambda platform, entity, _: found(platform, entity, Sees.ALL))


@mutant("the account, in lists of things")
def _(patch: pytest.MonkeyPatch) -> None:
    listed = reading._list
    patch.setattr(
        reading, "_list", lambda platform, entity, field, _, *rest: listed(platform, entity, field, Sees.ALL, *rest)
    )


@mutant("the account, in the history of things")
def _(patch: pytest.MonkeyPatch) -> None:
    visible = reading.visible
    patch.setattr(reading, "visible", lambda sees, row, *rest: visible(Sees.ALL if row == "l" else sees, row, *rest))


@mutant("the account, in the feed of changes: in its index, and in what is shown of its rows")
def _(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(changes, "OWN", "")
    patch.setattr(changes, "visible", lambda *_: "true")


@mutant("the account, in one request")
def _(patch: pytest.MonkeyPatch) -> None:
    get = queries.get_request
    patch.setattr(queries, "get_request", lambda transaction, number, **_: get(transaction, number))


@mutant("the account, in why a request waits")
def _(patch: pytest.MonkeyPatch) -> None:
    get = queries.get_request
    patch.setattr(explain, "get_request", lambda transaction, number, **_: get(transaction, number))


@mutant("the account, in the list of requests")
def _(patch: pytest.MonkeyPatch) -> None:
    listed = listing.list_scrape_data
    patch.setattr(listing, "list_scrape_data", lambda opened, wanted: listed(opened, replace(wanted, account_id=None)))


@mutant("the account, in the counts of requests")
def _(patch: pytest.MonkeyPatch) -> None:
    count = listing.count_by_status
    patch.setattr(listing, "count_by_status", lambda opened, wanted: count(opened, replace(wanted, account_id=None)))


@mutant("the account, in retrying what matches: in the filter, and in the lock")
def _(patch: pytest.MonkeyPatch) -> None:
    matching = retry.retry_matching
    patch.setattr(
        retry,
        "retry_matching",
        lambda database, wanted, **rest: matching(database, replace(wanted, account_id=None), **rest),
    )


@mutant("that an account counts its own requests alone")
def _(patch: pytest.MonkeyPatch) -> None:
    text = explain.FETCHES.text.replace(" AND o.tenant = f.tenant", "")
    patch.setattr(explain, "FETCHES_OF_ACCOUNT", Statement("mutant", "", text, explain.FETCHES.row))


@mutant("that calls for several accounts are not shown")
def _(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(explain, "_answers_many", lambda *_: False)


@mutant("the account, in which work is the same")
def _(patch: pytest.MonkeyPatch) -> None:
    prepare = intake._with_params

    def alike(request: Any, *rest: Any) -> Any:
        return replace(prepare(request, *rest), work=prepare(replace(request, account_id=None), *rest).work)

    patch.setattr(intake, "_with_params", alike)


@mutant("the account, in which refresh is the same")
def _(patch: pytest.MonkeyPatch) -> None:
    plan = refreshing._plan

    def alike(platform: Any, refetch: Any, params: Any, **rest: Any) -> Any:
        found = plan(platform, refetch, params, **rest)
        return found and replace(found, work=refetch.flow.encode()[:16].ljust(16))

    patch.setattr(refreshing, "_plan", alike)


@mutant("whose an idempotency key is")
def _(patch: pytest.MonkeyPatch) -> None:
    for module in (api.submissions, api.on_demand):
        patch.setattr(module, "owner_of", lambda _: "everybody")


def _serves(patch: pytest.MonkeyPatch, *, owners: bool) -> None:
    """Calls that need an owner, or those that need none, are served by any credential of the source."""
    serving = Snapshot.serving

    def any_of(snapshot: Snapshot, source: str, owner: str) -> Sequence[Credential]:
        if bool(owner) is not owners:
            return serving(snapshot, source, owner)
        return [one for one in snapshot.credentials.values() if one.source == source]

    patch.setattr(Snapshot, "serving", any_of)
    patch.setattr(
        loading, "OF_OWNERS" if owners else "SHARED", _replaced(loading.OF_OWNERS, "c.owner = g.owner", "true")
    )


@mutant("that a credential is shared, for calls that need no owner")
def _(patch: pytest.MonkeyPatch) -> None:
    _serves(patch, owners=False)


@mutant("that an owner's calls are made with the owner's credential")
def _(patch: pytest.MonkeyPatch) -> None:
    _serves(patch, owners=True)


@mutant("the account, in one webhook and its deliveries")
def _(patch: pytest.MonkeyPatch) -> None:
    _without(patch, endpoints, "FIND", endpoints.SQL.fragment("seen"), "true")


@mutant("the account, in the list of webhooks")
def _(patch: pytest.MonkeyPatch) -> None:
    _without(patch, endpoints, "LIST", endpoints.SQL.fragment("seen"), "true")


@mutant("the account, in whom an event is sent to")
def _(patch: pytest.MonkeyPatch) -> None:
    _without(patch, deliveries, "FAN_OUT", "e.account_id = b.account_id AND", "")
