"""The simulated providers: one server that answers as each provider does, with its limits, its errors, and faults on demand.

Part of the product: people try Beat on it, and rehearse incidents. Nothing in the engine imports it.
"""

from beat_actors.simulator.client import SimulatorClient, SimulatorRefused
from beat_actors.simulator.config import SimulatorConfig
from beat_actors.simulator.faults import ActiveFault, Fault, FaultKind
from beat_actors.simulator.ledger import LedgerReport, fingerprint
from beat_actors.simulator.population import Person, Population, Post
from beat_actors.simulator.provider import (
    Asked,
    Operation,
    Refusals,
    Reply,
    SimulatedProvider,
    Usage,
    Window,
    Words,
    World,
    reply,
)
from beat_actors.simulator.server import PortTaken, create_app, running, serve

__all__ = [
    "ActiveFault",
    "Asked",
    "Fault",
    "FaultKind",
    "LedgerReport",
    "Operation",
    "Person",
    "Population",
    "PortTaken",
    "Post",
    "Refusals",
    "Reply",
    "SimulatedProvider",
    "SimulatorClient",
    "SimulatorConfig",
    "SimulatorRefused",
    "Usage",
    "Window",
    "Words",
    "World",
    "create_app",
    "fingerprint",
    "reply",
    "running",
    "serve",
]  # fmt: skip
