"""The values that pass between the engine, a source and a flow: the fetch that is wanted, the call, the answer, and what it comes to."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from beat_actors.platforms.entities import Record


class Outcome(StrEnum):
    """What came of an upstream call. The broker acts on the outcome alone; the code and the detail of a verdict are for people."""

    OK = "ok"
    RATE_LIMITED = "rate_limited"  # the credential cools down for a while
    QUOTA_EXHAUSTED = "quota_exhausted"  # the credential cools down until the provider's reset
    CREDENTIAL_DEAD = "credential_dead"  # revoked or expired: the credential is not used until its secret is replaced
    PERMISSION_MISSING = "permission_missing"  # this credential may not do the operation; another one may
    UPSTREAM_DOWN = (
        "upstream_down"  # 5xx, timeout, broken connection: the fault of the source and not of the credential
    )
    UNREACHED = "unreached"  # no connection was made, so nothing was sent: not charged, and asked elsewhere or later
    MALFORMED = "malformed"  # the parser cannot read the answer: the fault of the parser or of the source
    MISSING = "missing"  # final: the thing does not exist
    UNSEEN = "unseen"  # this source sees no such thing, but others may: missing once they all have been asked
    REFUSED = "refused"  # the source refuses the call for a reason that no rule knows: the next source is asked
    TOO_MUCH = "too_much"  # the source would answer a smaller page: the same source is asked for fewer items
    PRIVATE = "private"  # final: the thing is not public
    BAD_REQUEST = "bad_request"  # final: the parameters can never work
    UNKNOWN = "unknown"  # the worker died during the call: charged, and asked again
    UNUSED = "unused"  # the lease was not used: the charge is returned
    AMBIGUOUS = "doubtful"  # the thing is missing, or the credential may not see it, and its check could not be made: asked again
    PARSED = "parsed"  # the parser read the answer: closes a parser's breaker, and says nothing about the credential


FINAL = frozenset({Outcome.MISSING, Outcome.PRIVATE, Outcome.BAD_REQUEST})
NOT_SENT = frozenset({Outcome.UNUSED, Outcome.UNREACHED})
"""Outcomes of calls that did not leave for the provider. They are neither charged nor traced."""


@dataclass(frozen=True, slots=True)
class FetchSpec:
    """One upstream call that is wanted: an operation and its parameters. A `cursor` is valid only at the `source` that gave it.

    `owner`: only credentials that belong to it may make the call (a shop's orders, an account's insights). `listing`: what the engine
    remembers of the pages before; flows do not change it. `halvings`: how often the source has lately asked for fewer items of this subject.
    """

    operation: str
    params: Mapping[str, Any]
    cursor: str | None = None
    source: str | None = None
    page: int = 1
    owner: str | None = None
    listing: Mapping[str, Any] | None = None
    halvings: int = 0

    def at_most(self, size: int) -> int:
        """How many items the call asks for, where a page of the endpoint has `size` items."""
        return max(1, size >> self.halvings)


Secret = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Call:
    """One HTTP call. `path` is relative to the source's base URL, or to `base` where that depends on the credential.

    `secret_query`: query parameters that no log shows. `form`: a body of form fields, which no log shows either.
    """

    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    secret_query: Mapping[str, str] = field(default_factory=dict, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    method: str = "GET"
    json_body: object = None
    form: Mapping[str, str] | None = field(default=None, repr=False)
    base: str | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """The whole answer of a provider. The names in `headers` are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Reported:
    """The provider says that `remaining` calls are left until `reset_seconds` from now. The broker only ever lowers its own count by it."""

    remaining: int
    reset_seconds: float


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a source judges an answer. `retry_after`: seconds from now, `None` where the provider does not say.

    `ambiguous`: the credential may be at fault. Its check is made before the verdict takes effect.
    """

    outcome: Outcome
    code: str = ""
    detail: str = ""
    retry_after: float | None = None
    reported: Reported | None = None
    ambiguous: bool = False


@dataclass(frozen=True, slots=True)
class Parsed:
    """What a parser read: records in the order of the payload, and the next page's cursor (`None` on the last page).

    `listed`: ids of things of which the answer has nothing but the id. The follow-ups can ask for the rest.
    `partial`: why and where a part of the answer was not read (`code`, `message`); `None` where all of it was read.
    """

    records: Sequence[Record]
    next_cursor: str | None = None
    listed: Sequence[str] = ()
    partial: dict[str, Any] | None = None
