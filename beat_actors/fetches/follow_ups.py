"""Fetches that follow others, of the same run of a request."""

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

from beat_actors.database import Statements, Transaction, jsonb
from beat_actors.fetches.lanes import LaneKey, lane_ids
from beat_actors.platforms.interface import FetchSpec, Parsed
from beat_actors.platforms.registry import platforms

SQL = Statements(__file__)


class Followed(Protocol):
    """A fetch that others follow."""

    @property
    def id(self) -> int: ...
    @property
    def request_id(self) -> int: ...
    @property
    def run(self) -> int: ...
    @property
    def platform(self) -> str: ...
    @property
    def flow(self) -> str: ...
    @property
    def priority(self) -> int: ...


class GoesOn(NamedTuple):
    """A fetch that has failed, of a request that goes on."""

    id: int
    request_id: int
    run: int
    platform: str
    operation: str
    params: dict[str, Any]
    priority: int
    flow: str
    request_params: dict[str, Any]


ADD, ASK_ABOUT = SQL("add"), SQL("ask_about")
GOES_ON = SQL("goes_on", GoesOn)


WITNESS_WITHIN = 300.0
"""Seconds within which a source has to be asked about a held record, before it counts as one that does not answer."""


async def follow_up(
    transaction: Transaction, wanted: Sequence[tuple[Followed, FetchSpec]], *, witness_of: Sequence[int] = ()
) -> set[str]:
    """Add these fetches, each with the fetch that it follows; the platforms that have new work.

    The caller counts them to their requests, by `Closing.added`. `witness_of`: the held record that each of them asks about.
    """
    if not wanted:
        return set()
    keys = [_lane(claim, spec) for claim, spec in wanted]
    about: list[int | None] = [*witness_of] or [None] * len(wanted)
    ids = await lane_ids(transaction, set(keys))
    rows = [
        {
            "request_id": claim.request_id,
            "run": claim.run,
            "parent": claim.id,
            "lane_id": ids[key],
            "platform": claim.platform,
            "operation": spec.operation,
            "params": spec.params,
            "cursor": spec.cursor,
            "cursor_source": spec.source,
            "page": spec.page,
            "priority": claim.priority,
            "owner": spec.owner,
            "listing": spec.listing,
            "witness_of": witness,
            "within": WITNESS_WITHIN,
        }
        for (claim, spec), key, witness in zip(wanted, keys, about, strict=True)
    ]
    await transaction.run(ADD, {"fetches": jsonb(rows)})
    return {claim.platform for claim, _ in wanted}


async def ask_about(transaction: Transaction, asked: Sequence[tuple[int, int]]) -> None:
    """Let the first fetch of each of these requests ask about a held record: (request, record). The transaction has made the requests."""
    values = {"requests": [request for request, _ in asked], "records": [record for _, record in asked]}
    await transaction.run(ASK_ABOUT, {**values, "within": WITNESS_WITHIN})


def _lane(claim: Followed, spec: FetchSpec) -> LaneKey:
    pinned = spec.source
    chain = (pinned,) if pinned else platforms()[claim.platform].chains[spec.operation]
    return LaneKey(claim.platform, claim.flow, spec.operation, claim.priority, chain, spec.owner or "")


def stands_apart(platform: str, flow: str) -> bool:
    """Whether the fetches of a flow stand by themselves."""
    known = platforms().get(platform)
    return known is not None and flow in known.flows and known.flows[flow].apart


async def those_beside(transaction: Transaction, fetch_ids: Sequence[int]) -> dict[int, int]:
    """Add what stands beside these fetches, which are the first of their requests and failed; how many, by fetch."""
    wanted = []
    for row in await transaction.rows(GOES_ON, {"ids": list(fetch_ids)}) if fetch_ids else ():
        spec = FetchSpec(row.operation, row.params)
        specs = platforms()[row.platform].flows[row.flow].follow_ups(spec, row.request_params, Parsed(()), 0)
        wanted += [(row, each) for each in specs]
    await follow_up(transaction, wanted)
    added: dict[int, int] = {}
    for row, _ in wanted:
        added[row.id] = added.get(row.id, 0) + 1
    return added
