"""What `broker_decision` keeps of a turn in its `detail`: what it gave, why lanes wait, and by which rules. Pure.

With the fetches and calls of the same time this is what a replay of history needs: `capacity` (how many leases the turn could give), `leases`
(parallel lists: the fetches, their credentials and, where one is to be used later than at the turn's `at`, by how many ms), and `revision`,
which stands for the settings and limits in force. These are written out as `rules` in the first decision of a revision on each day that a
process makes, so that a day's partition explains itself. `blocked`: for each (source, reason) how many lanes and credentials wait, and until
when at the earliest.
"""

from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Any

import msgspec

from beat_actors.broker.state import Blocked, FlowRoom, Lease
from beat_actors.platforms.interface import Platform
from beat_actors.settings import Settings

DAY = 86_400.0
IN_FORCE = (
    "broker_batch",
    "broker_in_flight",
    "broker_in_flight_per_source",
    "rotation_budget",
    "retry_budget",
    "credential_check_every",
    "stage_lease",
)
"""The settings that decide what a turn gives."""


class Recorder:
    """One for each process, since it remembers which revisions it has written out today."""

    def __init__(self) -> None:
        self._written: dict[tuple[str, str], int] = {}

    def revision(self, rules: Mapping[str, Any], platform: str, now: float) -> dict[str, Any]:
        """`revision`, with `rules` where they have to be written out. Call `written` once that is committed."""
        revision = blake2b(msgspec.json.encode(rules, order="deterministic"), digest_size=6).hexdigest()
        known = self._written.get((platform, revision)) == now // DAY
        return {"revision": revision} | ({} if known else {"rules": rules})

    def written(self, platform: str, detail: Mapping[str, Any], now: float) -> None:
        if "rules" in detail:
            self._written[platform, detail["revision"]] = int(now // DAY)


def rules(settings: Settings, platform: Platform, flows: Mapping[str, FlowRoom]) -> dict[str, Any]:
    """The settings and limits in force."""
    return {
        "settings": {name: getattr(settings, name) for name in IN_FORCE},
        "limits": {name: source.limits for name, source in platform.sources.items()},
        "flows": {flow.name: 0 if flow.paused else flow.limit for flow in flows.values()},
    }


def leases(given: Sequence[Lease], now: float) -> dict[str, list[int]]:
    kept = {"fetches": [one.fetch_id for one in given], "credentials": [one.credential_id for one in given]}
    if any(one.use_from is not None for one in given):
        kept["after_ms"] = [0 if one.use_from is None else round((one.use_from - now) * 1000) for one in given]
    return kept


def blocked(items: Sequence[Blocked]) -> list[dict[str, Any]]:
    """By source and reason."""
    found: dict[tuple[str | None, str], dict[str, Any]] = {}
    for item in items:
        of_lane = set()
        for reason in item.reasons:
            key = (reason.source, reason.why)
            kept = found.setdefault(
                key, {"source": reason.source, "why": reason.why, "lanes": 0, "credentials": 0, "until": None}
            )
            kept["lanes"] += key not in of_lane
            kept["credentials"] += reason.credentials
            if reason.until is not None:
                kept["until"] = reason.until if kept["until"] is None else min(kept["until"], reason.until)
            of_lane.add(key)
    return list(found.values())
