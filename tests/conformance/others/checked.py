"""The test module of a distribution that brings a sink. Run for itself; with FAULTS in the environment, for a sink with each fault."""

import os

import pytest

from beat_actors.events.sinks import conformance
from beat_actors.events.sinks.conformance import *  # noqa: F403
from tests.conformance.others import memory

FAULTS = memory.FAULTS if os.environ.get("FAULTS") else ()
if FAULTS:  # each of them has a test or two that would wait for long
    conformance.PATIENCE = 2.0


@pytest.fixture(params=("", *FAULTS))
def stand(request: pytest.FixtureRequest) -> memory.MemoryStand:
    memory.FAULT["name"] = request.param
    return memory.stand()
