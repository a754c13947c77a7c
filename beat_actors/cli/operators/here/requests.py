"""Requests: their list, why one waits, retries and cancellations."""

from collections.abc import Sequence

from beat_actors import audit
from beat_actors.cli.operators import here
from beat_actors.cli.operators.requests import Again, Listing
from beat_actors.cli.session import who
from beat_actors.requests import explain, lifecycle, listing, queries, retry
from beat_actors.requests.explain import Explanation
from beat_actors.requests.views import Filter, RequestView


class Here(here.Here):
    async def one(self, request: int) -> RequestView:
        async with self.session.database.transaction() as transaction:
            return await queries.get_request(transaction, request)

    async def page(self, wanted: Filter) -> Listing:
        async with self.session.database.transaction() as transaction:
            page = await listing.list_scrape_data(transaction, wanted)
            counts, _ = await listing.count_by_status(transaction, wanted)
            return Listing(page.requests, page.next_cursor, counts)

    async def why(self, request: int) -> Explanation:
        async with self.session.database.transaction() as transaction:
            return await explain.why(transaction, request, operator=True)

    async def retry(self, request: int) -> None:
        retried = await retry.retry(self.session.database, request, actor=who())
        await self.session.wake(retried.platform)

    async def retry_matching(self, wanted: Filter, limit: int) -> Again:
        found = await retry.retry_matching(self.session.database, wanted, limit=limit, actor=who())
        for platform in sorted({one.platform for one in found.outcomes if one.error is None}):
            await self.session.wake(platform)
        refused = [(one.id, str(one.error)) for one in found.outcomes if one.error is not None]
        return len(found.outcomes) - len(refused), refused, found.next_cursor is not None

    async def cancel(self, ids: Sequence[int], *, reason: str) -> list[int]:
        async with self.session.database.transaction() as transaction:
            ended = await lifecycle.cancel(transaction, ids, reason=reason)
            for request in ended:
                await audit.record(
                    transaction,
                    actor=who(),
                    action="request.cancel",
                    target=f"request/{request}",
                    detail={"reason": reason},
                )
        return ended
