"""The embedded S3, as a service for the supervisor."""

import json
import signal
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from beat_actors.local import packages
from beat_actors.local.home import Home
from beat_actors.local.service import Service, answers_http

S3_PARTS = ("master", "master-grpc", "volume", "volume-grpc", "filer", "filer-grpc", "s3-grpc")
"""What SeaweedFS listens with beside S3, a port each."""


@dataclass(frozen=True)
class S3Server:
    """An S3 endpoint: SeaweedFS, which keeps objects on disk and compares signatures and checksums. It makes the bucket with the first object.

    S3 wants the key. SeaweedFS' own parts speak to each other on the loopback without one, so on a machine with other users nothing
    that is secret belongs into it.
    """

    place: Path
    """The parent of the data folder."""
    ports: Mapping[str, int]
    secret_key: str = field(repr=False)
    access_key: str = "beat"
    bucket: str = "beat-assets"

    @classmethod
    def at(cls, home: Home) -> Self:
        """With the ports and the key that the data root remembers."""
        home.lock()
        ports = {"s3": home.port("s3"), **{part: home.port(f"s3-{part}") for part in S3_PARTS}}
        return cls(home.path, ports, home.secret("s3"))

    @property
    def port(self) -> int:
        return self.ports["s3"]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def data(self) -> Path:
        return self.place / "s3"

    @property
    def env(self) -> dict[str, str]:
        """The variables by which boto3 finds the key."""
        return {
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_DEFAULT_REGION": "us-east-1",
        }

    def service(self) -> Service:
        """Write the key anew; it is in a file because everybody can read a command line. It is ready some 3 s after its start."""
        self.data.mkdir(mode=0o700, exist_ok=True)
        keys = self.data / "keys.json"
        keys.touch(mode=0o600)
        known = {"accessKey": self.access_key, "secretKey": self.secret_key}
        keys.write_text(json.dumps({"identities": [{"name": "beat", "credentials": [known], "actions": ["Admin"]}]}))
        options = {
            "dir": self.data,
            "ip": "127.0.0.1",
            "ip.bind": "127.0.0.1",
            "master.telemetry": "false",
            "master.electionTimeout": "1s",
            "master.volumeSizeLimitMB": 256,
            "volume.max": 0,
            "volume.index": "leveldb",
            "volume.preStopSeconds": 0,
            "filer": "true",
            "filer.localSocket": "",
            "s3": "true",
            "s3.config": keys,
            "s3.localSocket": "",
            "s3.iam": "false",
            "s3.port.iceberg": 0,
            "s3.port.lance": 0,
            **{
                f"{name.replace('-grpc', '')}.port{'.grpc' * name.endswith('-grpc')}": n
                for name, n in self.ports.items()
            },
        }
        return Service(
            name="s3",
            argv=(
                packages.program(*packages.S3),
                "-logtostderr=true",
                "server",
                *(f"-{name}={value}" for name, value in options.items()),
            ),
            ready=lambda: answers_http(self.port, "/healthz", below=300),
            # At SIGTERM its parts wait for each other for long. What it acknowledged is on disk, also where it is killed.
            stop_signal=signal.SIGINT,
            stop_timeout=4.0,
            cwd=self.data,
        )
