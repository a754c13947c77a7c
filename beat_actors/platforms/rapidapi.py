"""What the RapidAPI gateway puts around every provider that it sells: key headers, quota headers, its own errors.

source: the gateway's documentation and recorded headers; `-requests-reset` is in seconds (2163603 was recorded: 25 days).
"""

import re
from collections.abc import Mapping
from typing import ClassVar

from beat_actors.platforms.interface import Answer, Call, ErrorRule, Outcome, Reported, Source, seconds
from beat_actors.platforms.reading import NOT_JSON

HOUR, DAY = 3600.0, 86_400.0
SPENT = re.compile(r"exceeded the (hourly|daily|monthly) quota", re.IGNORECASE)
GATEWAY_ERRORS = (
    ErrorRule(Outcome.QUOTA_EXHAUSTED, status=429, message="exceeded the hourly quota", wait=HOUR),
    ErrorRule(Outcome.QUOTA_EXHAUSTED, status=429, message=SPENT.pattern, wait=DAY),
    ErrorRule(Outcome.RATE_LIMITED, status=429, message="rate limit per second", wait=2),
    ErrorRule(Outcome.CREDENTIAL_DEAD, status=403, message="not subscribed to this api"),
    ErrorRule(Outcome.CREDENTIAL_DEAD, status=401, message="invalid api key"),
    # A path that the provider took away, or that the plan lacks: that the thing is not there, it does not say.
    ErrorRule(Outcome.UPSTREAM_DOWN, status=404, message="endpoint .* does not exist|api doesn't exist"),
    # A page, or nothing: the provider's own trouble, whatever the status.
    ErrorRule(Outcome.UPSTREAM_DOWN, status=range(400, 429), message=NOT_JSON),
)
# After the provider's own, and what it passes through of the platform's: what is left by status. That our key is dead the gateway says
# in its own words; any other 401 is of the session that the provider has with the platform.
BY_STATUS = (
    ErrorRule(Outcome.RATE_LIMITED, status=429),
    ErrorRule(Outcome.UPSTREAM_DOWN, status=401),
    ErrorRule(Outcome.MISSING, status=404),
    ErrorRule(Outcome.BAD_REQUEST, status=400),
    ErrorRule(Outcome.BAD_REQUEST, status=422),
)


class RapidApiSource(Source):
    """Subclass and declare `host`; where the provider has refusals of its own, also `errors`, with these around them."""

    host: ClassVar[str]
    secret_fields = ("key",)
    errors: ClassVar[tuple[ErrorRule, ...]] = (*GATEWAY_ERRORS, *BY_STATUS)

    def retry_after(self, answer: Answer) -> float | None:
        """Only a spent quota is told by the reset header; a per-second refusal carries the month's reset too, and so does an hour's."""
        said = seconds(answer.headers.get("retry-after"))
        spent = SPENT.search(answer.body[:4096].decode("utf-8", "replace"))
        if said is not None or spent is None:
            return said
        reset = seconds(answer.headers.get("x-ratelimit-requests-reset"))
        longest = {"hourly": HOUR, "daily": DAY}.get(spent.group(1).lower())
        return reset if reset is None or longest is None else min(reset, longest)

    def reported(self, answer: Answer) -> Reported | None:
        remaining = seconds(answer.headers.get("x-ratelimit-requests-remaining"))
        reset = seconds(answer.headers.get("x-ratelimit-requests-reset"))
        return None if remaining is None or reset is None else Reported(int(remaining), reset)


def keyed(host: str, path: str, query: Mapping[str, str], secret: Mapping[str, str]) -> Call:
    return Call(path, query=query, headers={"X-RapidAPI-Key": secret["key"], "X-RapidAPI-Host": host})
