"""What a worker process has out: the calls of its leases and of its credentials' upkeep. They hold no thread while they wait.

An actor hands its batch over and is done, so that its message is acknowledged early. A message is a hint: where the process dies, what it
claimed comes back when its leases run out, and what it did not claim is sent again.
"""

import asyncio
from collections.abc import Callable, Sequence

from actors.mailbox import CREDENTIALS, EXPRESS, INGEST, PROCESS, RETRIEVE, Mailbox
from beat_actors.engine import Engine
from beat_actors.failpoints import hit
from beat_actors.logger import get_logger
from beat_actors.pipeline.onward import Onward
from beat_actors.pipeline.retrieve import LAST, Retriever
from beat_actors.pipeline.stage import StageResult
from beat_actors.pipeline.upkeep import look_after

log = get_logger(__name__)

MOST_UPKEEP = 32
"""Messages of upkeep at a time. A source has ten checks or refreshes out at most."""
CALLING = (EXPRESS, RETRIEVE, CREDENTIALS)
"""Queues whose work is calls to providers."""


class Runner:
    """One for each process. Make it inside the event loop that the actors share.

    `parses`: whether this process may parse what providers answer, and so goes on with it. `on_room` gets a queue that has room again
    after there was none.
    """

    def __init__(self, engine: Engine, mailbox: Mailbox, *, parses: bool) -> None:
        self._engine = engine
        self._mailbox = mailbox
        self._retriever = Retriever(engine, self._deliver, Onward(engine, self._deliver_read) if parses else None)
        self._upkeep: set[asyncio.Task[None]] = set()
        self.on_room: Callable[[str], None] = lambda _queue: None
        self._full: set[str] = set()

    def takes(self, queue_name: str) -> bool:
        """Whether there is room for what lies in this queue, and this process can do it. Safe to call from any thread."""
        if queue_name not in CALLING:
            return True
        has_room = len(self._upkeep) < MOST_UPKEEP if queue_name == CREDENTIALS else not self._retriever.is_full
        if not has_room:
            self._full.add(queue_name)
        return has_room and self._engine.own_trouble.takes_calls

    async def retrieve(self, fetch_ids: Sequence[int]) -> None:
        """Claim these leases, and begin their calls. Raises `StorageUnavailable`."""
        await self._retriever.take(fetch_ids)

    def look_after(self, credential_ids: Sequence[int]) -> None:
        """Begin the checks and refreshes of these credentials that are due."""
        task = asyncio.create_task(self._look_after(credential_ids))
        self._upkeep.add(task)
        task.add_done_callback(self._looked_after)

    async def close(self, seconds: float) -> None:
        """Wait for what is out, so long at most; then break it off, and give it `LAST` seconds to hand back what was not begun."""
        await asyncio.wait([asyncio.create_task(self._retriever.drain(seconds)), *self._upkeep], timeout=seconds)
        for task in self._upkeep:
            task.cancel()
        await asyncio.wait([asyncio.create_task(self._retriever.close()), *self._upkeep], timeout=LAST)

    async def _look_after(self, credential_ids: Sequence[int]) -> None:
        try:
            result = await look_after(self._engine, credential_ids)
            await self._mailbox.settle(result.wake)
        except Exception:
            log.exception(
                "upkeep_broken_off", credentials=list(credential_ids)[:20], meaning="they stay due, and are sent again"
            )

    def _looked_after(self, task: asyncio.Task[None]) -> None:
        self._upkeep.discard(task)
        self._tell_of_room(CREDENTIALS)

    def _tell_of_room(self, queue_name: str) -> None:
        """What was found to be full is looked at again now, and not when its consumer's next second is over."""
        if queue_name in self._full and self.takes(queue_name):
            self._full.discard(queue_name)
            self.on_room(queue_name)

    async def _deliver(self, result: StageResult) -> None:
        for queue_name in (EXPRESS, RETRIEVE):  # a commit released what it held
            self._tell_of_room(queue_name)
        await self._mailbox.send(INGEST, result.next)
        await self._mailbox.settle(result.wake)
        hit("retrieve.after_send", result.next)

    async def _deliver_read(self, result: StageResult, left: Sequence[int]) -> None:
        await self._mailbox.send(INGEST, left)
        await self._mailbox.send(PROCESS, result.next)
        await self._mailbox.settle(result.wake)
