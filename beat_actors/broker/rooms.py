"""How many more calls of each flow a turn may let out."""

from collections import Counter
from collections.abc import Sequence

from beat_actors.broker.flows import Setting, in_force
from beat_actors.broker.loading import Held
from beat_actors.broker.state import FlowRoom
from beat_actors.platforms.interface import Platform


def rooms(platform: Platform, settings: Sequence[Setting], held: Sequence[Held]) -> dict[str, FlowRoom]:
    """What is left for each flow of the platform. `held`: the calls in flight."""
    set_to = {row.flow: row for row in settings}
    out: Counter[str] = Counter()
    for row in held:
        out[row.flow] += row.calls
    found = {}
    for name, flow in platform.flows.items():
        setting = set_to.get(name)
        workers, concurrency = in_force(flow, setting)
        found[name] = FlowRoom(
            name, workers * concurrency, setting is not None and setting.paused, out[name], platform.name
        )
    return found
