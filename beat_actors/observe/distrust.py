"""The data breakers that are open, as the page of `beat brief` lists them. No I/O."""

from base64 import b64decode
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from beat_actors.holds.canaries import is_canary
from beat_actors.holds.cohorts import cohort_of
from beat_actors.observe.page import OpenDataBreaker


def read(row: Mapping[str, Any]) -> OpenDataBreaker:
    """`row`: platform, source, operation, parser_version, since (ISO 8601), by_hand, why, and the cohort, packed and in base 64."""
    source, operation, version = row["source"], row["operation"], row["parser_version"]
    recent = cohort_of(b64decode(row["cohort"])).recent
    following = is_canary(row["platform"], source, operation, version)
    return OpenDataBreaker(
        source=source,
        operation=operation,
        parser_version=version,
        following=following,
        since=datetime.fromisoformat(row["since"]),
        by_hand=row["by_hand"],
        share=recent.odd / recent.seen if recent.seen else None,
        why=row["why"],
        action=_action(source, version, by_hand=row["by_hand"], following=following),
    )


def _action(source: str, version: int, *, by_hand: bool, following: bool) -> str:
    """What does no harm: to look. To use the answers again is a decision."""
    if by_hand:
        return f"`beat audit source/{source}`"
    if following:
        return f"`beat blast --since TIME --parser {version} --source {source}`"
    return "`beat held`"
