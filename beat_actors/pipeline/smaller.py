"""Smaller pages: where a source asks for less, the next call of that operation for the same subject asks for half as many items.

The subject is the owner, or else what the request asks for; `retrieve` reads its row with the claim. Which calls name a number of items,
and how many, each endpoint declares (`page`); which refusals ask for less, the source's error table.
"""

from collections.abc import Sequence
from dataclasses import replace

from beat_actors.database import Statements, Transaction, arrays
from beat_actors.fetches.claims import Lease
from beat_actors.platforms.interface import Endpoint, FetchSpec, Outcome, Verdict
from beat_actors.transport.http import TOO_LARGE

KEPT_FOR = 86_400.0
"""Seconds for which a smaller page is kept after the last time that less was asked for; then the whole page is tried again."""
SQL = Statements(__file__)
REMEMBER = SQL("remember")
FORGET = SQL("forget")


def judged(verdict: Verdict, endpoint: Endpoint, spec: FetchSpec) -> Verdict:
    """A verdict that asks for less only where less can be asked for. An answer larger than the client takes asks for less too; where the
    call names no number of items, or asked for one, the source does not take the call."""
    has_smaller = endpoint.page is not None and spec.at_most(endpoint.page) > 1
    if has_smaller and verdict.outcome is Outcome.UPSTREAM_DOWN and verdict.code == TOO_LARGE:
        return replace(verdict, outcome=Outcome.TOO_MUCH)
    if verdict.outcome is Outcome.TOO_MUCH and not has_smaller:
        return replace(verdict, outcome=Outcome.REFUSED)
    return verdict


async def remember(transaction: Transaction, claims: Sequence[Lease]) -> None:
    """Halve the page of the calls of these claims, whose source asked for less."""
    less = {(claim.source, claim.operation, claim.subject): claim.halvings + 1 for claim in claims}
    if less:
        rows = sorted((*key, halvings) for key, halvings in less.items())
        values = arrays(rows, "sources", "operations", "subjects", "halvings")
        await transaction.run(REMEMBER, {"seconds": KEPT_FOR, **values})
        await transaction.run(FORGET)
