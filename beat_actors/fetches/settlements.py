"""What a stage hands to the broker: the outcomes of calls, which the next turn applies, and the fetches that it moves with them."""

from collections.abc import Sequence
from typing import Any, Protocol

from beat_actors.database import Statements, Transaction, jsonb

SQL = Statements(__file__)
SETTLE = SQL("settle")


class Called(Protocol):
    """A claimed fetch with what its call was leased with."""

    @property
    def id(self) -> int: ...
    @property
    def fence(self) -> int: ...
    @property
    def platform(self) -> str: ...
    @property
    def operation(self) -> str: ...
    @property
    def owner(self) -> str | None: ...
    @property
    def source(self) -> str: ...
    @property
    def credential_id(self) -> int: ...
    @property
    def probe(self) -> bool: ...


async def settle(transaction: Transaction, settlements: Sequence[dict[str, Any]]) -> None:
    """Hand these (`settlement_row`) to the broker. The caller wakes it after the commit."""
    if settlements:
        await transaction.run(SETTLE, {"settlements": jsonb(settlements)})


def settlement_row(claim: Called, outcome: str, **fields: Any) -> dict[str, Any]:
    """One settlement; `claim` gives the fetch, its fence, what it was leased with, and the secret's generation if it made the call."""
    row = {
        "platform": claim.platform,
        "fetch_id": claim.id,
        "fence": claim.fence,
        "credential_id": claim.credential_id,
        "source": claim.source,
        "operation": claim.operation,
        "outcome": outcome,
        "calls": 1,
        "probe": claim.probe,
        "code": "",
        "detail": "",
        "generation": getattr(claim, "generation", None),
        "owner": claim.owner,
    }
    return row | fields


def shared_settlement(claim: Called, outcome: str, code: str = "") -> dict[str, Any]:
    """For a fetch that shared another's call: it moves the fetch, and says nothing of the credential."""
    return settlement_row(claim, outcome, credential_id=0, calls=0, code=code)
