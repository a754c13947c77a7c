"""The endpoints that can be had here, and where each differs from S3, with the reason.

BEAT_TEST_S3 names a further one: `https://host/bucket?region=eu-central-1`. Its key comes from the AWS variables. The bucket has to exist; the suite
leaves nothing in it but what lies under `conformance/`.
"""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, urlsplit

from beat_actors.local.home import temporary_home
from beat_actors.local.s3 import S3Server
from beat_actors.local.servers import running
from beat_actors.transport.signing import Credentials


@dataclass(frozen=True)
class Endpoint:
    """`differs`: by the name of a check, why this endpoint fails it. `restart`: kill it and start it again, where that can be done."""

    name: str
    url: str
    bucket: str
    credentials: Credentials
    region: str = "us-east-1"
    differs: Mapping[str, str] = field(default_factory=dict)
    restart: Callable[[], None] | None = None

    @property
    def env(self) -> dict[str, str]:
        named = {"AWS_ACCESS_KEY_ID": self.credentials.access_key, "AWS_SECRET_ACCESS_KEY": self.credentials.secret_key}
        token = {"AWS_SESSION_TOKEN": self.credentials.token} if self.credentials.token else {}
        return {**named, **token, "AWS_DEFAULT_REGION": self.region}


SEAWEEDFS = {
    "a_body_other_than_the_signed_one_is_refused": "SeaweedFS does not compare the body with x-amz-content-sha256; Beat sends a checksum as well",
    "a_body_without_a_length_is_refused": "SeaweedFS takes bodies without Content-Length; Beat always sends one",
}
STRICT = {
    "what_was_stored_is_there_after_a_kill": "the strict S3 keeps objects in memory, because it is the endpoint of benchmarks"
}


@contextmanager
def seaweedfs() -> Iterator[Endpoint]:
    with temporary_home() as home:
        server = S3Server.at(home)
        with running(home, server) as supervisor:

            def restart() -> None:
                (before,) = supervisor.status()
                assert before.pid
                os.kill(before.pid, signal.SIGKILL)
                until(
                    lambda: supervisor.status()[0].restarts > before.restarts and supervisor.status()[0].state == "up"
                )

            credentials = Credentials(server.access_key, server.secret_key)
            yield Endpoint("seaweedfs", server.url, server.bucket, credentials, differs=SEAWEEDFS, restart=restart)


@contextmanager
def strict() -> Iterator[Endpoint]:
    """As a process of its own."""
    started: list[subprocess.Popen[str]] = []

    def start(port: str = "0") -> dict[str, str]:
        started.append(
            subprocess.Popen(
                [sys.executable, "-m", "tests.strict_s3", "--port", port], stdout=subprocess.PIPE, text=True
            )
        )
        said = started[-1].stdout
        assert said is not None
        return dict(said.readline().strip().split("=", 1) for _ in range(5))

    def stop() -> None:
        started[-1].kill()
        started[-1].communicate()

    def restart() -> None:
        stop()
        start(str(urlsplit(env["BEAT_S3_ENDPOINT_URL"]).port))

    env = start()
    try:
        credentials = Credentials(env["AWS_ACCESS_KEY_ID"], env["AWS_SECRET_ACCESS_KEY"])
        yield Endpoint(
            "strict",
            env["BEAT_S3_ENDPOINT_URL"],
            env["BEAT_ASSET_BUCKET"],
            credentials,
            differs=STRICT,
            restart=restart,
        )
    finally:
        stop()


@contextmanager
def named() -> Iterator[Endpoint]:
    """What BEAT_TEST_S3 names."""
    parts = urlsplit(os.environ["BEAT_TEST_S3"])
    key, secret, token = (
        os.environ.get(f"AWS_{name}") for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "SESSION_TOKEN")
    )
    assert key is not None, "BEAT_TEST_S3 needs AWS_ACCESS_KEY_ID"
    assert secret is not None, "BEAT_TEST_S3 needs AWS_SECRET_ACCESS_KEY"
    region = dict(parse_qsl(parts.query)).get("region", "us-east-1")
    away = {"what_was_stored_is_there_after_a_kill": "nobody here can kill the server that BEAT_TEST_S3 names"}
    credentials = Credentials(key, secret, token)
    yield Endpoint("named", f"{parts.scheme}://{parts.netloc}", parts.path.strip("/"), credentials, region, away)


ENDPOINTS = {"strict": strict, "seaweedfs": seaweedfs, **({"named": named} if "BEAT_TEST_S3" in os.environ else {})}


def until(found: Callable[[], bool], seconds: float = 60.0) -> None:
    """Wait for what happens in another process."""
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        with contextlib.suppress(OSError):
            if found():
                return
        time.sleep(0.05)
    raise AssertionError(f"it did not happen within {seconds:g} s")
