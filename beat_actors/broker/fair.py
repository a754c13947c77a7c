"""The order of leases: strict priority classes, round robin over tenants inside a class, and over flows inside a tenant.

Pure, as the decision that uses it. A tenant is an account, or one of the installation's own keys.
"""

from collections import defaultdict, deque
from collections.abc import Collection, Mapping, Sequence
from random import Random

from beat_actors.broker.state import Candidate, Lane

LOWER_SHARE = 20
"""One of so many leases goes to a lower class that can use it, so that a flood of urgent work does not stop the others."""


class Classes:
    """The candidates of one turn. `head` names the next one, `took` removes it when it got a lease.

    `served`: priority -> the tenant that got the last lease of the class in an earlier turn.
    """

    def __init__(
        self, candidates: Sequence[Candidate], lanes: Mapping[int, Lane], served: Mapping[int, str], rng: Random
    ) -> None:
        of_class: dict[int, list[Candidate]] = defaultdict(list)
        for candidate in candidates:
            of_class[lanes[candidate.lane_id].priority].append(candidate)
        self._rng = rng
        self._offset = rng.randrange(LOWER_SHARE)
        self._lanes = lanes
        self._classes = {
            priority: Rotation(of_class[priority], lanes, served.get(priority, ""), rng)
            for priority in sorted(of_class)
        }

    def head(self, given: int, stuck: Collection[int]) -> Candidate | None:
        """The next candidate whose lane is not in `stuck`, after `given` leases; `None` when there is none."""
        heads = (rotation.head(stuck) for rotation in self._classes.values())
        if (given + self._offset) % LOWER_SHARE:
            return next((head for head in heads if head is not None), None)
        found = [head for head in heads if head is not None]
        return self._rng.choice(found[1:] or found) if found else None

    def took(self, candidate: Candidate) -> None:
        self._classes[self._lanes[candidate.lane_id].priority].took()


class Rotation:
    """The candidates of one class: each tenant in turn gives one, the first of them being the one after `after`."""

    def __init__(self, candidates: Sequence[Candidate], lanes: Mapping[int, Lane], after: str, rng: Random) -> None:
        waiting: dict[str, dict[str, list[Candidate]]] = defaultdict(lambda: defaultdict(list))
        for candidate in sorted(candidates, key=lambda one: one.fetch_id):
            waiting[candidate.tenant][lanes[candidate.lane_id].flow].append(candidate)
        tenants = sorted(waiting, key=lambda tenant: (tenant <= after, tenant))
        self._tenants: deque[deque[deque[Candidate]]] = deque()
        for tenant in tenants:
            flows = [deque(found) for found in waiting[tenant].values()]
            # No flow of a tenant is first in every turn, however few leases a turn gives.
            rng.shuffle(flows)
            self._tenants.append(deque(flows))

    def head(self, stuck: Collection[int]) -> Candidate | None:
        while self._tenants:
            flows = self._tenants[0]
            while flows:
                found = flows[0]
                while found and found[0].lane_id in stuck:
                    found.popleft()
                if found:
                    return found[0]
                flows.popleft()
            self._tenants.popleft()
        return None

    def took(self) -> None:
        """Remove the head; the next head is another flow's and another tenant's, where there is one."""
        flows = self._tenants[0]
        flows[0].popleft()
        flows.rotate(-1)
        self._tenants.rotate(-1)
