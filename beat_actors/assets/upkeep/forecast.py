"""When a backlog of assets is done, and which of them expire before their turn. Pure: no I/O, no clock."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple


class Due(NamedTuple):
    """Assets of a class that wait and whose URLs expire at about the same time. `left`: seconds until then; None: their URLs do not expire."""

    asset_class: int
    left: float | None
    assets: int


class Turn(NamedTuple):
    """`ends_in`: seconds until the last asset of the class has had its turn. `late`: how many expire before theirs."""

    ends_in: float
    late: int


def turns(waiting: Sequence[Due], rate: float) -> dict[int, Turn]:
    """The end of each class at `rate` assets a second, which has to be more than 0.

    The classes follow one another, and inside a class the URL that expires first is fetched first. An asset that expires before its turn takes none.
    The share of the starts that the last class gets ahead of its turn is left out: the forecast for it is a little too late.
    """
    found, served = dict[int, Turn](), 0
    for number in sorted({due.asset_class for due in waiting}):
        late = 0
        for due in _by_expiry(due for due in waiting if due.asset_class == number):
            room = due.assets if due.left is None else max(0, int(due.left * rate) - served)
            saved = min(due.assets, room)
            served += saved
            late += due.assets - saved
        found[number] = Turn(served / rate, late)
    return found


def _by_expiry(waiting: Iterable[Due]) -> list[Due]:
    return sorted(waiting, key=lambda due: float("inf") if due.left is None else due.left)
