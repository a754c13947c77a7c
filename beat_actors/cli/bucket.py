"""What `beat doctor` says of the bucket: whether it may be written, read by a range, and deleted from."""

import uuid

from beat_actors.cli.finding import Finding
from beat_actors.errors import ObjectMissing, ObjectsUnavailable
from beat_actors.settings import Settings
from beat_actors.transport.objects import ObjectStore

BODY = b"beat doctor"
OTHERWISE = "look at the endpoint's own log; until then raw payloads stay in PostgreSQL, and nothing is lost"
FIXES = {
    "unreachable": "start it, or correct BEAT_S3_ENDPOINT_URL and BEAT_S3_REGION",
    "no_credentials": "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY here and for the scheduler, or give the machine a role",
    "NoSuchBucket": "make the bucket, or correct BEAT_S3_BUCKET",
    "AccessDenied": "allow this key s3:PutObject, s3:GetObject and s3:DeleteObject under BEAT_S3_PREFIX, and s3:ListBucket on the bucket",
    **dict.fromkeys(
        ("InvalidAccessKeyId", "SignatureDoesNotMatch", "403"), "correct AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
    ),
}
"""By the reason of a refusal."""


async def examine(settings: Settings) -> list[Finding]:
    """Store a small object, read a part of it, and delete it."""
    store = ObjectStore.of(settings)
    if store is None:
        return [Finding("S3", "no bucket is named, so raw payloads stay in PostgreSQL")]
    key = f"{settings.s3_prefix}doctor/{uuid.uuid4().hex}"
    try:
        await store.put(key, BODY)
        part = await store.read(key, (5, 6))
        await store.keys(f"{settings.s3_prefix}doctor/")
        await store.delete([key])
    except ObjectsUnavailable as error:
        return [Finding("S3", str(error), FIXES.get(error.reason, OTHERWISE))]
    except ObjectMissing as error:
        return [Finding("S3", str(error), OTHERWISE)]
    if part != BODY[5:]:
        return [Finding("S3", f"the bucket {store.where} answers other bytes than were asked for", OTHERWISE)]
    return [Finding("S3", f"the bucket {store.where} may be written, read and deleted from")]
