"""One suite for every registered sink (`events/sinks/conformance`). A new sink of this distribution needs a module in `tests/conformance/stands`."""

from collections.abc import Callable, Iterator

import pytest

from beat_actors.events.sinks.conformance import *  # noqa: F403
from beat_actors.events.sinks.conformance import Stand
from beat_actors.events.sinks.registry import schemes, sink_class
from tests.conformance import stands

pytestmark = pytest.mark.slow

OURS = sorted(name for name, entries in schemes().items() if entries[0].value.startswith("beat_actors."))


def test_every_sink_of_this_distribution_has_a_stand() -> None:
    classes = {sink_class(name) for name in stands.schemes()}
    assert {sink_class(name) for name in OURS} == classes


@pytest.fixture(scope="module", params=sorted(stands.schemes()))
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], Stand]]:
    with stands.stands_of(request.param)(tmp_path_factory.mktemp(request.param)) as stand:
        yield stand


@pytest.fixture
def stand(server: Callable[[], Stand]) -> Stand:
    return server()
