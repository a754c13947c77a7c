"""Where a bucket is, and with which key it is asked. boto3 finds both, in a thread: the usual AWS variables, a profile, or the role of the machine.

Keys of a role expire. They are looked for again while the old ones are in use, so that no request waits for it.
"""

import asyncio
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from beat_actors.errors import ObjectsUnavailable
from beat_actors.logger import get_logger
from beat_actors.transport.signing import Credentials, Signer

if TYPE_CHECKING:
    import boto3.session
    from botocore.awsrequest import AWSRequest

log = get_logger(__name__)

KEPT = 60.0
"""Seconds after which boto3 is asked again. It fetches a new key of a role a quarter of an hour before the old one expires."""
DOUBTED = 10.0
"""Seconds between two new looks for a key that the bucket refuses."""
REGION = "us-east-1"
"""The region of an endpoint that is not AWS, where none is named."""


@dataclass(frozen=True, slots=True)
class Access:
    """`origin`: scheme, host and port of the URL; `root`: the path before the key, which ends with a slash."""

    credentials: Credentials
    origin: str
    root: str
    region: str
    signer: Signer


class AccessFinder:
    """Finds the access to one bucket, for the tasks of any event loop. It keeps one idle thread."""

    def __init__(self, bucket: str, endpoint_url: str | None, region: str | None) -> None:
        self._bucket, self._endpoint_url, self._region = bucket, endpoint_url, region
        self._where = f"{bucket} at {endpoint_url or 'AWS'}"
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="aws-keys")
        self._lock = threading.Lock()
        self._looking: Future[Access] | None = None
        self._found: Access | None = None
        self._session: boto3.session.Session | None = None
        self._look_at = self._doubted_at = float("-inf")

    async def get(self) -> Access:
        """The access. Waits only for the first look. Raises `ObjectsUnavailable` where there is no key."""
        found = self._found
        if found is not None and time.monotonic() < self._look_at:
            return found
        looking = self._look()
        if found is not None:
            return found
        return await _result(looking)

    async def doubted(self) -> bool:
        """The bucket refuses the key: look for it anew, as after a rotation. False where that was done a moment ago, or found the same."""
        with self._lock:
            if time.monotonic() < self._doubted_at + DOUBTED:
                return False
            self._doubted_at = time.monotonic()
            before, self._session = self._found, None
        after = await _result(self._look())
        return before is None or after.credentials != before.credentials

    def moved(self, region: str) -> bool:
        """The bucket is in another region than was thought, as AWS says. False where that is no news."""
        found = self._found
        if self._endpoint_url is not None or found is None or found.region == region:
            return False
        with self._lock:
            self._region, self._found, self._session = region, None, None
        log.warning("bucket_in_another_region", bucket=self._bucket, region=region, fix=f"set BEAT_S3_REGION={region}")
        return True

    def _look(self) -> Future[Access]:
        with self._lock:
            if self._looking is None or self._looking.done():
                self._looking = self._pool.submit(self._find)
            return self._looking

    def _find(self) -> Access:
        # Imported here, in a thread: boto3 takes 0.3 s, and most processes store nothing.
        import boto3
        from botocore.exceptions import BotoCoreError

        try:
            if self._session is None:
                self._session = boto3.session.Session()
            keys = self._session.get_credentials()
            if keys is None:
                said = "there are no AWS credentials in this process"
                raise ObjectsUnavailable(f"the bucket {self._where}: {said}", reason="no_credentials")
            frozen = keys.get_frozen_credentials()
            known = Credentials(frozen.access_key, frozen.secret_key, frozen.token or None)
            found = self._found
            if found is None:
                found = self._located(self._session, known)
            elif found.credentials != known:
                found = Access(known, found.origin, found.root, found.region, Signer(_host(found.origin), found.region))
        except (BotoCoreError, ValueError, OSError) as error:
            said = f"boto3 finds no AWS credentials, or no endpoint ({type(error).__name__}: {error})"
            raise ObjectsUnavailable(f"the bucket {self._where}: {said}", reason="no_credentials") from None
        self._found, self._look_at = found, time.monotonic() + KEPT
        return found

    def _located(self, session: "boto3.session.Session", known: Credentials) -> Access:
        """By path at an endpoint that is named: names of buckets are no names of hosts on most servers that are not AWS. Otherwise as boto3
        does, by a host of the bucket's own wherever its name can be one."""
        if self._endpoint_url is not None:
            region = self._region or session.region_name or REGION
            parts = urlsplit(self._endpoint_url)
            origin, root = f"{parts.scheme}://{parts.netloc}", f"{parts.path.rstrip('/')}/{self._bucket}/"
        else:
            client = session.client("s3", region_name=self._region)
            client.meta.events.register_first("request-created.s3.GetObject", _intercepted)
            try:
                client.get_object(Bucket=self._bucket, Key="k")
            except _Intercepted as made:
                parts = urlsplit(made.url)
            origin, root = f"{parts.scheme}://{parts.netloc}", parts.path.removesuffix("k")
            region = client.meta.region_name
            region = REGION if region == "aws-global" else region
        return Access(known, origin, root, region, Signer(_host(origin), region))


class _Intercepted(Exception):
    """A request of boto3 has its URL, which has all that the AWS variables and the profile say of endpoints, and goes no further."""

    def __init__(self, url: str) -> None:
        self.url = url


def _intercepted(request: "AWSRequest", **_: object) -> None:
    raise _Intercepted(request.url)


async def _result(looking: Future[Access]) -> Access:
    """Of a look that others may wait for as well, so a cancelled caller does not cancel it."""
    waiting = asyncio.wrap_future(looking)
    waiting.add_done_callback(lambda done: done.cancelled() or done.exception())
    return await asyncio.shield(waiting)


def _host(origin: str) -> str:
    """As the header `Host` has it, which leaves out the usual port."""
    parts = urlsplit(origin)
    usual = {"http": ":80", "https": ":443"}[parts.scheme]
    return parts.netloc.rpartition("@")[2].lower().removesuffix(usual)
