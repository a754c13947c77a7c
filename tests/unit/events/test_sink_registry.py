"""Sinks are found by the scheme of a URL, and a broken one harms its own places only."""

from importlib.metadata import EntryPoint
from types import MappingProxyType

import pytest

from beat_actors.errors import BadSettings
from beat_actors.events.sink import Place
from beat_actors.events.sinks import registry
from beat_actors.events.sinks.options import Options
from beat_actors.events.sinks.redis_streams import RedisStreams


class Angry:
    """A sink whose constructor raises what it should not, with a login in the text."""

    in_order = True

    def __init__(self, place: Place) -> None:
        raise RuntimeError(f"no way to {place.url}")

    open = publish = trouble = close = lambda self: None


class Halfway:
    in_order = True

    def open(self) -> None: ...


@pytest.fixture
def others(monkeypatch: pytest.MonkeyPatch) -> None:
    """What other distributions have installed, some of it broken."""
    here = __name__
    found = {
        **registry.schemes(),
        **{
            name: (EntryPoint(name, f"{module}:{value}", registry.GROUP),)
            for name, module, value in (
                ("gone", "no_such_module_of_anybody", "Sink"),
                ("angry", here, "Angry"),
                ("halfway", here, "Halfway"),
                ("number", here, "__name__"),
            )
        },
        "twice": tuple(EntryPoint("twice", f"{part}:Sink", registry.GROUP) for part in ("one", "two")),
    }
    monkeypatch.setattr(registry, "schemes", lambda: MappingProxyType(found))


@pytest.mark.parametrize("url", ["redis://localhost", "REDIS://localhost/3", "rediss://user:password@localhost:6380/1"])
def test_a_sink_is_found_by_the_scheme(url: str) -> None:
    assert isinstance(registry.make_sink(Place("a", url)), RedisStreams)


def test_an_unknown_scheme_names_those_that_exist() -> None:
    with pytest.raises(
        BadSettings, match=r"there is no sink for URLs that begin with 'pigeon'; there is: .*redis, rediss"
    ):
        registry.make_sink(Place("a", "pigeon://loft"))


@pytest.mark.usefixtures("others")
@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("gone://x", "the sink 'gone' of no_such_module_of_anybody:Sink cannot be loaded: ModuleNotFoundError"),
        ("angry://user:secret@x", r"the sink 'place' cannot be made: RuntimeError: no way to angry://\*\*\*@x"),
        ("halfway://x", "is no sink: it lacks publish, trouble, close"),
        ("number://x", "is no sink: it lacks open, publish, trouble, close, in_order"),
        ("twice://x", "is in several distributions: one:Sink, two:Sink"),
    ],
)
def test_a_broken_sink_is_named_and_harms_no_other(url: str, said: str) -> None:
    with pytest.raises(BadSettings, match=said):
        registry.make_sink(Place("place", url))
    assert registry.make_sink(Place("a", "redis://localhost"))


@pytest.mark.parametrize(
    ("value", "size"),
    [("64000000", 64_000_000), ("64MB", 64_000_000), ("64m", 64_000_000), ("1GiB", 1 << 30), ("2 ki", 2048), ("7b", 7)],
)
def test_a_size_is_written_in_bytes_or_with_a_unit(value: str, size: int) -> None:
    assert Options(Place("a", "redis://x", options={"max": value}), {"max"}).size("max", least=1) == size


@pytest.mark.parametrize("value", ["", "x", "-1", "1TB", "1.5MB", "9" * 16, "6", "٣"])
def test_any_other_size_is_refused(value: str) -> None:
    with pytest.raises(BadSettings, match="the option 'max' is not a size of at least 7 bytes"):
        Options(Place("a", "redis://x", options={"max": value}), {"max"}).size("max", least=7)


@pytest.mark.parametrize("value", ["", "x", "-1", "11", "0", "³", "1" * 20])
def test_a_number_is_in_its_range(value: str) -> None:
    options = Options(Place("a", "redis://x", options={"keep": value}), {"keep"})
    with pytest.raises(BadSettings, match="the option 'keep' is not a whole number from 1 to 10"):
        options.number("keep", 5, least=1, most=10)


@pytest.mark.parametrize(
    ("url", "options", "said"),
    [
        ("redis://h", {"steam": "x"}, "unknown option 'steam'; there is: max_bytes, stream"),
        ("redis://h", {"stream": "two words"}, "the option 'stream'"),
        ("redis://h", {"max_bytes": "10"}, "at least 1000000 bytes"),
        ("redis://h:port", {}, "the URL cannot be read"),
        ("redis:", {}, "the URL names no host"),
        ("redis://h", {"ssl_ca_certs": "x"}, "unknown option 'ssl_ca_certs'"),
    ],
)
def test_a_redis_place_that_cannot_be_used(url: str, options: dict[str, str], said: str) -> None:
    with pytest.raises(BadSettings, match=said):
        registry.make_sink(Place("a", url, options=options))
