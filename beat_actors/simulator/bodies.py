"""Bodies that were rendered before, up to a budget of bytes; the least recently asked for goes first."""

from collections import OrderedDict
from collections.abc import Hashable

from beat_actors.simulator.provider import Reply


class Bodies:
    def __init__(self, budget: int) -> None:
        self._budget = budget
        self._size = 0
        self._kept: OrderedDict[Hashable, Reply] = OrderedDict()

    def get(self, key: Hashable) -> Reply | None:
        found = self._kept.get(key)
        if found is not None:
            self._kept.move_to_end(key)
        return found

    def put(self, key: Hashable, reply: Reply) -> None:
        self._kept[key] = reply
        self._size += len(reply.body)
        while self._size > self._budget and self._kept:
            _, oldest = self._kept.popitem(last=False)
            self._size -= len(oldest.body)
