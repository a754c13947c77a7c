"""Objects in an S3 bucket: few and large requests, each with an end in time, made by boto3 in threads of their own.

A request without an answer blocks one of these threads and nothing else. This module repeats no request: its callers keep rows of what is left
to do, and ask again. boto3 finds the credentials: the usual AWS variables, a profile, or the role of the machine.
"""

import asyncio
import base64
import hashlib
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from beat_actors.errors import ObjectMissing, ObjectsUnavailable

if TYPE_CHECKING:
    from beat_actors.settings import Settings

T = TypeVar("T")

THREADS = 4
CONNECT, READ = 3.0, 10.0
"""Seconds to connect, and between two parts of an answer."""
PATIENCE = 30.0
"""Seconds that one request may take with all of its answer, and with the time that it waits for a thread."""
PAGE = 1000
"""Keys that S3 lists or deletes by one request, at most."""
MISSING = frozenset({"NoSuchKey", "InvalidRange", "404"})
EXISTS, CONFLICT = "PreconditionFailed", "ConditionalRequestConflict"


class Client(Protocol):
    """What is used of boto3's client, which declares no types."""

    def put_object(self, **given: object) -> Mapping[str, Any]: ...
    def get_object(self, **given: object) -> Mapping[str, Any]: ...
    def delete_objects(self, **given: object) -> Mapping[str, Any]: ...
    def list_objects_v2(self, **given: object) -> Mapping[str, Any]: ...


class ObjectStore:
    """A bucket. Every method raises `ObjectsUnavailable` where the bucket does not answer in time, or refuses."""

    def __init__(self, bucket: str, *, endpoint_url: str | None = None, region: str | None = None) -> None:
        self.bucket = bucket
        self.where = f"{bucket} at {endpoint_url or 'AWS'}"
        self._endpoint_url, self._region = endpoint_url, region
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="objects")
        self._made: Client | None = None
        self._making = threading.Lock()

    @staticmethod
    def of(settings: "Settings") -> "ObjectStore | None":
        """The bucket that the settings name, one object for the whole process. None where they name none."""
        if settings.s3_bucket is None:
            return None
        return _known(settings.s3_bucket, settings.s3_endpoint_url, settings.s3_region)

    @property
    def _client(self) -> Client:
        with self._making:  # boto3 makes one at a time
            if self._made is None:
                self._made = self._make()
            return self._made

    def _make(self) -> Client:
        # Imported here, in a thread: boto3 takes 0.3 s, and most processes store nothing.
        import boto3
        from botocore.config import Config

        config = Config(
            signature_version="s3v4",
            connect_timeout=CONNECT,
            read_timeout=READ,
            max_pool_connections=THREADS,
            retries={"total_max_attempts": 1},
            # Names of buckets are no names of hosts on most servers that are not AWS.
            s3={"addressing_style": "path" if self._endpoint_url else "auto"},
            # What is sent has a checksum that we name; further ones come as trailers, which other servers than AWS refuse.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        )
        made: Client = boto3.session.Session().client(
            "s3", endpoint_url=self._endpoint_url, region_name=self._region, config=config
        )
        return made

    async def put(self, key: str, body: bytes) -> bool:
        """Store an object that does not exist yet, with its SHA-256, which the bucket compares. False where one with this key exists."""
        digest = base64.b64encode(hashlib.sha256(body).digest()).decode()

        def put() -> bool:
            self._client.put_object(
                Bucket=self.bucket, Key=key, Body=body, ChecksumSHA256=digest, IfNoneMatch="*", ContentLength=len(body)
            )
            return True

        try:
            return await self._asked(put)
        except ObjectsUnavailable as error:
            if error.reason == EXISTS:
                return False
            raise

    async def read(self, key: str, span: tuple[int, int] | None = None) -> bytes:
        """An object, or the bytes of it that `span` (position, length) names. Raises `ObjectMissing` where there is no such object, or it is
        shorter."""
        given = {} if span is None else {"Range": f"bytes={span[0]}-{span[0] + span[1] - 1}"}

        def read() -> bytes:
            answer = self._client.get_object(Bucket=self.bucket, Key=key, **given)
            found: bytes = answer["Body"].read()
            return found

        try:
            found = await self._asked(read)
        except ObjectsUnavailable as error:
            if error.reason in MISSING:
                raise ObjectMissing(f"the bucket {self.where} has no object {key}, or a shorter one") from None
            raise
        if span is not None and len(found) != span[1]:
            raise ObjectMissing(f"the object {key} of the bucket {self.where} ends before {span[0] + span[1]}")
        return found

    async def delete(self, keys: Sequence[str]) -> None:
        """Delete objects; what does not exist is deleted already."""
        for at in range(0, len(keys), PAGE):
            some = {"Objects": [{"Key": key} for key in keys[at : at + PAGE]], "Quiet": True}

            def delete(some: Mapping[str, Any] = some) -> list[Mapping[str, str]]:
                return list(self._client.delete_objects(Bucket=self.bucket, Delete=some).get("Errors", ()))

            for refused in await self._asked(delete):
                said = f"it does not delete {refused.get('Key')}: {refused.get('Message')}"
                raise ObjectsUnavailable(f"the bucket {self.where}: {said}", reason=refused.get("Code", "refused"))

    async def keys(self, prefix: str) -> list[str]:
        """The first keys that begin with `prefix`, a thousand at most."""

        def listed() -> list[str]:
            answer = self._client.list_objects_v2(Bucket=self.bucket, Prefix=prefix, MaxKeys=PAGE)
            return [item["Key"] for item in answer.get("Contents", ())]

        return await self._asked(listed)

    async def _asked(self, work: Callable[[], T]) -> T:
        def run() -> T:
            from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

            try:
                return work()
            except ClientError as error:
                said = error.response.get("Error", {})
                reason = str(said.get("Code") or "refused")
                raise ObjectsUnavailable(
                    f"the bucket {self.where} answers {reason}: {said.get('Message')}", reason=reason
                ) from None
            except NoCredentialsError:
                said = "there are no AWS credentials in this process"
                raise ObjectsUnavailable(f"the bucket {self.where}: {said}", reason="no_credentials") from None
            except (BotoCoreError, OSError) as error:
                said = f"{type(error).__name__}: {error}"
                raise ObjectsUnavailable(
                    f"the bucket {self.where} does not answer ({said})", reason="unreachable"
                ) from None

        try:
            async with asyncio.timeout(PATIENCE):
                return await asyncio.get_running_loop().run_in_executor(self._pool, run)
        except TimeoutError:
            said = f"the bucket {self.where} did not answer within {PATIENCE:g} s"
            raise ObjectsUnavailable(said, reason="unreachable") from None


@cache
def _known(bucket: str, endpoint_url: str | None, region: str | None) -> ObjectStore:
    return ObjectStore(bucket, endpoint_url=endpoint_url, region=region)
