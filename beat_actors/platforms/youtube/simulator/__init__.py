"""The Data API's simulated provider: the population's people as channels, their posts as videos.

An answer has the parts that the call asks for. The channel of a private person hides its subscribers. Some videos are gone and are still
listed, some have no likes, and some take no comments. The newest video of some channels is live or scheduled. Quotas are counted as the API
counts them: 10,000 calls and 100 searches a day, until midnight Pacific time. Any refresh token gets access tokens that are valid for an hour.
A revoked refresh token gets none, and its access tokens are revoked too.
"""

from secrets import token_urlsafe
from urllib.parse import parse_qsl

from beat_actors.platforms.youtube.simulator.bodies import DAY, error, requiring, resources
from beat_actors.platforms.youtube.simulator.channels import channels
from beat_actors.platforms.youtube.simulator.comments import replies, threads
from beat_actors.platforms.youtube.simulator.ids import channel_of
from beat_actors.platforms.youtube.simulator.videos import playlist, search, videos
from beat_actors.simulator.provider import (
    HTML,
    Asked,
    Operation,
    Refusals,
    Reply,
    SimulatedProvider,
    Window,
    World,
    reply,
)

TOKEN_LASTS = 3599


def languages(asked: Asked, _world: World) -> Reply:
    items = [(hl, {"snippet": {"hl": hl, "name": name}}) for hl, name in (("en", "English"), ("ar", "العربية"))]
    return resources("i18nLanguage", asked, items)


def token(asked: Asked, _world: World) -> Reply:
    """Google's token endpoint. It accepts every client."""
    form = dict(parse_qsl(asked.body.decode("utf-8", "replace")))
    if form.get("grant_type") != "refresh_token":
        return _no_token("unsupported_grant_type", f"Invalid grant_type: {form.get('grant_type', '')}")
    for name in ("client_id", "client_secret"):
        if not form.get(name):
            return _no_token("invalid_request", f"{name} is missing.")
    access = f"ya29.{token_urlsafe(60)}"
    asked.issue(access, TOKEN_LASTS)
    scope = "https://www.googleapis.com/auth/youtube.readonly"
    return reply({"access_token": access, "expires_in": TOKEN_LASTS, "scope": scope, "token_type": "Bearer"})


def _no_token(error: str, message: str) -> Reply:
    return reply({"error": error, "error_description": message}, 400)


SPENT = 'The request cannot be completed because you have exceeded your <a href="/youtube/v3/getting-started#quota">quota</a>.'
NO_KEY = "Method doesn't allow unregistered callers (callers without established identity). Please use API Key or other form of API consumer identity to call this API."
NO_LOGIN = "Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or other valid authentication credential."
NO_PAGE = "<!DOCTYPE html><html lang=en><title>Error 404 (Not Found)!!1</title><p><b>404.</b> That’s an error."


def metric_spent(metric: str, per: str) -> Reply:
    message = (
        f"Quota exceeded for quota metric '{metric}' and limit '{metric} per {per}' of service 'youtube.googleapis.com' "
        "for consumer 'project_number:1'."
    )
    return error(429, "rateLimitExceeded", "global", message, google="RATE_LIMIT_EXCEEDED", name="RESOURCE_EXHAUSTED")


def over_quota(_wait: float) -> Reply:
    return error(403, "quotaExceeded", "youtube.quota", SPENT)


SEARCH = Operation("posts_by_search", "/search", requiring(search))
OTHERS = (
    Operation(
        "profile_by_handle",
        "/channels",
        requiring(channels("forHandle", lambda world, name: world.people.by_handle(name.removeprefix("@")))),
        when=lambda query: "forHandle" in query,
    ),
    Operation(
        "profile_by_username",
        "/channels",
        requiring(channels("forUsername", lambda world, name: world.people.by_handle(name))),
        when=lambda query: "forUsername" in query,
    ),
    Operation(
        "profile_by_id",
        "/channels",
        requiring(channels("id", lambda world, name: channel_of(world.people, name)), "id"),
    ),
    # A call for many fetches looks like a call for many videos.
    Operation(
        "posts_by_ids", "/videos", requiring(videos, "id"), when=lambda query: "," in query.get("id", "")
    ),
    Operation("post_by_id", "/videos", requiring(videos, "id")),
    Operation("posts_by_playlist", "/playlistItems", requiring(playlist, "playlistId")),
    Operation("comments_by_post", "/commentThreads", requiring(threads, "videoId")),
    Operation("replies_by_comment", "/comments", requiring(replies, "parentId")),
    Operation("check", "/i18nLanguages", requiring(languages)),
)  # fmt: skip

provider = SimulatedProvider(
    name="ytapi",
    operations=(
        SEARCH,
        *OTHERS,
        Operation("token", "/token", token, cached=False, free=True, key_field="refresh_token"),
    ),
    refusals=Refusals(
        no_credential=error(403, "forbidden", "global", NO_KEY, name="PERMISSION_DENIED"),
        revoked=error(
            400,
            "badRequest",
            "global",
            "API key not valid. Please pass a valid API key.",
            google="API_KEY_INVALID",
            name="INVALID_ARGUMENT",
        ),
        over_limit=lambda _wait: metric_spent("Queries", "minute"),
        over_quota=over_quota,
        unknown_path=lambda _path: Reply(404, NO_PAGE.encode(), HTML),
        outage=error(503, "backendError", "global", "The service is currently unavailable.", name="UNAVAILABLE"),
        revoked_in={
            "header": error(401, "authError", "global", NO_LOGIN, name="UNAUTHENTICATED"),
            "form": _no_token("invalid_grant", "Token has been expired or revoked."),
        },
    ),
    limits=(
        Window(
            10_000,
            DAY,
            quota=True,
            calendar="America/Los_Angeles",
            operations=frozenset(operation.name for operation in OTHERS),
        ),
        Window(
            100,
            DAY,
            quota=True,
            calendar="America/Los_Angeles",
            operations=frozenset({SEARCH.name}),
            refusal=lambda _wait: metric_spent("Search Queries", "day"),
        ),
    ),
    credential_header="authorization",
    credential_query="key",
)
