"""What a platform declares, and the plain values that pass between a source and the engine.

A platform is one folder. It declares entities (what is known about a thing), sources (one module per provider: endpoints,
limits, error table, parsers), an operation's chain of sources, and flows (what a consumer may ask for). Nothing here does
I/O: a source builds a `Call` and reads an `Answer`; the engine's one HTTP client lies in between.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, ClassVar

import msgspec

from beat_actors.errors import BadInput, NotFound, UnknownFlow
from beat_actors.platforms import waits
from beat_actors.platforms.keeping import Keep
from beat_actors.redaction import Redactor, redactor


class Outcome(StrEnum):
    """What an upstream call came to. The broker acts on the class alone; the detail is for people."""

    OK = "ok"
    RATE_LIMITED = "rate_limited"  # cool the credential down for a while
    QUOTA_EXHAUSTED = "quota_exhausted"  # cool the credential down until the provider's reset
    CREDENTIAL_DEAD = "credential_dead"  # revoked, expired: out until its secret is replaced
    PERMISSION_MISSING = "permission_missing"  # this credential may not do this operation; others may
    UPSTREAM_DOWN = "upstream_down"  # 5xx, timeout, broken connection: the source's fault, not the credential's
    UNREACHED = "unreached"  # no connection came about, so nothing was sent: not charged, and asked elsewhere or later
    MALFORMED = "malformed"  # an answer that the parser cannot read: the parser's or the source's fault
    MISSING = "missing"  # final: the thing does not exist
    UNSEEN = "unseen"  # this source sees no such thing, though others may: missing once they have been asked
    REFUSED = "refused"  # this source does not take the call, for a reason that no rule knows: the next source is asked
    TOO_MUCH = "too_much"  # the source answers a smaller page: the same source is asked for less
    PRIVATE = "private"  # final: the thing is not public
    BAD_REQUEST = "bad_request"  # final: the parameters can never work
    UNKNOWN = "unknown"  # the worker died while calling: charged, and asked again
    UNUSED = "unused"  # the lease was never used: the charge is returned
    DOUBTFUL = "doubtful"  # missing, or out of the credential's reach, whose check could not be asked: asked again
    PARSED = "parsed"  # the parser could read the answer: it says nothing of credentials, and closes a parser breaker


FINAL = frozenset({Outcome.MISSING, Outcome.PRIVATE, Outcome.BAD_REQUEST})
NOT_SENT = frozenset({Outcome.UNUSED, Outcome.UNREACHED})
"""Nothing left for the provider, so nothing is charged or traced."""


@dataclass(frozen=True, slots=True)
class Limit:
    """At most `calls` in any window of `seconds`, or in any day of the provider's calendar (`calendar` = a time zone's name).

    `scope` says who shares it: one credential, or all credentials of the source. `operations` narrows it to some operations.
    `reserve` is the share (0..1) of a daily budget kept for customer-facing requests.
    """

    name: str
    calls: int
    seconds: float
    scope: str = "credential"
    operations: frozenset[str] | None = None
    calendar: str | None = None
    reserve: float = 0.0

    def __post_init__(self) -> None:
        if self.calls < 1 or self.seconds <= 0:
            raise ValueError(f"limit {self.name}: calls and seconds must be positive")
        if self.scope not in ("credential", "source"):
            raise ValueError(f"limit {self.name}: scope is 'credential' or 'source', not {self.scope!r}")


@dataclass(frozen=True, slots=True)
class Call:
    """One HTTP call, relative to the source's base URL, or to `base` where that depends on the credential.

    `secret_query` holds the query parameters that never reach a log; `form` is a body of form fields, which never does.
    """

    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    secret_query: Mapping[str, str] = field(default_factory=dict, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    method: str = "GET"
    json_body: Any = None
    form: Mapping[str, str] | None = field(default=None, repr=False)
    base: str | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """A provider's whole answer. `headers` has lower-case names."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Reported:
    """What the provider says is left: `remaining` calls until `reset_seconds` from now. It may only lower what is left."""

    remaining: int
    reset_seconds: float


@dataclass(frozen=True, slots=True)
class Verdict:
    """How an answer is judged. `retry_after` is in seconds from now, `None` where the provider does not say.

    `doubtful`: the credential may be at fault; its check is asked before anybody acts on the verdict.
    """

    outcome: Outcome
    code: str = ""
    detail: str = ""
    retry_after: float | None = None
    reported: Reported | None = None
    doubtful: bool = False


@dataclass(frozen=True, slots=True)
class ErrorRule:
    """One line of a source's error table; the first line that matches decides. A field left at `None` matches anything.

    `code` and `subcode` are what the source's `error_key` reads from the body; `message` is a regular expression that is
    searched, whatever the case, in the body's text. `wait` is the cool-down in seconds where the answer itself names none.
    `doubtful` as in a verdict.
    """

    outcome: Outcome
    status: int | range | None = None
    code: int | str | None = None
    subcode: int | str | None = None
    message: str | None = None
    wait: float | None = None
    doubtful: bool = False

    def matches(self, status: int, code: int | str | None, subcode: int | str | None, text: str) -> bool:
        if self.status is not None and (
            status not in self.status if isinstance(self.status, range) else status != self.status
        ):
            return False
        if self.code is not None and code != self.code:
            return False
        if self.subcode is not None and subcode != self.subcode:
            return False
        return self.message is None or re.search(self.message, text, re.IGNORECASE) is not None


@dataclass(frozen=True, slots=True)
class FetchSpec:
    """One upstream call that is wanted: an operation and its parameters. A `cursor` is valid only at the `source` that gave it.

    `owner`: only credentials that belong to it may make the call (a shop's orders, an account's insights). `listing`: what the engine
    remembers of the pages before; flows leave it alone. `halvings`: how often the source has asked for less of this subject of late.
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
        """How many items the call asks for, where a page of the endpoint has `size` of them."""
        return max(1, size >> self.halvings)


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """What is known about one thing. `None` means unknown, and never overwrites what is known."""


@dataclass(frozen=True, slots=True)
class Refetch:
    """A flow that observes something anew. `params`: the fields that its parameters are taken from; `fixed`: those that are the same always.

    A field of the thing that another belongs to is written `KIND.FIELD`, as `profiles.handle`.
    """

    flow: str
    params: Mapping[str, str] = field(hash=False)
    fixed: Mapping[str, Any] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True)
class Listed:
    """Such things are listed under what they belong to: those whose `field` equals the `theirs` of one of the kind `under`.

    `theirs` is the other's key unless another field is named. `name` is what the list is called there, the entity's own kind unless
    another name is given. `refetch`: how the list is observed anew; its fields are those of the thing that they belong to.
    """

    under: str
    field: str
    theirs: str | None = None
    name: str | None = None
    refetch: tuple[Refetch, ...] = ()


@dataclass(frozen=True, slots=True)
class Personal:
    """Which `fields` of a thing are personal data, and in words what they say of whom. `subject`: those that hold a person's id or handle."""

    what: str
    fields: tuple[str, ...] = ()
    subject: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Entity:
    """Where the records of one type are kept: current state in `table`, every observation in `log` (dimensions and metrics).

    `kind` is what consumers call such things, in the plural: it makes the routes by which they are read. `names` are the fields,
    beside the key, by which one is found, whatever the case. `lists` says under what they are listed, `newest` by which time.
    `refetch`: the flows that observe one anew, the first for which all is known; `max_age`: seconds after which that is due.

    `metrics` are the fields that are numbers over time; the others, save the key, are dimensions. `assets` are the fields
    that hold media URLs. `volatile` fields change although the thing does not, as signed URLs do: they are current state and not
    logged. `subject` is the field by which the log is read, the key unless another is named. `version` is the field by which the
    provider says which of two observations is the newer; without one it is the one made last. `personal`: what of it is personal data; a
    thing without any says so, by no fields.
    """

    record: type[Record]
    kind: str
    table: str
    log: str | None
    key: str
    metrics: frozenset[str]
    assets: tuple[str, ...] = ()
    volatile: frozenset[str] = frozenset()
    subject: str | None = None
    version: str | None = None
    names: tuple[str, ...] = ()
    lists: tuple[Listed, ...] = ()
    newest: str | None = None
    refetch: tuple[Refetch, ...] = ()
    max_age: float = 86_400.0
    personal: Personal | None = None


@dataclass(frozen=True, slots=True)
class Parsed:
    """What a parser read: records in the order of the payload, and the next page's cursor (`None` on the last page).

    `listed`: ids of things that the answer names and says nothing else of; they are for the follow-ups, which can ask what they are.
    `partial`: why and where something of the answer was not read (`code`, `message`), `None` where all of it was.
    """

    records: Sequence[Record]
    next_cursor: str | None = None
    listed: Sequence[str] = ()
    partial: dict[str, Any] | None = None


Secret = Mapping[str, str]
CallBuilder = Callable[[FetchSpec, Secret], Call]
Parser = Callable[[bytes, FetchSpec], Parsed]


@dataclass(frozen=True, slots=True)
class Many:
    """One upstream call that answers up to `size` fetches of the operation, and is charged once.

    `join` makes one spec of theirs, for `build`. `split` gives each its own payload, in the order of the specs and in the shape
    in which `parse` reads the answer to a single one; what was asked for and is not there gets an answer that holds nothing.
    """

    size: int
    join: Callable[[Sequence[FetchSpec]], FetchSpec]
    split: Callable[[bytes, Sequence[FetchSpec]], Sequence[bytes]]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """How one source serves one operation.

    `parse` raises `Malformed` (with the path of the key), `Missing` or `Private`. `version` changes when its meaning does.
    `split` of `many` raises `Malformed` too. `scopes` are what a credential must have been granted for it. `keeps` cuts an answer down to
    what may be stored, before `parse` and before anything is written; the source's own where it is not given. `page`: how many items
    `build` asks for, by `spec.at_most(page)`; `None` where the call names no number, and so cannot ask for less.
    """

    build: CallBuilder
    parse: Parser
    version: int = 1
    many: Many | None = None
    scopes: frozenset[str] = frozenset()
    keeps: Keep | None = None
    page: int | None = None


CHECK, REFRESH = "credential_check", "credential_refresh"
UPKEEP = frozenset({CHECK, REFRESH})
"""The operations of the calls that are made for a credential's own sake. Limits and breakers know them as any other; no endpoint has such a name."""


@dataclass(frozen=True, slots=True)
class Health:
    """What a check of a credential found; `None` where the provider does not say.

    `data_access_expires_at`: when it stops to open the data of its user, whom only a new login can move, though it lives on.
    """

    verdict: Verdict
    scopes: frozenset[str] | None = None
    expires_at: datetime | None = None
    data_access_expires_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Check:
    """A cheap call that says whether a credential lives. `read` never raises."""

    build: Callable[[Secret], Call]
    read: Callable[[Answer], Health]


@dataclass(frozen=True, slots=True)
class Renewed:
    """What a refresh brought: the secret's `fields` that are new, good for `seconds` from the call on.

    A verdict of CREDENTIAL_DEAD says that the grant itself is gone, and a person has to give a new one.
    """

    verdict: Verdict
    fields: Mapping[str, str] = field(default_factory=dict, repr=False)
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Refresh:
    """How a secret that people give with `fields` gets, and gets again, the fields that calls are made with.

    Such a credential is not used before its first refresh, nor after the time that the last one gave. `read` never raises.
    """

    fields: tuple[str, ...]
    build: Callable[[Secret], Call]
    read: Callable[[Answer], Renewed]


class Source:
    """A provider: subclass it in a module of its own, and declare.

    `version_setting`: the setting that says which version of the API is called; `{version}` in a base URL stands for it.
    `keeps`: what of an answer is stored (`beat_actors.platforms.keeping`); all of it where neither the source nor the endpoint says so.
    `public_fields`: fields of a secret that name its owner and open nothing; `public_words`: text that stands in everybody's secret.
    Both may stand in an answer. Any other field is kept out of all that is stored and shown of one.
    `refusal`: how a body begins that is an error also when its status is 200.
    """

    name: ClassVar[str]
    base_url: ClassVar[str]
    secret_fields: ClassVar[tuple[str, ...]]
    limits: ClassVar[tuple[Limit, ...]] = ()
    errors: ClassVar[tuple[ErrorRule, ...]] = ()
    endpoints: ClassVar[Mapping[str, Endpoint]]
    check: ClassVar[Check | None] = None
    refresh: ClassVar[Refresh | None] = None
    version_setting: ClassVar[str | None] = None
    keeps: ClassVar[Keep | None] = None
    public_fields: ClassVar[frozenset[str]] = frozenset()
    public_words: ClassVar[tuple[str, ...]] = ()
    refusal: ClassVar[re.Pattern[bytes] | None] = None

    def redactor(self, secret: Secret) -> Redactor:
        """What knows the fields with which no answer may be kept."""
        hidden = tuple(value for name, value in secret.items() if name not in self.public_fields)
        public = tuple(value for name, value in secret.items() if name in self.public_fields)
        return redactor(hidden, (*self.public_words, *public))

    def secret_forms(self) -> tuple[tuple[str, ...], ...]:
        """The sets of fields that people may give as a secret: the plain one, and the one that is refreshed."""
        refreshed = () if self.refresh is None else (self.refresh.fields,)
        return tuple(dict.fromkeys((self.secret_fields, *refreshed)))

    def is_refreshed(self, secret: Secret) -> bool:
        return self.refresh is not None and set(self.refresh.fields) <= set(secret)

    def check_secret(self, secret: Secret) -> None:
        """Raises `BadInput` where a field is not what it must be. That each is there and not empty is seen to."""
        del secret

    def owner(self, secret: Secret) -> str | None:
        """To whom a credential belongs, where some calls can only be made with the owner's."""
        del secret
        return None

    def next_cursor(self, answer: Answer) -> str | None:
        """The next page's cursor where it stands in a header; the parser sees the body alone."""
        del answer
        return None

    def error_key(self, answer: Answer) -> tuple[int | str | None, int | str | None]:
        """The error's code and subcode in this provider's body, where it has them."""
        del answer
        return None, None

    def retry_after(self, answer: Answer) -> float | None:
        """Seconds until the provider says that it will answer again, a day at most; `None` where it says nothing."""
        said = waits.told(answer.headers, answer.body)
        return None if said is None else min(said, waits.LONGEST_WAIT)

    def reported(self, answer: Answer) -> Reported | None:
        """What the answer's headers say is left of the credential's quota."""
        del answer
        return None

    def is_error(self, answer: Answer) -> bool:
        """Whether the error table is to be asked. Some providers put an error into a 200."""
        if not 200 <= answer.status < 300:
            return True
        return self.refusal is not None and self.refusal.match(answer.body) is not None

    def classify(self, answer: Answer) -> Verdict:
        """Judge an answer by the error table. What no line matches moves on to the next source: an API's refusal (4xx, or an error
        in a 200) as `REFUSED`, which is counted, and anything else as the upstream's trouble."""
        reported = self.reported(answer)
        if not self.is_error(answer):
            return Verdict(Outcome.OK, reported=reported)
        code, subcode = self.error_key(answer)
        text = answer.body[:4096].decode("utf-8", "replace")
        label = "/".join(str(part) for part in (answer.status, code, subcode) if TOKEN.fullmatch(str(part)))
        for rule in self.errors:
            if rule.matches(answer.status, code, subcode, text):
                said = self.retry_after(answer) if rule.outcome in WAITS else None
                wait = said if said is not None else rule.wait
                detail = f"{_doubt(answer)}{text}"[:300]
                return Verdict(rule.outcome, label, detail, wait, reported, rule.doubtful)
        is_refusal = (
            NOT_JSON.match(answer.body) is None and answer.status // 100 in (2, 4) and answer.status not in PASSING
        )
        return Verdict(Outcome.REFUSED if is_refusal else Outcome.UPSTREAM_DOWN, label, text[:300], None, reported)


PASSING = frozenset({408, 425, 429})
"""Statuses of refusals that pass by themselves."""
NOT_JSON = re.compile(rb"\A(?!(\xef\xbb\xbf)?\s*[\[{])")
"""How a body begins that no API wrote: a page of what stands before it, a line of text, or nothing."""
TOKEN = re.compile(r"(?!None\Z)[A-Za-z0-9_.$-]{1,60}")
"""What is taken for a provider's code. Anything else that stands where one should is words."""
WAITS = frozenset({Outcome.RATE_LIMITED, Outcome.QUOTA_EXHAUSTED, Outcome.UPSTREAM_DOWN})

FollowUps = Callable[[FetchSpec, Mapping[str, Any], Parsed, int], Sequence[FetchSpec]]
"""(the fetch that was answered, the request's parameters, what was parsed, items of the request so far) -> fetches to add."""


@dataclass(frozen=True, slots=True)
class Resume:
    """A run goes on where the last one ended: what the request leaves open is filled in when it is accepted.

    The parameter `since` is taken from the column `field` of the entity in `table` whose key is the parameter `param`; `until`
    becomes the database's now. Both are ISO 8601 text.
    """

    table: str
    field: str
    param: str
    since: str
    until: str


@dataclass(frozen=True, slots=True)
class Flow:
    """What a consumer may ask for. `params` validates the request's parameters; `first` names its first fetch.

    At most `workers` x `concurrency` of its calls are out at once; a flow that declares nothing has as many as the broker gives one
    platform. `time_limit`: seconds that one stage may work on a fetch of it. `apart`: its fetches stand by themselves; where one is refused or
    cannot be read, the first one too, the others are asked all the same, and the request is complete without it.
    """

    name: str
    params: type[msgspec.Struct]
    first: Callable[[Any], FetchSpec]
    follow_ups: FollowUps
    workers: int = 20
    concurrency: int = 20
    time_limit: float = 600.0
    resume: Resume | None = None
    apart: bool = False

    def validate(self, params: Mapping[str, Any]) -> msgspec.Struct:
        """Raises `BadInput` with the field's path."""
        try:
            return msgspec.convert(dict(params), self.params)
        except msgspec.ValidationError as error:
            raise BadInput(f"{self.name}: {error}", field="params") from None


@dataclass(frozen=True, slots=True)
class RequestLimit:
    """At most `calls` on-demand requests in any window of `seconds`. Its name is the one that operators know the counter by; another
    window takes another name.

    `calendar`: the windows lie end to end instead, from the epoch on in UTC, so a day's begins at midnight. `per_subject`: each
    handle is counted apart. `reserve`: the share (0..1) that batch requests leave to the others. `pace`: in any window of so many
    seconds, requests that are not customer-facing take no more than an even part of what is not reserved. `spares_customers`:
    customer-facing requests are counted and not refused.
    """

    name: str
    calls: int
    seconds: int
    per_subject: bool = False
    calendar: bool = False
    reserve: float = 0.0
    pace: int | None = None
    spares_customers: bool = False

    def __post_init__(self) -> None:
        if re.fullmatch(r"[a-z0-9_]{1,100}", self.name) is None:
            raise ValueError(f"limit {self.name!r}: a name is lower-case letters, digits and underscores")
        if self.calls < 1 or self.seconds < 1 or not 0 <= self.reserve < 1:
            raise ValueError(
                f"limit {self.name}: calls and seconds must be positive, and reserve at least 0 and below 1"
            )
        if self.pace is not None and not 1 <= self.pace < self.seconds:
            raise ValueError(f"limit {self.name}: a pace is shorter than the window of {self.seconds} s")


@dataclass(frozen=True, slots=True)
class OnDemand:
    """What refreshes a profile for somebody who waits: a flow, its parameter that takes the handle, and the limits that stand above it."""

    flow: str
    param: str
    limits: tuple[RequestLimit, ...]


@dataclass(frozen=True, slots=True)
class Platform:
    """All that the engine needs to know of one platform. The first flow is what people mean when they name none.

    `record_lists`: the fields that hold lists of records in its payloads ("" for a list without a name), and not parts of a record: an item
    of theirs that cannot be read is left out by itself.
    """

    name: str
    sources: Mapping[str, Source]
    chains: Mapping[str, tuple[str, ...]]
    flows: Mapping[str, Flow]
    entities: tuple[Entity, ...]
    on_demand: OnDemand | None = None
    record_lists: frozenset[str] = frozenset()

    def flow(self, name: str) -> Flow:
        try:
            return self.flows[name]
        except KeyError:
            known = ", ".join(sorted(self.flows))
            raise UnknownFlow(f"{self.name} has no flow {name!r}; it has: {known}", field="flow") from None

    def entity_in(self, table: str) -> Entity:
        """The entity that is kept in this table. Raises `StopIteration` where the platform has none."""
        return next(entity for entity in self.entities if entity.table == table)

    def entity_named(self, kind: str) -> Entity:
        """Raises `NotFound` where the platform keeps no such things."""
        for entity in self.entities:
            if entity.kind == kind:
                return entity
        raise NotFound(f"{self.name} keeps no {kind}; it keeps: {', '.join(sorted(one.kind for one in self.entities))}")

    def entity_of(self, record: Record) -> Entity:
        for entity in self.entities:
            if type(record) is entity.record:
                return entity
        raise TypeError(f"{self.name} declares no entity for {type(record).__name__}")


def _doubt(answer: Answer) -> str:
    """A word about a wait that cannot be meant."""
    said = waits.told(answer.headers, answer.body)
    return "" if said is None or said <= waits.LONGEST_WAIT else f"[doubtful: it asks to wait {said:.0f} s] "


__all__ = [
    "CHECK", "FINAL", "REFRESH", "UPKEEP", "WAITS", "Answer", "Call", "CallBuilder", "Check", "Endpoint", "Entity", "ErrorRule",
    "FetchSpec", "Flow", "FollowUps", "Health", "Limit", "Listed", "Many", "OnDemand", "Outcome", "Parsed", "Parser", "Platform", "Record",
    "Refetch", "Refresh", "Renewed", "Reported", "RequestLimit", "Resume", "Secret", "Source", "Verdict",
]  # fmt: skip
