"""Who reads what is known, and the rows that this reader may see.

Every row of what is known carries the account for which it was observed and, where an owner's credential observed it, that owner
(`pipeline.entities`). An account reads its own rows: the public ones, and an owner's as long as it holds the owner's grant. The
installation's own keys read the public rows of all accounts; with `operate`, and on the machine itself, all rows.
"""

from dataclasses import dataclass
from enum import StrEnum


class Sees(StrEnum):
    """Which rows a reader may see."""

    OWN = "own"
    PUBLIC = "public"
    ALL = "all"


@dataclass(frozen=True, slots=True)
class Reader:
    """Somebody who reads. `account_id`: the account that a key is bound to. `operates`: the key may see every account's data."""

    account_id: str | None = None
    operates: bool = False

    @property
    def sees(self) -> Sees:
        if self.account_id is not None:
            return Sees.OWN
        return Sees.ALL if self.operates else Sees.PUBLIC


OPERATOR = Reader(operates=True)
"""Who works on the machine itself."""


def visible(sees: Sees, row: str, account: str, platform: str) -> str:
    """The SQL condition under which a reader sees the row with this alias.

    `account`, `platform`: SQL expressions of the reader's account and of the row's platform.
    """
    if sees is Sees.ALL:
        return "true"
    if sees is Sees.PUBLIC:
        return f"{row}.owner = ''"
    return (
        f"{row}.account_id = {account} AND ({row}.owner = '' OR EXISTS (SELECT FROM owner_grant g "
        f"WHERE g.account_id = {account} AND g.platform = {platform} AND g.owner = {row}.owner))"
    )
