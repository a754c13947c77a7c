"""What a platform declares of a provider: limits, error table, endpoints, the check and the refresh of its credentials."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import ClassVar
from zlib import crc32

from beat_actors.platforms import waits
from beat_actors.platforms.calls import Answer, Call, FetchSpec, Outcome, Parsed, Reported, Secret, Verdict
from beat_actors.platforms.entities import Tells
from beat_actors.platforms.keeping import Keep
from beat_actors.platforms.logins import Login
from beat_actors.redaction import Redactor, redactor


@dataclass(frozen=True, slots=True)
class Limit:
    """At most `calls` in any window of `seconds`, or in any day of the provider's calendar (`calendar` = a time zone's name).

    `scope`: "credential", or "source" for all credentials of the source together. `operations`: the limit counts these alone; the default
    is all. `reserve`: the share (0..1) of a daily budget that is kept for customer-facing requests.
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
class ErrorRule:
    """One line of a source's error table. The first line that matches decides. A field that is `None` matches anything.

    `code`, `subcode`: what the source's `error_key` reads from the body. `message`: a regular expression that is searched in the text of
    the body, without regard to case. `wait`: the cooldown in seconds where the answer names none. `ambiguous`: as in a verdict.
    """

    outcome: Outcome
    status: int | range | None = None
    code: int | str | None = None
    subcode: int | str | None = None
    message: str | None = None
    wait: float | None = None
    ambiguous: bool = False

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


CallBuilder = Callable[[FetchSpec, Secret], Call]
Parser = Callable[[bytes, FetchSpec], Parsed]


@dataclass(frozen=True, slots=True)
class Many:
    """One upstream call that answers up to `size` fetches of the operation, and is charged once.

    `join` makes one spec of theirs, for `build`. `split` returns the payload of each, in the order of the specs and in the shape that
    `parse` reads. A fetch whose thing is not in the answer gets a payload that holds nothing. `split` raises `Malformed`.
    """

    size: int
    join: Callable[[Sequence[FetchSpec]], FetchSpec]
    split: Callable[[bytes, Sequence[FetchSpec]], Sequence[bytes]]


@dataclass(frozen=True, slots=True)
class NextParser:
    """A parser that is to take the place of an endpoint's. Until then it reads the share of the answers that `BEAT_PARSER_CANARY` says. `tells`: the
    default is what the endpoint has."""

    parse: Parser
    version: int
    tells: Tells | None = field(default=None, hash=False)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """How one source serves one operation.

    `parse` raises `Malformed` (with the path of the key), `Missing` or `Private`. `version`: of the parser; it changes when the meaning of
    its records does. `scopes`: what a credential must have been granted. `keeps`: cuts an answer down to what may be stored, before `parse`
    and before anything is written; the default is that of the source. `page`: how many items `build` asks for, by `spec.at_most(page)`;
    `None` where the call names no number, so that it cannot ask for fewer. `tells`: which fields its answers tell; without it, no answer clears a
    field. `next_parser`: reads some of the answers.
    """

    build: CallBuilder
    parse: Parser
    version: int = 1
    many: Many | None = None
    scopes: frozenset[str] = frozenset()
    keeps: Keep | None = None
    page: int | None = None
    tells: Tells | None = field(default=None, hash=False)
    next_parser: NextParser | None = field(default=None, hash=False)

    def __post_init__(self) -> None:
        if self.next_parser is not None and self.next_parser.version == self.version:
            raise ValueError(f"the next parser has version {self.version} too; rows of the two could not be told apart")

    def reading(self, fetch_id: int, share: float) -> "Endpoint":
        """The endpoint as it reads the answer of a fetch: with its next parser for this share (0 to 1) of all fetches. It depends on nothing but the fetch and
        the share, so that an answer which is read again is read in the same way."""
        found = self.next_parser
        if found is None or crc32(b"%d" % fetch_id) >= share * 2**32:
            return self
        return replace(
            self, parse=found.parse, version=found.version, tells=found.tells or self.tells, next_parser=None
        )


CHECK, REFRESH = "credential_check", "credential_refresh"
UPKEEP = frozenset({CHECK, REFRESH})
"""The operations of the calls that check and refresh a credential. Limits and breakers count them as any other. No endpoint has such a name."""


@dataclass(frozen=True, slots=True)
class Health:
    """What a check of a credential found; `None` where the provider does not say.

    `data_access_expires_at`: when the credential, though alive, stops to open its user's data, until the user logs in again.
    """

    verdict: Verdict
    scopes: frozenset[str] | None = None
    expires_at: datetime | None = None
    data_access_expires_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Check:
    """A cheap call that shows whether a credential is alive. `read` never raises."""

    build: Callable[[Secret], Call]
    read: Callable[[Answer], Health]


@dataclass(frozen=True, slots=True)
class Renewed:
    """What came of a refresh: the new `fields` of the secret, which are valid for `seconds` from the call on.

    A verdict of CREDENTIAL_DEAD means that the grant itself is gone, and a person must give a new one.
    """

    verdict: Verdict
    fields: Mapping[str, str] = field(default_factory=dict, repr=False)
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Refresh:
    """How a secret that people give with `fields` gets the fields with which calls are made, at first and each time that these expire.

    Such a credential is not used before its first refresh, nor after the time that the last refresh gave. `read` never raises.
    """

    fields: tuple[str, ...]
    build: Callable[[Secret], Call]
    read: Callable[[Answer], Renewed]


PASSING = frozenset({408, 425, 429})
"""Statuses of refusals that end by themselves."""
NOT_JSON = re.compile(rb"\A(?!(\xef\xbb\xbf)?\s*[\[{])")
"""Matches a body that is not JSON: a page of a proxy, a line of text, or nothing."""
TOKEN = re.compile(r"(?!None\Z)[A-Za-z0-9_.$-]{1,60}")
"""A provider's error code. Any other text in its place is prose, and no part of the verdict's code."""
WAITS = frozenset({Outcome.RATE_LIMITED, Outcome.QUOTA_EXHAUSTED, Outcome.UPSTREAM_DOWN})
"""Outcomes for which the answer may say how long to wait."""


class Source:
    """A provider. Subclass it in a module of its own, and declare.

    `version_setting`: the setting with the version of the API that is called; `{version}` in a base URL stands for it. `keeps`: what of an
    answer is stored (`beat_actors.platforms.keeping`); all of it where neither the source nor the endpoint declares it. `public_fields`:
    fields of a secret that name its owner and open nothing. `public_words`: text that every secret contains. Both may stand in a stored
    answer. All other text of a secret is removed from what is stored and shown. `refusal`: how a body begins that is an error although its
    status is 200. `login`: how a person gets a secret with a browser. `guide`: where a person gets one by hand, in a sentence.
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
    login: ClassVar[Login | None] = None
    guide: ClassVar[str] = ""

    def redactor(self, secret: Secret) -> Redactor:
        """The redactor that removes the secret from answers, except for its public fields and words."""
        hidden = tuple(value for name, value in secret.items() if name not in self.public_fields)
        public = tuple(value for name, value in secret.items() if name in self.public_fields)
        return redactor(hidden, (*self.public_words, *public))

    def secret_forms(self) -> tuple[tuple[str, ...], ...]:
        """The sets of fields that people may give as a secret: the plain one, and the one that is refreshed."""
        refreshed = () if self.refresh is None else (self.refresh.fields,)
        return tuple(dict.fromkeys((self.secret_fields, *refreshed)))

    def is_refreshed(self, secret: Secret) -> bool:
        """Whether a credential with this secret is refreshed before it is used."""
        return self.refresh is not None and set(self.refresh.fields) <= set(secret)

    def check_secret(self, secret: Secret) -> None:
        """Raises `BadInput` where a field is not what it must be. The caller has checked that no field is missing or empty."""
        del secret

    def owner(self, secret: Secret) -> str | None:
        """The owner of a credential with this secret, where some calls need a credential of the owner; otherwise `None`."""
        del secret
        return None

    def next_cursor(self, answer: Answer) -> str | None:
        """The next page's cursor where a header has it. The parser sees the body alone."""
        del answer
        return None

    def error_key(self, answer: Answer) -> tuple[int | str | None, int | str | None]:
        """The code and the subcode of the error, where the provider's body has them."""
        del answer
        return None, None

    def retry_after(self, answer: Answer) -> float | None:
        """Seconds after which the provider says that it will answer again, at most a day; `None` where it says nothing."""
        said = waits.asked_for(answer.headers, answer.body)
        return None if said is None else min(said, waits.LONGEST_WAIT)

    def reported(self, answer: Answer) -> Reported | None:
        """What is left of the credential's quota, where the headers of the answer say it."""
        del answer
        return None

    def is_error(self, answer: Answer) -> bool:
        """Whether the error table judges the answer. Some providers answer an error with status 200."""
        if not 200 <= answer.status < 300:
            return True
        return self.refusal is not None and self.refusal.match(answer.body) is not None

    def classify(self, answer: Answer) -> Verdict:
        """Judge an answer by the error table.

        An error that no line matches moves the fetch to the next source. It is `REFUSED`, which Beat counts, where an API refused the call
        (4xx, or an error with status 200), and `UPSTREAM_DOWN` otherwise.
        """
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
                detail = f"{_on_wait(answer)}{text}"[:300]
                return Verdict(rule.outcome, label, detail, wait, reported, rule.ambiguous)
        is_refusal = (
            NOT_JSON.match(answer.body) is None and answer.status // 100 in (2, 4) and answer.status not in PASSING
        )
        return Verdict(Outcome.REFUSED if is_refusal else Outcome.UPSTREAM_DOWN, label, text[:300], None, reported)


def _on_wait(answer: Answer) -> str:
    """A remark for the detail, where the answer asks for a wait that is too long to be meant."""
    said = waits.asked_for(answer.headers, answer.body)
    return "" if said is None or said <= waits.LONGEST_WAIT else f"[doubtful: it asks to wait {said:.0f} s] "
