"""The settings of traces."""

import pytest

from beat_actors.errors import BadSettings
from beat_actors.settings import Settings, load
from beat_actors.traces import encoding
from beat_actors.traces.collector import pause_after, url_of
from beat_actors.traces.headers import headers_of

URLS = {"database_url": "postgresql://nobody@localhost/none", "redis_url": "redis://localhost"}


def test_headers_are_as_opentelemetry_writes_them() -> None:
    assert headers_of("api-key=abc, x-tenant = a%20b%3D ,") == {"api-key": "abc", "x-tenant": "a b="}
    assert headers_of("") == {}


@pytest.mark.parametrize("text", ["no-value", "=x", "a b=c", "a=", "a=b%0d%0ac", "a=%C3%A9", "Content-Type=text/plain"])
def test_a_header_that_cannot_be_sent_is_refused_without_its_value(text: str) -> None:
    with pytest.raises(BadSettings, match=r"BEAT_OTLP_HEADERS: .*entry 2") as refusal:
        load(**URLS, otlp_headers=f"good=fine,{text}")
    assert "fine" not in str(refusal.value)


def test_the_path_is_added_unless_it_is_there() -> None:
    assert url_of("http://collector:4318") == "http://collector:4318/v1/traces"
    assert url_of("https://host/otlp/") == "https://host/otlp/v1/traces"
    assert url_of("https://host/v1/traces") == "https://host/v1/traces"


@pytest.mark.parametrize(
    "endpoint", ["collector:4318", "grpc://collector", "http://user:pass@collector", "http://c/?key=x"]
)
def test_an_endpoint_without_a_login_or_a_query_is_wanted(endpoint: str) -> None:
    with pytest.raises(BadSettings, match="BEAT_OTLP_ENDPOINT"):
        load(**URLS, otlp_endpoint=endpoint)


def test_slow_is_said_by_priority() -> None:
    assert Settings(**URLS, trace_slow='{"batch": 60}').trace_slow == {"batch": 60}
    for wrong in ('{"urgent": 1}', '{"batch": 0}', "ten"):
        with pytest.raises(BadSettings, match="BEAT_TRACE_SLOW"):
            load(**URLS, trace_slow=wrong)


@pytest.mark.parametrize("name", ["trace_sample", "trace_asked"])
@pytest.mark.parametrize("share", [-0.1, 1.1, "nan"])
def test_a_share_is_between_none_and_all(name: str, share: object) -> None:
    with pytest.raises(BadSettings, match=f"BEAT_{name.upper()}"):
        load(**URLS, **{name: share})


def test_nothing_is_set_unless_it_is_said() -> None:
    settings = Settings(**URLS)
    assert (settings.otlp_endpoint, settings.otlp_headers) == (None, None)
    assert (settings.trace_sample, settings.trace_asked) == (0.01, 1.0)


def test_the_package_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    encoding.refuse_without_package()

    def missing(name: str) -> None:
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(encoding, "find_spec", missing)
    with pytest.raises(BadSettings, match=r"beat-actors\[otlp\]"):
        encoding.refuse_without_package()


def test_a_collector_that_is_away_is_asked_less_and_less_often() -> None:
    pauses = [pause_after(failures, 0.0) for failures in range(1, 12)]
    assert pauses[:3] == [5.0, 10.0, 20.0]
    assert pauses[-1] == max(pauses) == 300.0
    assert pause_after(1, 42.0) == 42.0
    assert pause_after(1, 1e9) == 3600.0
