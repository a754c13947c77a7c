"""What the RapidAPI gateway puts around every provider that it sells: key headers, quota headers, its own errors.

source: the gateway's documentation and recorded headers; `-requests-reset` is in seconds (2163603 was recorded: 25 days).
"""

import re
from collections.abc import Mapping
from typing import ClassVar

from beat_actors.platforms.interface import Answer, Call, ErrorRule, Outcome, Reported, Source
from beat_actors.platforms.reading import NOT_JSON
from beat_actors.platforms.waits import LONGEST_WAIT, reset, seconds

HOUR, DAY = 3600.0, 86_400.0
SPENT = re.compile(r"exceeded the (hourly|daily|monthly) quota", re.IGNORECASE)


def _in_its_words(outcome: Outcome, status: int, message: str, wait: float | None = None) -> tuple[ErrorRule, ...]:
    """The gateway's words decide with the status that it gives them, and with 200."""
    return tuple(ErrorRule(outcome, status=each, message=message, wait=wait) for each in (status, 200))


GATEWAY_ERRORS = (
    *_in_its_words(Outcome.QUOTA_EXHAUSTED, 429, "exceeded the hourly quota", HOUR),
    *_in_its_words(Outcome.QUOTA_EXHAUSTED, 429, SPENT.pattern, DAY),
    *_in_its_words(Outcome.RATE_LIMITED, 429, "rate limit per second", 2),
    *_in_its_words(Outcome.CREDENTIAL_DEAD, 403, "not subscribed to this api"),
    *_in_its_words(Outcome.CREDENTIAL_DEAD, 401, "invalid api key"),
    # A path that the provider took away, or that the plan lacks: that the thing is not there, it does not say.
    ErrorRule(Outcome.UPSTREAM_DOWN, status=404, message="endpoint .* does not exist|api doesn't exist"),
    # A page, or nothing: the provider's own trouble, whatever the status.
    ErrorRule(Outcome.UPSTREAM_DOWN, status=range(400, 429), message=NOT_JSON),
)
THING_NOT_FOUND = (
    r"\b(user|username|account|profile|media|post|video|story|stories|reel|hashtag|comment)s?\b[^\"]{0,40}"
    r"\b(not found|not exist|doesn.?t exist|unavailable)"
)
"""The words with which an answer says of the thing itself, and not of a path or an endpoint, that it is not there."""
# After the provider's own, and what it passes through of the platform's: what is left by status. That our key is dead the gateway says
# in its own words; any other 401 is of the session that the provider has with the platform. A 404 without a word about the thing is the
# gateway's or a route's: no evidence that the thing is missing.
BY_STATUS = (
    ErrorRule(Outcome.RATE_LIMITED, status=429),
    ErrorRule(Outcome.UPSTREAM_DOWN, status=401),
    ErrorRule(Outcome.MISSING, status=404, message=THING_NOT_FOUND),
)


class RapidApiSource(Source):
    """Subclass and declare `host`; where the provider has refusals of its own, also `errors`, with these around them."""

    host: ClassVar[str]
    secret_fields = ("key",)
    # No answer that is one begins with a message.
    refusal = re.compile(rb'\s*\{\s*"messages?"\s*:\s*"')
    errors: ClassVar[tuple[ErrorRule, ...]] = (*GATEWAY_ERRORS, *BY_STATUS)

    def retry_after(self, answer: Answer) -> float | None:
        """Only a spent quota is told by its reset header; a per-second refusal carries the month's reset too, and so does an hour's.

        A spent short window has headers of its own (`x-ratelimit-remaining`, `x-ratelimit-reset`).
        """
        said = super().retry_after(answer)
        if said is not None:
            return said
        spent = SPENT.search(answer.body[:4096].decode("utf-8", "replace"))
        if spent is None:
            is_empty = seconds(answer.headers.get("x-ratelimit-remaining")) == 0
            short = reset(answer.headers.get("x-ratelimit-reset")) if is_empty else None
            return None if short is None else min(short, LONGEST_WAIT)
        until = reset(answer.headers.get("x-ratelimit-requests-reset"))
        longest = {"hourly": HOUR, "daily": DAY}.get(spent.group(1).lower())
        return until if until is None or longest is None else min(until, longest)

    def reported(self, answer: Answer) -> Reported | None:
        remaining = seconds(answer.headers.get("x-ratelimit-requests-remaining"))
        until = reset(answer.headers.get("x-ratelimit-requests-reset"))
        return None if remaining is None or until is None else Reported(min(int(remaining), 2**31 - 1), until)


def keyed(host: str, path: str, query: Mapping[str, str], secret: Mapping[str, str]) -> Call:
    return Call(path, query=query, headers={"X-RapidAPI-Key": secret["key"], "X-RapidAPI-Host": host})
