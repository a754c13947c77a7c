"""What `beat doctor` says of BEAT_EVENT_SINKS."""

import pytest

from beat_actors.cli.sinks import SET, configured
from beat_actors.event_sinks import EventSink
from beat_actors.settings import Settings


@pytest.mark.parametrize(
    ("sink", "said"),
    [
        ({"url": "redis:"}, "usable"),
        ({"url": "redis:", "types": ["beat.alert.*", "beat.batch.ended"]}, "usable"),
        ({"url": "carrier-pigeon://roof"}, "there is no sink for URLs that begin with 'carrier-pigeon'"),
        ({"url": "redis:?nothing=x"}, "nothing"),
        ({"url": "redis:", "types": ["beat.scrape.*"]}, "names no type of events"),
    ],
)
def test_a_setting_that_cannot_be_used_is_found(sink: dict[str, object], said: str) -> None:
    settings = Settings(
        database_url="postgresql://beat@localhost/beat",
        redis_url="redis://localhost/0",
        event_sinks={"bus": EventSink.model_validate(sink)},
    )
    (finding,) = configured(settings)
    assert (finding.check, said in finding.found, finding.fix) == (
        "setting of bus",
        True,
        "" if said == "usable" else SET,
    )
