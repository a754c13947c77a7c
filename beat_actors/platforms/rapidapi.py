"""What the RapidAPI gateway puts around every provider that it sells: key headers, quota headers, its own errors.

source: the gateway's documentation and recorded headers; `-requests-reset` is in seconds (2163603 was recorded: 25 days).
"""

from collections.abc import Mapping
from typing import ClassVar

from beat_actors.platforms.interface import Answer, Call, ErrorRule, Outcome, Reported, Source, seconds

GATEWAY_ERRORS = (
    ErrorRule(Outcome.QUOTA_EXHAUSTED, status=429, message="exceeded the (monthly|daily) quota", wait=86_400),
    ErrorRule(Outcome.RATE_LIMITED, status=429, message="rate limit per second", wait=2),
    ErrorRule(Outcome.CREDENTIAL_DEAD, status=403, message="not subscribed to this api"),
    ErrorRule(Outcome.CREDENTIAL_DEAD, status=401, message="invalid api key"),
    # A path that the provider took away, or that the plan lacks: that the thing is not there, it does not say.
    ErrorRule(Outcome.UPSTREAM_DOWN, status=404, message="endpoint .* does not exist"),
)
# After the provider's own, and what it passes through of the platform's: what is left by status.
BY_STATUS = (
    ErrorRule(Outcome.RATE_LIMITED, status=429),
    ErrorRule(Outcome.CREDENTIAL_DEAD, status=401),
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
        """Only a spent quota is told by the reset header; a per-second refusal carries the month's reset too."""
        said = seconds(answer.headers.get("retry-after"))
        if said is None and b"quota" in answer.body:
            return seconds(answer.headers.get("x-ratelimit-requests-reset"))
        return said

    def reported(self, answer: Answer) -> Reported | None:
        remaining = seconds(answer.headers.get("x-ratelimit-requests-remaining"))
        reset = seconds(answer.headers.get("x-ratelimit-requests-reset"))
        return None if remaining is None or reset is None else Reported(int(remaining), reset)


def keyed(host: str, path: str, query: Mapping[str, str], secret: Mapping[str, str]) -> Call:
    return Call(path, query=query, headers={"X-RapidAPI-Key": secret["key"], "X-RapidAPI-Host": host})
