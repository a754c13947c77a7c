"""What a simulated provider declares. One module declares one `provider`; `registry.py` finds it.

The server does what all providers share (routing, credentials, limits, faults, the ledger); a simulated provider says what is its own:
its paths, where its key stands, its limits, its headers, its error bodies, and its answers.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from beat_actors.simulator.population import Population

JSON = "application/json; charset=utf-8"
HTML = "text/html; charset=utf-8"

encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole HTTP answer."""

    status: int
    body: bytes
    content_type: str = JSON
    headers: Mapping[str, str] = field(default_factory=dict)


def reply(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Reply:
    """`value` as a JSON answer."""
    return Reply(status, encode(value), JSON, headers or {})


@dataclass(frozen=True, slots=True)
class Window:
    """At most `calls` in any window of `seconds`. A `quota` is a plan's budget instead: it starts full and refills at once
    when `seconds` have passed, or at each midnight of the time zone `calendar`, and its refusal has a body of its own.

    `operations`: which calls count, all of them if not given. `refusal`: the answer to a call that this window refuses, where
    it is not the simulated provider's usual one.
    """

    calls: int
    seconds: float
    quota: bool = False
    operations: frozenset[str] | None = None
    calendar: str | None = None
    refusal: Callable[[float], Reply] | None = None

    def __post_init__(self) -> None:
        if self.calls < 1 or self.seconds <= 0:
            raise ValueError("a window has at least one call and more than zero seconds")
        if self.calendar is not None and not self.quota:
            raise ValueError("a window that goes by a calendar is a quota")

    def counts(self, operation: str) -> bool:
        return self.operations is None or operation in self.operations


@dataclass(frozen=True, slots=True)
class Usage:
    """How far a credential is used up, this call included. `wait` is the seconds until a refused call would be let through."""

    calls: int = 0
    used: int = 0
    seconds: float = 0.0
    quota_calls: int = 0
    quota_left: int = 0
    quota_reset: float = 0.0
    refused_by: Window | None = None
    wait: float = 0.0


@dataclass(frozen=True, slots=True)
class World:
    """What there is to tell of. `cdn` begins every media URL; `None` = a host that looks like the provider's own."""

    people: Population
    cdn: str | None = None


class Grant(msgspec.Struct, frozen=True, kw_only=True):
    """What a key may do, and until when (epoch seconds). Without `scopes` it has all that there are; without an end it has none."""

    revoked: bool = False
    scopes: tuple[str, ...] | None = None
    expires_at: int | None = None
    data_access_expires_at: int | None = None


@dataclass(frozen=True, slots=True)
class Asked:
    """One call as a simulated provider sees it: the path's parts, the query, and the body of a POST.

    `base` is the simulated provider's own URL (`http://host:port/name`), for those that link to their next page.
    `usage`, `grant` (what a secret may do, revoked where it is over), `secret` (the key that the call brings) and `issue` (a new key
    for it, good for so many seconds) are only for operations that are not `cached`.
    """

    params: Mapping[str, str]
    query: Mapping[str, str]
    body: bytes = b""
    base: str = ""
    usage: Usage = Usage()
    grant: Callable[[str], Grant] = lambda _secret: Grant()
    secret: str = ""
    issue: Callable[[str, float], None] = lambda _secret, _seconds: None


Answerer = Callable[[Asked, World], Reply]


@dataclass(frozen=True, slots=True)
class Operation:
    """`path` may have parts like `{user_id}`. `cached`: the answer depends on path, query, body and drift epoch alone.

    `free`: asking costs no call of the credential's limits. `scope`: without it the thing is not there for a key. `key_field`: the
    field of the posted form in which the key stands, where it is in no header and no query. Where operations share a path, the first
    whose `when` holds for the query is the one, so that a simulated provider's operations have the engine's names; without one that holds it is
    the last.
    """

    name: str
    path: str
    answer: Answerer
    cached: bool = True
    free: bool = False
    scope: str | None = None
    key_field: str | None = None
    when: Callable[[Mapping[str, str]], bool] = lambda _query: True


@dataclass(frozen=True, slots=True)
class Refusals:
    """The provider's own bodies for a call that it does not serve. A callable's float is the seconds to wait.

    `out_of_scope` takes the path's parts; only for a simulated provider whose operations name scopes. `revoked_in` says it otherwise of a key
    that stands in the "header" or in the "form".
    """

    no_credential: Reply
    revoked: Reply
    over_limit: Callable[[float], Reply]
    over_quota: Callable[[float], Reply]
    unknown_path: Callable[[str], Reply]
    outage: Reply
    out_of_scope: Callable[[Mapping[str, str]], Reply] | None = None
    revoked_in: Mapping[str, Reply] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Words:
    """What a provider calls things, where no other does: the keys by which the faults know what to damage.

    `identity`: what says whom or what the answer is about. `followers`, `likes`, `metrics`: its counts. `swapped`: those that a parser may take for each
    other.
    """

    identity: frozenset[str] = frozenset()
    followers: frozenset[str] = frozenset()
    likes: frozenset[str] = frozenset()
    metrics: frozenset[str] = frozenset()
    swapped: tuple[tuple[str, str], ...] = ()


def _no_headers(_usage: Usage) -> Mapping[str, str]:
    return {}


@dataclass(frozen=True, slots=True)
class SimulatedProvider:
    """A provider as its callers see it, on the path prefix `/{name}`.

    `credential_header` (lower case) / `credential_query`: where the key stands. `version`: a regular expression for a first
    path segment that may be left out.
    """

    name: str
    operations: tuple[Operation, ...]
    refusals: Refusals
    limits: tuple[Window, ...] = ()
    credential_header: str | None = None
    credential_query: str | None = None
    usage_headers: Callable[[Usage], Mapping[str, str]] = _no_headers
    version: str | None = None
    words: Words = Words()

    def credential(
        self, headers: Mapping[str, str], query: Mapping[str, str], form: Mapping[str, str], key_field: str | None
    ) -> tuple[str, str]:
        """The key that a call brings, `""` where it brings none, and where it stands: in the header, the query or the form."""
        if key_field is not None:
            return form.get(key_field, ""), "form"
        found = headers.get(self.credential_header, "") if self.credential_header else ""
        if found:
            return found.removeprefix("Bearer "), "header"
        return query.get(self.credential_query, "") if self.credential_query else "", "query"


class Routes:
    """A simulated provider's paths, ready to be looked up."""

    def __init__(self, provider: SimulatedProvider) -> None:
        self._version = re.compile(f"/{provider.version}(?=/|$)") if provider.version else None
        of_path: dict[str, list[Operation]] = {}
        for operation in provider.operations:
            of_path.setdefault(_bare(operation.path), []).append(operation)
        self._exact = {path: operations for path, operations in of_path.items() if "{" not in path}
        self._patterns = [(_compiled(path), operations) for path, operations in of_path.items() if "{" in path]

    def find(self, path: str, query: Mapping[str, str]) -> tuple[Operation, Mapping[str, str]] | None:
        if self._version is not None and (version := self._version.match(path)):
            path = path[version.end() :]
        path = _bare(path)
        if (exact := self._exact.get(path)) is not None:
            return _chosen(exact, query), {}
        for pattern, operations in self._patterns:
            if found := pattern.fullmatch(path):
                return _chosen(operations, query), found.groupdict()
        return None


def _chosen(operations: Sequence[Operation], query: Mapping[str, str]) -> Operation:
    return next((operation for operation in operations if operation.when(query)), operations[-1])


def _bare(path: str) -> str:
    return path.rstrip("/") or "/"


def _compiled(path: str) -> re.Pattern[str]:
    parts = re.split(r"\{(\w+)\}", _bare(path))
    return re.compile("".join(f"(?P<{part}>[^/]+)" if n % 2 else re.escape(part) for n, part in enumerate(parts)))
