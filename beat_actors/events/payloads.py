"""The `data` of each type of event, field by field. The JSON Schemas that consumers read are generated from these types.

A released field keeps its name and its type, stays required or optional, and is never removed; a new field is optional, because events that were
written before it are still read and replayed. Anything else is a new major version of the type (`catalog`).
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any

import msgspec

from beat_actors.requests.states import Priority, Status

PRIORITIES = [priority.word for priority in Priority]
SEVERITIES = ["info", "warning", "critical"]
LOST = ["EXPIRED", "GONE", "FAILED"]
UNENDED = [Status.PENDING, Status.PROCESSING]


def said(text: str, /, one_of: Sequence[str] = ()) -> msgspec.Meta:
    """What a field means, and its unit. `one_of`: the only values of a text. For `Annotated`."""
    return msgspec.Meta(description=text, extra_json_schema={"enum": [str(one) for one in one_of]} if one_of else {})


Moment = Annotated[datetime, msgspec.Meta(tz=True)]
"""A time with its zone, RFC 3339."""


class RequestEvent(msgspec.Struct, frozen=True, kw_only=True):
    """A request at one moment of its life, with what a consumer needs to match it with its own records."""

    id: Annotated[int, said("The request.")]
    location: Annotated[str, said("Its path in the API.")]
    platform: Annotated[str, said("The platform that data was requested from, such as `instagram`.")]
    flow: Annotated[str, said("What was requested, such as `profile`.")]
    params: Annotated[dict[str, Any], said("The parameters of the flow, as they were submitted.")]
    status: Annotated[str, said("The status of the request.", list(Status))]
    priority: Annotated[str, said("The priority of the request.", PRIORITIES)]
    account_id: Annotated[str | None, said("The account that made the request; null: the installation.")]
    idempotency_key: Annotated[str | None, said("The key that the consumer gave, if it gave one.")]
    batch_id: Annotated[int | None, said("The batch that the request belongs to, if it belongs to one.")]
    created_at: Annotated[Moment, said("When the request was accepted.")]
    picked_at: Annotated[Moment | None, said("When the first of its calls began; null: none has.")]
    scraped_at: Annotated[Moment | None, said("When the request ended; null: it has not.")]
    tags: Annotated[dict[str, str] | None, said("The tags that the consumer gave, if it gave some.")]
    data: Annotated[
        dict[str, Any] | None,
        said(
            "The result so far: `items`, their number, and `source`, the provider; or `error` with a code and a sentence. Null: nothing yet."
        ),
    ]


class RequestAccepted(RequestEvent, frozen=True, kw_only=True):
    """A request was accepted, or is run again. `status` is PROCESSING if it shares the running work of an equal request."""

    status: Annotated[str, said("PENDING, or PROCESSING if it shares work that has begun.", UNENDED)]


class RequestProcessing(RequestEvent, frozen=True, kw_only=True):
    """The first call for a request has begun."""

    status: Annotated[str, said("Always PROCESSING.", [Status.PROCESSING])]


class Waiting(msgspec.Struct, frozen=True, kw_only=True):
    """Why a call waits."""

    reason: Annotated[
        str, said("A code: what the last call came to, such as `rate_limited`. Further codes may be added.")
    ]
    until: Annotated[Moment, said("The call is not made before this time. It may be made later.")]


class RequestWaiting(RequestEvent, frozen=True, kw_only=True):
    """A call of a request came to nothing and is made again later."""

    status: Annotated[str, said("PENDING or PROCESSING.", UNENDED)]
    waiting: Annotated[Waiting, said("Why it waits, and until when.")]


class RequestComplete(RequestEvent, frozen=True, kw_only=True):
    """All calls of a request have ended well, or it was answered from stored data."""

    status: Annotated[str, said("Always COMPLETE.", [Status.COMPLETE])]


class RequestFailed(RequestEvent, frozen=True, kw_only=True):
    """A request has failed; `data.error` says why."""

    status: Annotated[str, said("Always FAILED.", [Status.FAILED])]


class RequestCancelled(RequestEvent, frozen=True, kw_only=True):
    """A request was cancelled; `data.error` says by whom or why."""

    status: Annotated[str, said("Always CANCELLED.", [Status.CANCELLED])]


class BatchEnded(msgspec.Struct, frozen=True, kw_only=True):
    """All requests of a closed batch have ended."""

    id: Annotated[int, said("The batch.")]
    location: Annotated[str, said("Its path in the API.")]
    account_id: Annotated[str | None, said("The account of the batch; null: the installation.")]
    total: Annotated[int, said("How many requests the batch has.")]
    counts: Annotated[
        dict[str, int], said("How many of them have which status. A status without requests is left out.")
    ]
    created_at: Annotated[Moment, said("When the batch was created.")]
    cancelled_at: Annotated[Moment | None, said("When it was cancelled, if it was.")]
    ended_at: Annotated[Moment, said("When the end of its last request was noticed.")]


class DataChanged(msgspec.Struct, frozen=True, kw_only=True):
    """Entities of one kind are new or have changed, as one answer of a provider shows. Their own routes say what they are now."""

    platform: Annotated[str, said("The platform, such as `instagram`.")]
    kind: Annotated[str, said("The kind of the entities, such as `profile` or `post`.")]
    request_id: Annotated[int, said("The request that brought the answer.")]
    account_id: Annotated[str | None, said("The account that the entities are stored for; null: the installation.")]
    keys: Annotated[
        list[str], said("The keys of the entities, in their order: what comes after the kind in the paths of the API.")
    ]
    observed_at: Annotated[Moment | msgspec.UnsetType, said("When the answer began.")] = msgspec.UNSET


class DataRestored(msgspec.Struct, frozen=True, kw_only=True):
    """Entities of one kind were set right from their logs, because observations of them were wrong, or put back as they were before."""

    platform: Annotated[str, said("The platform, such as `instagram`.")]
    kind: Annotated[str, said("The kind of the entities, such as `profiles` or `posts`.")]
    restore_id: Annotated[int, said("The restore.")]
    undone: Annotated[bool, said("Whether the restore was undone: the entities are as they were before it.")]
    account_id: Annotated[str | None, said("The account that the entities are stored for; null: the installation.")]
    keys: Annotated[
        list[str],
        said(
            "The keys of the entities, in their order. An entity that only wrong observations told of is not known any more."
        ),
    ]


class AssetStored(msgspec.Struct, frozen=True, kw_only=True):
    """The picture or video of a media field is stored, and its object is in the bucket."""

    id: Annotated[str, said("The asset, a UUID.")]
    platform: Annotated[str, said("The platform, such as `instagram`.")]
    kind: Annotated[str, said("The kind of the entity, such as `profiles` or `posts`.")]
    key: Annotated[str, said("The key of the entity: what comes after the kind in the paths of the API.")]
    field: Annotated[str, said("The media field of the entity.")]
    account_id: Annotated[str | None, said("The account that had it observed first; null: the installation.")]
    location: Annotated[str, said("The path of the API that leads to the picture.")]
    source_url: Annotated[str, said("The provider's URL, as it was observed last, without its query.")]
    content: Annotated[str, said("The SHA-256 of the bytes, in hex.")]
    object_key: Annotated[
        str, said("Its key in the bucket, and its path under the URL of a CDN in front of the bucket.")
    ]
    media_type: Annotated[str, said("Its media type, such as `image/jpeg`.")]
    bytes: Annotated[int, said("Its size in bytes.")]
    width: Annotated[int | None, said("Its width in pixels; null: it is not known.")]
    height: Annotated[int | None, said("Its height in pixels; null: it is not known.")]
    replaces: Annotated[str | None, said("The SHA-256 of the picture that the field had before; null: it had none.")]


class AssetLost(msgspec.Struct, frozen=True, kw_only=True):
    """The picture of a media field cannot be had any more. An earlier picture stays stored if there is one."""

    id: Annotated[str, said("The asset, a UUID.")]
    platform: Annotated[str, said("The platform, such as `instagram`.")]
    kind: Annotated[str, said("The kind of the entity, such as `profiles` or `posts`.")]
    key: Annotated[str, said("The key of the entity: what comes after the kind in the paths of the API.")]
    field: Annotated[str, said("The media field of the entity.")]
    account_id: Annotated[str | None, said("The account that had it observed first; null: the installation.")]
    location: Annotated[str, said("The path of the API that leads to the last good picture, if there is one.")]
    source_url: Annotated[str, said("The provider's URL, as it was observed last, without its query.")]
    status: Annotated[
        str,
        said(
            "`EXPIRED`: no working URL was found. `GONE`: the origin has it no more. `FAILED`: it is not stored for what it is.",
            LOST,
        ),
    ]
    failure: Annotated[
        str | None, said("Why: a short word, such as `expired` or `html`. `beat assets show ID` has the sentence.")
    ]
    content: Annotated[str | None, said("The SHA-256 of the last good picture; null: there is none.")]


class CredentialEvent(msgspec.Struct, frozen=True, kw_only=True):
    """Whether a credential can be used has changed."""

    id: Annotated[int, said("The credential.")]
    platform: Annotated[str, said("The platform of its source.")]
    source: Annotated[str, said("The provider that it is for.")]
    until: Annotated[
        Moment | None,
        said(
            "When this is expected to end; of a dead one, when it is tried next. Null: it is not known, or does not end."
        ),
    ]
    reason: Annotated[
        str,
        said(
            "A code: `rate_limited`, `quota_exhausted`, `dead`, `recovered` (after a cooldown) or `revived` (after a refusal)."
        ),
    ]
    operation: Annotated[str | None, said("The operation of the call that showed it, if one did.")]
    code: Annotated[str | None, said("The error code of that call, if it had one.")]


class Cause(msgspec.Struct, frozen=True, kw_only=True):
    """The calls for which a breaker opened."""

    calls: Annotated[int, said("How many calls began within its window of a minute.")]
    failures: Annotated[int, said("How many of them failed.")]
    codes: Annotated[
        list[tuple[str, int]],
        said("The commonest error codes of the failures that were seen last, each with its number."),
    ]


class BreakerEvent(msgspec.Struct, frozen=True, kw_only=True):
    """The circuit breaker of one operation of a source has opened or closed."""

    platform: Annotated[str, said("The platform of the source.")]
    source: Annotated[str, said("The provider whose calls are stopped.")]
    operation: Annotated[str, said("The operation whose calls are stopped.")]
    kind: Annotated[str, said("`upstream`: calls failed. `parser`: answers could not be read.", ["upstream", "parser"])]
    owner: Annotated[str | None, said("The owner whose calls alone are stopped; null: everybody's.")]
    until: Annotated[Moment | None, said("When a probe is made; null: it is closed.")]
    opened_by: Annotated[Cause | None, said("Why it opened; null: it is closed, or an operator opened it.")]
    by_hand: Annotated[bool, said("Whether an operator opened it.")]


class DataBreakerEvent(msgspec.Struct, frozen=True, kw_only=True):
    """The data breaker of one operation of a source has opened or closed."""

    platform: Annotated[str, said("The platform of the source.")]
    source: Annotated[str, said("The provider whose answers are not used.")]
    operation: Annotated[str, said("The operation whose answers are not used.")]
    parser_version: Annotated[int, said("The version of the parser that read them.")]
    reason: Annotated[str, said("Why it opened; empty: it is closed, or an operator opened it.")]
    by_hand: Annotated[bool, said("Whether an operator opened or closed it.")]


class LimitReached(msgspec.Struct, frozen=True, kw_only=True):
    """A limit on on-demand requests has been used up to a given share."""

    limit: Annotated[str, said("The name of the limit.")]
    platform: Annotated[str, said("The platform that it is for.")]
    account_id: Annotated[str | None, said("The account that it is for; null: all accounts together.")]
    percent: Annotated[int, said("The share that was reached, in percent.")]
    used: Annotated[int, said("Calls that were made in the present window.")]
    calls: Annotated[int, said("Calls that the window allows.")]
    resets_at: Annotated[Moment | None, said("When the next calls leave the window; null: it is not known.")]


class AlertEvent(msgspec.Struct, frozen=True, kw_only=True):
    """An alert, as operators read it."""

    id: Annotated[int, said("The alert.")]
    key: Annotated[
        str,
        said(
            "What it is about: the name of its rule, a colon, and the subject. An alert that opens again has the same key and another id."
        ),
    ]
    severity: Annotated[str, said("How urgent it is.", SEVERITIES)]
    cause: Annotated[str, said("What happened, in a sentence.")]
    impact: Annotated[str, said("What it means for data and consumers.")]
    automatic: Annotated[str, said("What Beat does by itself.")]
    action: Annotated[str, said("One safe action for an operator.")]
    source: Annotated[str | None, said("The provider that it is about, if it is about one.")]
    opened_at: Annotated[Moment, said("When it was opened.")]


class AlertResolved(AlertEvent, frozen=True, kw_only=True):
    """The cause of an alert is gone."""

    resolved_at: Annotated[Moment, said("When it was resolved.")]
    seconds: Annotated[int, said("How long it was open, in seconds.")]


class WebhookTest(msgspec.Struct, frozen=True, kw_only=True):
    """A test that was asked for."""

    message: Annotated[str, said("A sentence that says that it is a test.")]
    webhook_id: Annotated[int, said("The endpoint that the test was sent to.")]
