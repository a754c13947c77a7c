"""The stage `retrieve` as one step: for tests that look at what became of a batch."""

from collections.abc import Sequence

from beat_actors.engine import Engine
from beat_actors.pipeline.retrieve import Retriever
from beat_actors.pipeline.stage import StageResult


async def retrieve(engine: Engine, fetch_ids: Sequence[int]) -> StageResult:
    """Claim these leases, make their calls, and wait until all that came back is committed: what is to be done next."""
    total = StageResult()

    async def note(result: StageResult) -> None:
        total.add(result)

    retriever = Retriever(engine, note)
    try:
        await retriever.take(fetch_ids)
        await retriever.drain(60)
    finally:
        await retriever.close()
    return total
