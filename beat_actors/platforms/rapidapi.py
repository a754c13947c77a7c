"""What the RapidAPI gateway adds to each provider behind it: headers of keys and quotas, and its own errors.

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
    """Rules for a message of the gateway, which it sends with this status or with 200."""
    return tuple(ErrorRule(outcome, status=each, message=message, wait=wait) for each in (status, 200))


GATEWAY_ERRORS = (
    *_in_its_words(Outcome.QUOTA_EXHAUSTED, 429, "exceeded the hourly quota", HOUR),
    *_in_its_words(Outcome.QUOTA_EXHAUSTED, 429, SPENT.pattern, DAY),
    *_in_its_words(Outcome.RATE_LIMITED, 429, "rate limit per second", 2),
    *_in_its_words(Outcome.CREDENTIAL_DEAD, 403, "not subscribed to this api"),
    *_in_its_words(Outcome.CREDENTIAL_DEAD, 401, "invalid api key"),
    # The provider has removed the path, or the plan does not include it. The answer does not say that the thing is missing.
    ErrorRule(Outcome.UPSTREAM_DOWN, status=404, message="endpoint .* does not exist|api doesn't exist"),
    # A page, or nothing, with any status: the provider has a fault.
    ErrorRule(Outcome.UPSTREAM_DOWN, status=range(400, 429), message=NOT_JSON),
)
THING_NOT_FOUND = (
    r"\b(user|username|account|profile|media|post|video|story|stories|reel|hashtag|comment)s?\b[^\"]{0,40}"
    r"\b(not found|not exist|doesn.?t exist|unavailable)"
)
"""Matches an answer that says that the thing itself is missing, and not a path or an endpoint."""
# The rules after the provider's own and those of the platform behind it. The gateway has its own message for a dead key, so any other 401 is
# about the session of the provider with the platform. A 404 that does not name the thing comes from the gateway or from a route, and does not
# prove that the thing is missing.
BY_STATUS = (
    ErrorRule(Outcome.RATE_LIMITED, status=429),
    ErrorRule(Outcome.UPSTREAM_DOWN, status=401),
    ErrorRule(Outcome.MISSING, status=404, message=THING_NOT_FOUND),
)


class RapidApiSource(Source):
    """Subclass it and declare `host`. A provider with refusals of its own also declares `errors`: between `GATEWAY_ERRORS` and `BY_STATUS`."""

    host: ClassVar[str]
    secret_fields = ("key",)
    guide = "subscribe to the API on rapidapi.com; the key is X-RapidAPI-Key of your application there"
    # No answer with data begins with a message.
    refusal = re.compile(rb'\s*\{\s*"messages?"\s*:\s*"')
    errors: ClassVar[tuple[ErrorRule, ...]] = (*GATEWAY_ERRORS, *BY_STATUS)

    def retry_after(self, answer: Answer) -> float | None:
        """The header of the monthly reset counts only for a spent quota. Refusals by the second and by the hour have it too.

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
    """A call to a provider behind the gateway."""
    return Call(path, query=query, headers={"X-RapidAPI-Key": secret["key"], "X-RapidAPI-Host": host})
