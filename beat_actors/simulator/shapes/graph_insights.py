"""Insights as the Graph API tells them, in both its shapes, key by key as recorded."""

from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Any

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
    return [_insight(node, metric, query.get("period", "lifetime"), breakdown) for metric in query["metric"].split(",")]


def _insight(node: str, metric: str, period: str, breakdown: str) -> dict[str, Any]:
    made: dict[str, Any] = {
        "name": metric,
        "period": period,
        "title": metric.replace("_", " ").capitalize(),
        "description": f"Total {metric.replace('_', ' ')}",
        "id": f"{node}/insights/{metric}/{period}",
    }
    if not breakdown:
        return {**made, "values": [{"value": _number(node, metric)}]}
    results = [
        {"dimension_values": list(values), "value": _number(node, metric, *values)} for values in PARTS[breakdown]
    ]
    keys = breakdown.split(",")
    return {**made, "total_value": {"breakdowns": [{"dimension_keys": keys, "results": results}]}}


def _number(*of: str) -> int:
    return int.from_bytes(blake2b("|".join(of).encode(), digest_size=2).digest(), "big")
