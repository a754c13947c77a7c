"""What is served of each entity against what was true of it when it was observed, and what became of the records that are held.

The module does no I/O. The truth is the simulator's, which knows all that was true of its people in a span of time, whatever its answers said.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from beat_actors.database import Composed
from beat_actors.platforms.instagram.entities import InstagramAccount, InstagramPost
from beat_actors.platforms.instagram.trust import TRUST
from beat_actors.trust.gate import FEW, WIDEST
from beat_actors.trust.witnesses import ENDED, State

LATE = 10.0
"""Seconds that lie at most between the moment at which the simulator decides what it answers and the time of the observation: a call may take 5."""
COUNTS = frozenset({"followers", "following", "media_count", "likes", "comments"})
RECORDS = {"profile": InstagramAccount, "post": InstagramPost}
NUMBERS = {
    (kind, number.name): number
    for kind, record in RECORDS.items()
    for rules in TRUST.entities
    if rules.record is record
    for number in rules.numbers
}
"""What the gate is told of each count."""


class Served(NamedTuple):
    """A field as the API serves it. `person`: the id of the profile that it is about or belongs to. `at`: epoch seconds of the observation that told the
    field, which may be older than the row. `is_first`: nothing was known of the field before."""

    kind: str
    key: str
    person: str
    field: str
    value: str
    at: float
    is_first: bool = False


class Hold(NamedTuple):
    """A record that is or was held. `is_whole`: nothing of it was written. `waits`: a time is set at which it is looked at again. `is_marked`: its thing's
    row says that a record is held; `None` where there is no row."""

    id: int
    fetch_id: int
    request_id: int
    subject: str
    is_whole: bool
    state: str
    is_decided: bool
    waits: bool
    is_marked: bool | None


class Rejected(NamedTuple):
    """How many records of a request's answers cannot be true and were not written."""

    request_id: int
    records: int


@dataclass(frozen=True, slots=True)
class Truth:
    """What was true of somebody from `at` (epoch seconds) until the next one. `posts`: by shortcode."""

    at: float
    person: Mapping[str, Any]
    posts: Mapping[str, Mapping[str, Any]]


@dataclass(slots=True)
class Falsehoods:
    """Served values that were not true. `beyond_rules`: those that no rule of the gate can know, which are counted and break no promise."""

    served: list[str] = field(default_factory=list)
    beyond_rules: list[str] = field(default_factory=list)
    compared: int = 0


# A field that the last observation did not tell has a time of its own.
SERVED = Composed(
    "chaos/truths.served",
    """
SELECT s.kind, s.key, s.person, s.field, s.value, extract(epoch FROM s.at)::float8 AS at,
    CASE s.kind
        WHEN 'profile' THEN NOT EXISTS (SELECT FROM profile_log l WHERE l.profile_id = s.key AND l.observed_at < s.at AND l.metrics ? s.field)
        ELSE NOT EXISTS (SELECT FROM post_log l WHERE l.post_id = s.key AND l.observed_at < s.at AND l.metrics ? s.field)
    END AS is_first
FROM (SELECT u.*, coalesce((u.older -> u.field ->> 'at')::timestamptz, u.observed_at) AS at FROM (
    SELECT 'profile' AS kind, t.profile_id AS key, t.profile_id AS person, f.field, f.value, t.older, t.observed_at
    FROM instagram_account t CROSS JOIN LATERAL (VALUES ('handle', t.handle), ('full_name', t.full_name), ('is_verified', t.is_verified::text),
        ('followers', t.followers::text), ('following', t.following::text), ('media_count', t.media_count::text)) AS f(field, value)
    UNION ALL
    SELECT 'post', t.shortcode, coalesce(t.profile_id, a.profile_id), f.field, f.value, t.older, t.observed_at
    FROM instagram_post t
    LEFT JOIN LATERAL (SELECT a.profile_id FROM instagram_account a WHERE a.handle = t.handle ORDER BY a.observed_at DESC LIMIT 1) a ON t.profile_id IS NULL
    CROSS JOIN LATERAL (VALUES ('likes', t.likes::text), ('comments', t.comments::text)) AS f(field, value)
) u) s WHERE s.value IS NOT NULL AND s.person IS NOT NULL
""",
    Served,
)
HOLDS = Composed(
    "chaos/truths.holds",
    """
SELECT h.id, h.fetch_id, h.request_id, CASE h.kind WHEN 'profiles' THEN 'profile ' ELSE 'post ' END || h.key AS subject,
    '' = ANY (h.fields) AS is_whole, h.state, h.decided_at IS NOT NULL AS is_decided, h.next_at IS NOT NULL AS waits,
    CASE h.kind
        WHEN 'profiles' THEN (SELECT t.held_since IS NOT NULL FROM instagram_account t WHERE (t.profile_id, t.account_id, t.owner) = (h.key, h.account_id, h.owner))
        ELSE (SELECT t.held_since IS NOT NULL FROM instagram_post t WHERE (t.shortcode, t.account_id, t.owner) = (h.key, h.account_id, h.owner))
    END AS is_marked
FROM held_record h
""",
    Hold,
)
REJECTED = Composed(
    "chaos/truths.rejected",
    "SELECT request_id, sum(substring(error FROM '; ([0-9]+) of the')::integer)::integer AS records FROM quarantine WHERE kind = 'implausible' GROUP BY request_id",
    Rejected,
)


def falsehoods(served: Sequence[Served], truths: Mapping[str, Sequence[Truth]]) -> Falsehoods:
    """Compare each served value with what was true of it when it was observed. `truths`: of each person, in the order of their times."""
    found = Falsehoods()
    for one in served:
        known = _in_force(truths.get(one.person, ()), one.at)
        possible = {text for truth in known for text in _texts(truth, one)}
        found.compared += 1
        if one.value in possible:
            continue
        said = f"{one.kind} {one.key} is served with {one.field} {one.value}, and {' or '.join(sorted(possible)) or 'nothing'} was true of {one.person}"
        if one.field in COUNTS and any(is_beyond_rules(one, int(text)) for text in possible):
            found.beyond_rules.append(said)
        else:
            found.served.append(said)
    return found


def is_beyond_rules(one: Served, true: int) -> bool:
    """Whether no rule can know that a count is false. The first one that is known is compared with nothing. A small one has no range: it rises to what is
    within the widest range from `FEW`, and falls as far as the rule for falls lets it, which begins at some count and at nine tenths; twice that is
    looked at, because what was known before may be older. A negative count and one that exceeds all accounts are never beyond the rules."""
    served, number = int(one.value), NUMBERS[one.kind, one.field]
    if served < 0 or (number.most is not None and served > number.most):
        return False
    if one.is_first:
        return True
    if served < true:
        known = number.drop_from is not None and true >= 2 * number.drop_from and served * 20 <= true
        return true < FEW and not known
    return true < FEW and served < FEW * math.exp(WIDEST)


def undecided(holds: Sequence[Hold]) -> list[str]:
    """Records that are held and neither decided nor waiting for a next step, that have two ends, or of which the row says something else."""
    found = []
    for hold in holds:
        if hold.is_decided != (hold.state in ENDED):
            found.append(
                f"held record {hold.id} of {hold.subject} is {hold.state} and {'' if hold.is_decided else 'not '}decided"
            )
        if not hold.is_decided and hold.state != State.PERSON and not hold.waits:
            found.append(f"held record {hold.id} of {hold.subject} is {hold.state}, and nothing comes next")
        if not hold.is_decided and hold.is_marked is False:
            found.append(f"{hold.subject} does not say that held record {hold.id} is held")
    still = Counter(hold.subject for hold in holds if not hold.is_decided)
    found += [f"{subject} has {n} records that are held" for subject, n in still.items() if n > 1]
    marked = {hold.subject for hold in holds if hold.is_marked} - still.keys()
    return [*found, *(f"{subject} says that a record is held, and none is" for subject in sorted(marked))]


def unwritten(holds: Sequence[Hold], rejected: Sequence[Rejected]) -> Counter[int]:
    """By request, how many records of its answers were rightly not written."""
    found = Counter({one.request_id: one.records for one in rejected})
    found.update(hold.request_id for hold in holds if hold.is_whole and hold.state != State.ACCEPTED)
    return found


def written_again(holds: Sequence[Hold]) -> list[Hold]:
    """The held records of which a part was written at once, and all after they were accepted."""
    return [hold for hold in holds if not hold.is_whole and hold.state == State.ACCEPTED]


def _in_force(truths: Sequence[Truth], at: float) -> list[Truth]:
    ends = [*(truth.at for truth in truths[1:]), math.inf]
    return (
        [truth for truth, end in zip(truths, ends, strict=True) if truth.at <= at and end > at - LATE] if truths else []
    )


def _texts(truth: Truth, one: Served) -> set[str]:
    """What a true answer may say of the field; nothing where the person has no such post."""
    if one.kind == "profile":
        name = {"media_count": "posts"}.get(one.field, one.field)
        return {_text(truth.person[name])}
    post = truth.posts.get(one.key)
    if post is None:
        return set()
    if one.field == "likes" and post["likes_hidden"]:
        return {"3"}  # what a page says, and so do sources that do not tell that likes are hidden
    return {_text(post[one.field])}


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
