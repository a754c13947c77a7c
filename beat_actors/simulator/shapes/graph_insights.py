"""Insights as the Graph API tells them, in both its shapes, key by key as recorded."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Any

DAY, SEVEN = 86_400, 7 * 3_600
LAST_DAY = 1_790_000_000
"""Until when there are numbers where nobody says until when."""
PARTS: Mapping[str, Sequence[Sequence[str]]] = {
    "country": (("DE",), ("FR",), ("IN",), ("US",)),
    "city": (("Berlin, Berlin",), ("Lyon, Auvergne-Rhône-Alpes",), ("São Paulo, São Paulo (state)",)),
    "gender,age": (("F", "18-24"), ("F", "25-34"), ("M", "25-34"), ("U", "35-44")),
    "story_navigation_action_type": (("tap_forward",), ("tap_back",), ("tap_exit",), ("swipe_forward",)),
}


def insights(node: str, query: Mapping[str, str]) -> list[dict[str, Any]]:
    """`total_value` where a breakdown is asked for, else `values`. What it cannot be broken down by gives nothing."""
    breakdown = query.get("breakdown", "").replace(" ", "")
    if breakdown and breakdown not in PARTS:
        return []
    return [_insight(node, metric, query, breakdown) for metric in query["metric"].split(",")]


def _insight(node: str, metric: str, query: Mapping[str, str], breakdown: str) -> dict[str, Any]:
    period = query.get("period", "lifetime")
    made: dict[str, Any] = {
        "name": metric,
        "period": period,
        "title": metric.replace("_", " ").capitalize(),
        "description": f"Total {metric.replace('_', ' ')}",
        "id": f"{node}/insights/{metric}/{period}",
    }
    if query.get("metric_type") == "time_series":
        return {**made, "values": list(_days(node, metric, query))}
    if not breakdown:
        return {**made, "values": [{"value": _number(node, metric)}]}
    results = [
        {"dimension_values": list(values), "value": _number(node, metric, *values)} for values in PARTS[breakdown]
    ]
    keys = breakdown.split(",")
    return {**made, "total_value": {"breakdowns": [{"dimension_keys": keys, "results": results}]}}


def _days(node: str, metric: str, query: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    """A number for each day that ends between the bounds, at seven in the morning; of two days where there are none."""
    until = int(query.get("until", LAST_DAY))
    since = int(query.get("since", until - 2 * DAY))
    first = since - (since - SEVEN) % DAY + DAY
    for at in range(first, min(until, since + 31 * DAY) + 1, DAY):
        ends = f"{datetime.fromtimestamp(at, UTC).isoformat()[:19]}+0000"
        yield {"value": _number(node, metric, ends), "end_time": ends}


def _number(*of: str) -> int:
    return int.from_bytes(blake2b("|".join(of).encode(), digest_size=2).digest(), "big")
