"""URLs of RabbitMQ: what they name, what is refused, and that no message has a password."""

from pathlib import Path
from urllib.parse import parse_qsl

import pytest

from beat_actors.errors import BadSettings
from beat_actors.events.sink import Place
from beat_actors.events.sinks.amqp import AmqpSink
from beat_actors.events.sinks.amqp.address import address, addresses
from tests.certificates import certificate


def of(url: str) -> Place:
    """As a place is made of a setting: the URL as it is, and its query."""
    return Place("bus", url, options=dict(parse_qsl(url.partition("?")[2], keep_blank_values=True)))


def test_what_a_url_leaves_out_has_defaults() -> None:
    found = address(of("amqp://mq"))
    assert (found.host, found.port, found.user, found.password, found.vhost) == ("mq", 5672, "guest", "guest", "/")
    assert (found.exchange, found.heartbeat, found.tls) == ("beat.dx", 10, None)
    assert address(of("amqps://mq")).port == 5671


def test_login_and_virtual_host_are_percent_decoded() -> None:
    found = address(of("amqp://a%40b:p%2Fw%3F@mq:1234/%2fevents?exchange=other.dx&heartbeat=30"))
    assert (found.user, found.password, found.port, found.vhost) == ("a@b", "p/w?", 1234, "/events")
    assert (found.exchange, found.heartbeat) == ("other.dx", 30)
    assert "p/w?" not in repr(found)
    assert found.name == "mq:1234"


def test_a_url_of_a_cluster_names_several_nodes() -> None:
    found = addresses(of("amqp://a%2Cb:p@mq1,mq2:1234,[::1]:5/events?exchange=other.dx"))
    assert [(node.host, node.port) for node in found] == [("mq1", 5672), ("mq2", 1234), ("::1", 5)]
    assert {(node.user, node.password, node.vhost, node.exchange) for node in found} == {
        ("a,b", "p", "events", "other.dx")
    }
    assert [node.name for node in addresses(of("amqp://mq"))] == ["mq:5672"]


def test_tls_checks_the_name_and_takes_an_authority_of_its_own(tmp_path: Path) -> None:
    cafile = certificate(tmp_path / "ca.pem")
    tls = address(of(f"amqps://mq?cafile={cafile}")).tls
    assert tls is not None
    assert tls.check_hostname
    assert tls.verify_mode.name == "CERT_REQUIRED"


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("redis://u:s3cret@mq", "amqp://HOST"),
        ("amqp://u:s3cret@", "amqp://HOST"),
        ("amqp://u:s3cret@mq:99999", "cannot be read"),
        ("amqp://u:s3cret@mq,", "different nodes"),
        ("amqp://u:s3cret@mq,mq", "different nodes"),
        ("amqp://u:s3cret@" + ",".join(f"mq{n}" for n in range(10)), "at most 9"),
        ("amqp://u:s3cret@mq,other:99999", "cannot be read"),
        ("amqp://u:s3cret@mq?confirm=off", "unknown option 'confirm'"),
        ("amqp://u:s3cret@mq?heartbeat", "from 2 to 300"),
        ("amqp://u:s3cret@mq?heartbeat=0", "from 2 to 300"),
        ("amqp://u:s3cret@mq?heartbeat=soon", "from 2 to 300"),
        ("amqp://u:s3cret@mq?exchange=", "'exchange' has a value"),
        ("amqp://u:s3cret@mq?exchange=amq.topic", "'exchange' has a value"),
        ("amqp://u:s3cret@mq?cafile=ca.pem", "unknown option 'cafile'"),
        ("amqps://u:s3cret@mq?cafile=no-such-file.pem", "does not exist"),
        ("amqps://u:s3cret@mq?keyfile=pyproject.toml", "needs 'certfile'"),
        ("amqps://u:s3cret@mq?cafile=pyproject.toml", "no certificates"),
        ("amqp://u:12?exchange=s3cret@mq", "percent-encode"),
        ("amqp://u:12#s3cret@mq", "percent-encode"),
        ("amqp://u:a?s3cret@mq", "cannot be read"),
        ("amqp://u:s3cret@mq/" + "v" * 128, "virtual host"),
    ],
)
def test_a_url_that_cannot_be_used_is_refused_without_its_login(url: str, says: str) -> None:
    with pytest.raises(BadSettings) as raised:
        AmqpSink(of(url))
    assert says in str(raised.value)
    assert "s3cret" not in str(raised.value)
