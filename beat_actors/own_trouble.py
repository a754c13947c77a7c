"""What one process alone cannot do: it reaches no provider, has no memory or descriptors left, or holds a key that opens nothing.

Such trouble is that of no provider, credential or fetch. The process says so in its row, takes no work of that kind for a while, and tries
again after cooldowns that grow. The outcomes of other processes decide whether it is more than that.
"""

import asyncio
import errno
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass

from beat_actors.errors import causes
from beat_actors.logger import get_logger

log = get_logger(__name__)

NETWORK, RESOURCES, VAULT_KEY = "network", "resources", "vault key"
LOGS, REDIS_KEYS, CLOCK, CRASHES, DESCRIPTORS, BUCKET = (
    "logs",
    "redis keys",
    "clock",
    "crashes",
    "descriptors",
    "bucket",
)
"""What keeps no process from its work."""
IN_A_ROW, HOSTS = 5, 2
"""Calls in a row that come to no connection, and hosts that they were for, from which on the network of this process is to blame."""
COOLDOWN, COOLDOWN_AT_MOST = 10.0, 300.0
"""Seconds of the first cooldown, and of the longest; each is twice as long as the one before."""
EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS})


@dataclass(slots=True)
class Cooldown:
    """`until`: when it is tried again, on `time.monotonic`."""

    said: str
    seconds: float
    until: float


class OwnTrouble:
    """The trouble of this process. `process`: its id, as in the table of processes. May be read from any thread."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.process = secrets.token_hex(8)
        self.changed = asyncio.Event()
        self._clock = clock
        self._cooldowns: dict[str, Cooldown] = {}
        self._in_a_row = 0
        self._hosts: set[str] = set()
        self._lowered: str | None = None
        self._bucket: str | None = None

    @property
    def is_cut_off(self) -> bool:
        """Whether it reaches no provider, as far as it knows."""
        return NETWORK in self._cooldowns

    @property
    def takes_calls(self) -> bool:
        """Whether this process takes leases now."""
        return not any(self._cools_down(kind) for kind in (NETWORK, RESOURCES))

    def reported(self) -> dict[str, str]:
        """What it cannot do, and a sentence on each."""
        without = {DESCRIPTORS: self._lowered, BUCKET: self._bucket}
        said = {kind: words for kind, words in without.items() if words}
        return said | {kind: cooldown.said for kind, cooldown in self._cooldowns.items()}

    def lowered(self, said: str) -> None:
        """This process has fewer descriptors than its settings need, and does less at once."""
        self._lowered = said
        self.changed.set()

    def bucket(self, said: str | None) -> None:
        """What the bucket of assets answers to this process, which stores nothing in it for now; None: it takes objects."""
        if (said is None) != (self._bucket is None):
            self.changed.set()
        self._bucket = said

    def reached(self) -> None:
        """A connection to a provider came about."""
        self._in_a_row = 0
        self._hosts.clear()
        self._end(NETWORK)
        if not self._cools_down(RESOURCES):
            self._end(RESOURCES)

    def not_reached(self, host: str) -> None:
        """No connection came about."""
        self._in_a_row += 1
        if len(self._hosts) < HOSTS:
            self._hosts.add(host)
        if self._in_a_row >= IN_A_ROW and len(self._hosts) >= HOSTS:
            self._cool_down(NETWORK, f"its last calls reached no connection, to {' or '.join(sorted(self._hosts))}")

    def exhausted(self) -> None:
        """Memory or descriptors ran out."""
        self._cool_down(RESOURCES, "it has no memory or no descriptors left")

    def caused(self, error: BaseException) -> bool:
        """Whether an error says that memory or descriptors ran out, which is noted then."""
        if is_exhausted(error):
            self.exhausted()
            return True
        return False

    def cannot_open(self, key_id: str) -> None:
        """A key opens none of the secrets that are said to be sealed with it."""
        self._cool_down(
            f"{VAULT_KEY} {key_id}", f"its key {key_id!r} opens no secret that was sealed with a key of that name"
        )

    def opens(self, key_id: str) -> None:
        self._end(f"{VAULT_KEY} {key_id}")

    def may_open(self, key_id: str) -> bool:
        """Whether secrets under this key are to be tried now."""
        return not self._cools_down(f"{VAULT_KEY} {key_id}")

    def _cools_down(self, kind: str) -> bool:
        cooldown = self._cooldowns.get(kind)
        return cooldown is not None and self._clock() < cooldown.until

    def _cool_down(self, kind: str, said: str) -> None:
        if self._cools_down(kind):
            return  # calls that were in flight together say it once
        before = self._cooldowns.get(kind)
        seconds = COOLDOWN if before is None else min(2 * before.seconds, COOLDOWN_AT_MOST)
        self._cooldowns[kind] = Cooldown(said, seconds, self._clock() + seconds)
        log.error("own_trouble", kind=kind, said=said, cooldown=seconds)
        self.changed.set()

    def _end(self, kind: str) -> None:
        if self._cooldowns.pop(kind, None) is not None:
            log.info("own_trouble_over", kind=kind)
            self.changed.set()


def is_exhausted(error: BaseException | None) -> bool:
    """Whether an error, or what it was raised from, says that this process has no memory or no descriptors left."""
    return any(
        isinstance(one, MemoryError) or (isinstance(one, OSError) and one.errno in EXHAUSTED) for one in causes(error)
    )
