"""The doubles, one module each."""

from beat_actors.simulator.double import ProviderDouble
from beat_actors.simulator.providers import arraybobo, bestsolutions, graphapi, jotucker, lama

DOUBLES: dict[str, ProviderDouble] = {
    module.DOUBLE.name: module.DOUBLE for module in (graphapi, arraybobo, jotucker, lama, bestsolutions)
}
