"""The rehearsal's neighbours: small requests to the other platforms, whose time shows whether they feel what befalls Instagram."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from beat_actors.database import Statements, Transaction

# A request is a call or two; so many credentials that the providers' own limits hold nobody up.
POOLS = {"ytapi": 2, "shopify": 3, "tikwm": 12, "api23": 6}
FLOWS = {
    "youtube": "refresh_profile_by_handle",
    "shopify": "refresh_store",
    "tiktok": "refresh_tiktok_profiles",
}
ROUNDS = 12
"""So many requests to each platform are measured at a time."""
PAUSE = 0.1


class Median(NamedTuple):
    """The median time of a platform's requests."""

    platform: str
    ms: float


MEDIANS = Statements(__file__)("medians", Median)


def secret_of(source: str, key: str, i: int) -> Mapping[str, str]:
    """The i-th secret of a source, the same one each time for the same key."""
    digest = hashlib.sha256(f"{key}:{source}:{i}".encode()).hexdigest()
    if source == "graphapi":
        return {"token": digest, "user_id": str(17_841_400_000_000_001 + i)}
    if source == "shopify":
        return {"shop": _shop(key, i), "token": f"shpat_{_shop(key, i).partition('.')[0]}"}
    return {"key": digest}


def _shop(key: str, i: int) -> str:
    return f"rehearsal-{hashlib.sha256(key.encode()).hexdigest()[:16]}-{i}.myshopify.com"


def rounds(key: str, start: int) -> Iterator[list[dict[str, Any]]]:
    """Requests to send one after the other, one to each platform at a time, as a person or two would."""
    for n in range(start, start + ROUNDS):
        handle = {"handle": f"creator_{n:06d}"}
        params = {"youtube": handle, "tiktok": handle, "shopify": {"store": _shop(key, n % POOLS["shopify"])}}
        yield [{"platform": platform, "flow": flow, "params": params[platform]} for platform, flow in FLOWS.items()]


async def medians(transaction: Transaction, requests: Sequence[int]) -> dict[str, float]:
    """Milliseconds from a request's acceptance to its end, by platform; by the database's clock."""
    return dict(await transaction.rows(MEDIANS, {"ids": list(requests)}))
