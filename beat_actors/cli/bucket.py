"""What `beat doctor` says of the buckets: whether they may be written, read by a range, listed and deleted from, and replace nothing."""

import uuid
from dataclasses import dataclass

from beat_actors.cli.finding import Finding
from beat_actors.errors import ObjectMissing, ObjectsUnavailable
from beat_actors.settings import Settings
from beat_actors.transport.objects import ObjectStore

BODY = b"beat doctor"
KEY = "correct AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"


@dataclass(frozen=True, slots=True)
class Use:
    """A bucket. `keys`: where Beat stores; `user`: the process that needs the key; `meanwhile`: what happens while the bucket is away."""

    check: str
    variable: str
    keys: str
    user: str
    without: str
    meanwhile: str


PAYLOADS = Use(
    "S3",
    "BEAT_S3_BUCKET",
    "under BEAT_S3_PREFIX",
    "the scheduler",
    "no bucket is named, so raw payloads stay in PostgreSQL",
    "until then raw payloads stay in PostgreSQL, and nothing is lost",
)
ASSETS = Use(
    "asset bucket",
    "BEAT_ASSET_BUCKET",
    "on all keys",
    "the workers of the queue `assets`",
    "no bucket is named, so media are not copied",
    "until then media are not copied, and those that expire are lost",
)


async def examine(settings: Settings) -> list[Finding]:
    """Use each bucket as Beat does, with a small object that is deleted again."""
    return [
        await _examined(PAYLOADS, ObjectStore.of(settings), f"{settings.s3_prefix}doctor/"),
        await _examined(ASSETS, ObjectStore.of_assets(settings), "doctor/"),
    ]


async def _examined(use: Use, store: ObjectStore | None, place: str) -> Finding:
    if store is None:
        return Finding(use.check, use.without)
    otherwise = f"look at the endpoint's own log; {use.meanwhile}"
    key = f"{place}{uuid.uuid4().hex}"
    try:
        await store.put(key, BODY)
        replaced = await store.put(key, BODY)
        part = await store.read(key, (5, 6))
        await store.keys(place)
        await store.delete([key])
    except ObjectsUnavailable as error:
        return Finding(use.check, str(error), _fixes(use).get(error.reason, otherwise))
    except ObjectMissing as error:
        return Finding(use.check, str(error), otherwise)
    if part != BODY[5:]:
        return Finding(use.check, f"the bucket {store.where} answers other bytes than were asked for", otherwise)
    if replaced:
        said = f"the bucket {store.where} replaces objects although the request says `If-None-Match: *`"
        return Finding(use.check, said, "use a server that honours If-None-Match; Beat relies on it")
    return Finding(use.check, f"the bucket {store.where} may be written, read and deleted from")


def _fixes(use: Use) -> dict[str, str]:
    """By the reason of a refusal."""
    return {
        "unreachable": "start it, or correct BEAT_S3_ENDPOINT_URL and BEAT_S3_REGION",
        "no_credentials": f"set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY here and for {use.user}, or give the machine a role",
        "NoSuchBucket": f"make the bucket, or correct {use.variable}",
        "AccessDenied": f"allow this key s3:PutObject, s3:GetObject and s3:DeleteObject {use.keys}, and s3:ListBucket on the bucket",
        "RequestTimeTooSkewed": "set the clock of this machine: it is more than 15 minutes off",
        "PermanentRedirect": "set BEAT_S3_REGION to the region of the bucket",
        **dict.fromkeys(("InvalidAccessKeyId", "SignatureDoesNotMatch", "403"), KEY),
    }
