"""The routes of data: each kind of things that a platform declares, with its lists and its history; the changes; the platforms."""

from typing import Any

from api.data.changes import Changes
from api.data.collections import Collection
from api.data.histories import History, ListHistory
from api.data.lists import List
from api.data.platforms import OnePlatform, Platforms
from api.data.provenances import ProvenanceOfThing
from api.data.things import Thing
from api.services import Provider
from beat_actors.data import catalog


def routes(provider: Provider) -> dict[str, Any]:
    """The resource of each path, for all that the platforms of this installation declare."""
    found: dict[str, Any] = {
        "/v1/platforms": Platforms(provider),
        "/v1/platforms/{platform}": OnePlatform(provider),
        "/v1/changes": Changes(provider),
    }
    for kind in catalog.kinds():
        one = f"/v1/{kind}/{{platform}}/{{name}}"
        found[f"/v1/{kind}/{{platform}}"] = Collection(provider, kind)
        found |= {one: Thing(provider, kind), f"{one}/history": History(provider, kind)}
        found[f"{one}/provenance"] = ProvenanceOfThing(provider, kind)
        for name in catalog.lists_of(kind):
            found |= {
                f"{one}/{name}": List(provider, kind, name),
                f"{one}/{name}/history": ListHistory(provider, kind, name),
            }
    return found
