"""The brokers that events are published to."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from beat_actors.local.home import temporary_home
from tests.conftest import fastest
from tests.rabbitmq import RabbitMQ, running


@pytest.fixture(scope="module")
def rabbitmq() -> Iterator[RabbitMQ]:
    """A node for the tests of a module."""
    binary = os.environ.get("BEAT_TEST_RABBITMQ")
    if not binary:
        pytest.skip(
            "BEAT_TEST_RABBITMQ names no rabbitmq-server (Debian: the one below lib/rabbitmq/bin, not the wrapper)"
        )
    with temporary_home(fastest()) as home, running(home, Path(binary)) as node:
        yield node
