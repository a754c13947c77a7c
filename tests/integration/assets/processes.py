"""The processes that upload, as they are started in production."""

import asyncio
import os
import resource
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from beat_actors.settings import Settings
from tests.integration.assets.rows import eventually
from tests.strict_s3 import StrictS3


def environment(settings: Settings, bucket: StrictS3, **more: str) -> dict[str, str]:
    assert settings.message_keys
    return {
        "PATH": os.environ["PATH"],
        "BEAT_ENVIRONMENT": "rehearsal",
        "BEAT_DATABASE_URL": str(settings.database_url),
        "BEAT_DATABASE_PREPARED_STATEMENTS": str(settings.database_prepared_statements),
        "BEAT_REDIS_URL": str(settings.redis_url),
        "BEAT_REDIS_NAMESPACE": settings.redis_namespace,
        "BEAT_MESSAGE_KEYS": settings.message_keys.get_secret_value(),
        "BEAT_S3_ENDPOINT_URL": bucket.url,
        "BEAT_ASSET_BUCKET": bucket.bucket,
        "BEAT_ASSET_ORIGIN": str(settings.asset_origin),
        **bucket.env,
        **more,
    }


@dataclass
class Uploading:
    process: subprocess.Popen[bytes]
    log: Path

    def said(self, event: str) -> int:
        return self.log.read_text().count(event)

    async def until_said(self, event: str, times: int = 1) -> None:
        await eventually(lambda: self.said(event) >= times)


@asynccontextmanager
async def started(
    log: Path, environment: dict[str, str], *, descriptors: int | None = None
) -> AsyncIterator[Uploading]:
    """`python -m actors --queues assets`. `descriptors`: as by `ulimit -n`."""

    def limit() -> None:
        if descriptors is not None:
            resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors, descriptors))

    with log.open("ab") as file:
        process = subprocess.Popen(  # noqa: ASYNC220 - it returns at once
            [sys.executable, "-m", "actors", "--processes", "1", "--threads", "2", "--queues", "assets"],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            process_group=0,
            preexec_fn=limit,
        )
    try:
        yield Uploading(process, log)
    finally:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        await asyncio.to_thread(process.wait)


def allow_descriptors(count: int) -> None:
    """Let this process, where the origin runs, open so many."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (count if hard == resource.RLIM_INFINITY else min(count, hard), hard))
