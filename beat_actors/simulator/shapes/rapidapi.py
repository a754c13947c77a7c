"""The RapidAPI gateway: where the key stands, the quota headers (resets in SECONDS), and the bodies of its refusals."""

from collections.abc import Mapping
from math import ceil

from beat_actors.simulator.provider import Refusals, Reply, Usage, Window, reply

KEY_HEADER = "x-rapidapi-key"
PLAN = Window(240_000, 2_592_000, quota=True)
GATEWAY = {"server": "RapidAPI-0.0.45", "x-rapidapi-version": "0.0.45", "x-rapidapi-region": "AWS - us-west-2"}
REFUSED = {**GATEWAY, "x-rapidapi-proxy-response": "true"}


def usage_headers(usage: Usage) -> Mapping[str, str]:
    if not usage.quota_calls:
        return GATEWAY
    return {
        **GATEWAY,
        "x-ratelimit-requests-limit": str(usage.quota_calls),
        "x-ratelimit-requests-remaining": str(usage.quota_left),
        "x-ratelimit-requests-reset": str(ceil(usage.quota_reset)),
    }


def refusals(host: str, provider: str) -> Refusals:
    plan = f"https://rapidapi.com/{provider}/api/{host.split('.')[0]}"
    return Refusals(
        no_credential=reply(
            {"message": "Invalid API key. Go to https://docs.rapidapi.com/docs/keys for more info."}, 401, REFUSED
        ),
        revoked=reply({"message": "You are not subscribed to this API."}, 403, REFUSED),
        over_limit=lambda _wait: reply(
            {"message": "You have exceeded the rate limit per second for your plan, BASIC, by the API provider"},
            429,
            REFUSED,
        ),
        over_quota=lambda wait: reply(
            {
                "message": f"You have exceeded the MONTHLY quota for Requests on your current plan, BASIC. Upgrade your plan at {plan}"
            },
            429,
            {
                **REFUSED,
                "x-ratelimit-requests-limit": "100",
                "x-ratelimit-requests-remaining": "0",
                "x-ratelimit-requests-reset": str(ceil(wait)),
            },
        ),
        unknown_path=lambda path: reply({"message": f"Endpoint '{path}' does not exist"}, 404, REFUSED),
        outage=Reply(
            503,
            b'{"messages":"The API is unreachable, please contact the API provider","info":"Your Client (working) ---> Gateway (working) ---> API (not working)"}',
            headers=REFUSED,
        ),
    )


def user_not_found() -> Reply:
    return reply({"message": "User not found", "status": "fail"}, 404)


def invalid_target() -> Reply:
    return reply({"message": "Invalid target user", "status": "fail"}, 400)


def not_authorized() -> Reply:
    return reply({"message": "Not authorized to view user", "status": "fail"}, 400)


def bad_cursor() -> Reply:
    return reply({"message": "invalid cursor", "status": "fail"}, 400)


def missing_parameter(name: str) -> Reply:
    return reply({"message": f"missing required parameter: {name}", "status": "fail"}, 400)
