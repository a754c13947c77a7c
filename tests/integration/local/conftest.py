"""Worlds for the local stack."""

from collections.abc import Iterator

import pytest

from beat_actors.local.home import Home, temporary_home


@pytest.fixture
def home() -> Iterator[Home]:
    """A data root that is gone afterwards."""
    with temporary_home() as home:
        yield home
