"""Graph API (business discovery, and the caller's own account): the official way, for professional accounts only.

source: Meta's Graph API reference. A version lives at least two years. Business discovery counts against the platform limit,
200 calls in a rolling hour for each user; calls made while throttled lengthen the throttle. What an account may ask of its own
depends on its impressions, which we do not know: it is held to the same limit.
"""

import re
from datetime import datetime
from typing import Any

import msgspec

from beat_actors.errors import Malformed
from beat_actors.platforms.instagram import graph, insights
from beat_actors.platforms.instagram.login import LOGIN
from beat_actors.platforms.instagram.payloads import bare_id
from beat_actors.platforms.interface import (
    Answer,
    Call,
    CallBuilder,
    Check,
    Endpoint,
    ErrorRule,
    FetchSpec,
    Health,
    Limit,
    Outcome,
    Reported,
    Secret,
    Source,
    Verdict,
)
from beat_actors.platforms.reading import Id, decoder, instant, whole
from beat_actors.platforms.waits import LONGEST_WAIT

HOUR = 3600.0
CALLS_AN_HOUR = 200
PAGE, PROFILE_PAGE = 50, 12
"""Media that a listing, and a profile, ask for at a time."""
USER_FIELDS = "id,ig_id,name,website,followers_count,follows_count,profile_picture_url,username,biography,media_count"
MEDIA_FIELDS = (
    "id,caption,comments_count,like_count,media_type,media_product_type,media_url,thumbnail_url,permalink,timestamp"
)
# source: the reference of media. `view_count` is returned for discovered media only: an owner's are numbers of insights.
DISCOVERED_FIELDS = f"{MEDIA_FIELDS},view_count"
OWN_MEDIA_FIELDS = f"{MEDIA_FIELDS},username"
CHILD_FIELDS = "id,media_type,media_url,thumbnail_url,permalink,timestamp,username"
STORY_FIELDS = f"{OWN_MEDIA_FIELDS},shortcode"
COMMENT_FIELDS = "id,text,timestamp,username,like_count,parent_id,from"
# source: the media insights reference. `views` stands for what was `impressions`, `plays` and `video_views`, and
# `total_interactions` for `engagement`; asking for a metric that is gone fails the whole call.
POST_METRICS = {
    "image": "views,reach,likes,comments,saved,shares,total_interactions",
    "carousel": "views,reach,likes,comments,saved,shares,total_interactions",
    "reels": "views,reach,likes,comments,saved,shares,total_interactions",
    "story": "views,reach,replies,shares,follows,profile_visits,total_interactions",
}
# source: the permissions that each reference page asks for; what goes with them (pages_show_list) differs with the kind of login.
BASIC = frozenset({"instagram_basic"})
INSIGHTS = BASIC | {"instagram_manage_insights"}
ERROR = re.compile(rb'"error"\s*:')


class Fault(msgspec.Struct):
    code: Id | None = None
    error_subcode: Id | None = None


class Faulty(msgspec.Struct):
    error: Fault | str | None = None


class TokenFault(msgspec.Struct):
    code: int | None = None
    subcode: int | None = None


class Token(msgspec.Struct):
    is_valid: bool
    scopes: list[str] | None = None
    expires_at: int | None = None
    data_access_expires_at: int | None = None
    error: TokenFault | None = None


class Debugged(msgspec.Struct):
    data: Token


decode_fault = decoder(Faulty)
decode_token = decoder(Debugged)


def profile(spec: FetchSpec, secret: Secret) -> Call:
    return _discovery(spec, secret, f"{USER_FIELDS},media.limit({spec.at_most(PROFILE_PAGE)}){{{DISCOVERED_FIELDS}}}")


def posts(spec: FetchSpec, secret: Secret) -> Call:
    # A top-level `after` does not page a nested edge: the cursor stands inside the field.
    after = f".after({spec.cursor})" if spec.cursor else ""
    return _discovery(
        spec, secret, f"username,media_count,media{after}.limit({spec.at_most(PAGE)}){{{DISCOVERED_FIELDS}}}"
    )


def _discovery(spec: FetchSpec, secret: Secret, fields: str) -> Call:
    return _call(
        f"/{secret['user_id']}",
        {"fields": f"business_discovery.username({spec.params['handle']}){{{fields}}}"},
        secret,
    )


def _call(path: str, query: dict[str, str], secret: Secret) -> Call:
    return Call(path, query=query, secret_query={"access_token": secret["token"]})


def of_user(edge: str, fields: str, limit: int | None = None) -> CallBuilder:
    """The account of the credential, or one of its edges."""

    def build(spec: FetchSpec, secret: Secret) -> Call:
        return _call(f"/{secret['user_id']}{edge}", {"fields": fields, **_page(spec, limit)}, secret)

    return build


def of_medium(edge: str, fields: str, limit: int | None = None) -> CallBuilder:
    """A medium of the account, or one of its edges."""

    def build(spec: FetchSpec, secret: Secret) -> Call:
        return _call(f"/{bare_id(spec.params['media_id'])}{edge}", {"fields": fields, **_page(spec, limit)}, secret)

    return build


def _page(spec: FetchSpec, limit: int | None) -> dict[str, str]:
    after = {"after": spec.cursor} if spec.cursor else {}
    return {"limit": str(spec.at_most(limit)), **after} if limit else {}


def demographics(spec: FetchSpec, secret: Secret) -> Call:
    query = {
        "metric": spec.params["metric"],
        "period": "lifetime",
        "metric_type": "total_value",
        **({"timeframe": spec.params["timeframe"]} if spec.params.get("timeframe") else {}),
        "breakdown": spec.params["breakdown"],
    }
    return _call(f"/{secret['user_id']}/insights", query, secret)


def daily(spec: FetchSpec, secret: Secret) -> Call:
    """One metric of the account, a number for each day from `since` to `until` (seconds since the epoch), of which neither need be said."""
    bounds = {name: str(spec.params[name]) for name in ("since", "until") if spec.params.get(name) is not None}
    query = {"metric": spec.params["metric"], "period": "day", "metric_type": "time_series", **bounds}
    return _call(f"/{secret['user_id']}/insights", query, secret)


def post_insights(spec: FetchSpec, secret: Secret) -> Call:
    query = {"metric": POST_METRICS[spec.params["media_type"]], "period": "lifetime"}
    return _call(f"/{bare_id(spec.params['media_id'])}/insights", query, secret)


def story_insights(spec: FetchSpec, secret: Secret) -> Call:
    query = {"metric": POST_METRICS["story"], "period": "lifetime"}
    return _call(f"/{bare_id(spec.params['media_id'])}/insights", query, secret)


def story_navigation(spec: FetchSpec, secret: Secret) -> Call:
    query = {"metric": "navigation", "period": "lifetime", "breakdown": "story_navigation_action_type"}
    return _call(f"/{bare_id(spec.params['media_id'])}/insights", query, secret)


def debug_token(secret: Secret) -> Call:
    token = secret["token"]
    return Call("/debug_token", secret_query={"input_token": token, "access_token": token})


def token_health(answer: Answer) -> Health:
    """What `debug_token` says. A time of 0 means never."""
    verdict = GraphApi().classify(answer)
    if verdict.outcome is not Outcome.OK:
        return Health(verdict)
    try:
        token = decode_token(answer.body).data
        ends = tuple(_end(at) for at in (token.expires_at, token.data_access_expires_at))
    except Malformed as error:
        return Health(Verdict(Outcome.MALFORMED, detail=str(error)[:300]))
    scopes = None if token.scopes is None else frozenset(token.scopes)
    if token.is_valid:
        return Health(verdict, scopes, *ends)
    fault = token.error or TokenFault()
    code = "/".join(str(part) for part in (fault.code, fault.subcode) if part is not None)
    return Health(Verdict(Outcome.CREDENTIAL_DEAD, code, "the token is not valid"), scopes, *ends)


def _end(at: int | None) -> datetime | None:
    """A time of 0 means never. Raises `Malformed` for a time that cannot be."""
    found = instant(at)
    if at and found is None:
        raise Malformed(f"{at} is not a time", path="$.data.expires_at")
    return found


def _fault(body: bytes) -> Fault | str | None:
    """The error that stands in an answer, wherever among its keys."""
    if ERROR.search(body) is None:
        return None
    try:
        return decode_fault(body).error
    except Malformed:  # where it is no refusal, the parser says what is wrong with it
        return None


def _usage(answer: Answer) -> tuple[float, float]:
    """The highest percentage that any usage header reports, and the wait in seconds that goes with it."""
    percent, wait = 0.0, 0.0
    for header in ("x-app-usage", "x-page-usage", "x-business-use-case-usage"):
        try:
            usage = msgspec.json.decode(answer.headers.get(header, "{}"))
        except (msgspec.DecodeError, RecursionError):
            continue
        for entry in _entries(usage):
            numbers = {name: value for name, value in entry.items() if isinstance(value, int | float)}
            # source: the header gives this one in minutes.
            wait = max(wait, 60.0 * numbers.pop("estimated_time_to_regain_access", 0))
            percent = max(percent, *numbers.values(), 0.0)
    return percent, wait


def _entries(usage: object) -> list[dict[str, Any]]:
    if not isinstance(usage, dict):
        return []
    nested = [
        entry for value in usage.values() if isinstance(value, list) for entry in value if isinstance(entry, dict)
    ]
    return nested or [usage]


class GraphApi(Source):
    name = "graphapi"
    base_url = "https://graph.facebook.com/{version}"
    version_setting = "graph_version"
    secret_fields = ("token", "user_id")
    guide = "a user token of an app on developers.facebook.com, and the id of the Instagram business account that it may use"
    login = LOGIN
    public_fields = frozenset({"user_id"})
    limits = (Limit("rolling hour", CALLS_AN_HOUR, HOUR),)
    errors = (
        # It sees professional accounts alone: of a personal one it says the same as of none (unverified), and others see that.
        ErrorRule(Outcome.UNSEEN, code=110, subcode=2207013),
        ErrorRule(Outcome.MISSING, code=24, subcode=2207024),
        ErrorRule(Outcome.MISSING, code=803),
        ErrorRule(Outcome.BAD_REQUEST, code=100, subcode=2108006),  # media older than the business account: never
        ErrorRule(Outcome.PERMISSION_MISSING, code=100, message="missing permission or reviewable feature"),
        # Missing, or out of this token's reach: the answer is the same. The check of the credential says which.
        ErrorRule(Outcome.MISSING, code=100, subcode=33, ambiguous=True),
        ErrorRule(Outcome.RATE_LIMITED, code=4, wait=HOUR),
        ErrorRule(Outcome.RATE_LIMITED, code=17, wait=HOUR),
        ErrorRule(Outcome.RATE_LIMITED, code=32, wait=HOUR),
        ErrorRule(Outcome.RATE_LIMITED, code=613, wait=HOUR),
        ErrorRule(Outcome.RATE_LIMITED, code=80001, wait=HOUR),
        ErrorRule(Outcome.RATE_LIMITED, code=80002, wait=HOUR),
        ErrorRule(Outcome.RATE_LIMITED, code=341, wait=HOUR),
        ErrorRule(Outcome.RATE_LIMITED, code=368, wait=HOUR),
        ErrorRule(Outcome.CREDENTIAL_DEAD, code=190),
        ErrorRule(Outcome.CREDENTIAL_DEAD, code=102),
        ErrorRule(Outcome.CREDENTIAL_DEAD, code=104),  # no token came with the call
        # source: a story's metrics under five are not returned, with this code and text.
        ErrorRule(Outcome.MISSING, code=10, message="not enough viewers"),
        ErrorRule(Outcome.PERMISSION_MISSING, code=10),
        ErrorRule(Outcome.PERMISSION_MISSING, code=3),
        *(ErrorRule(Outcome.PERMISSION_MISSING, code=code) for code in range(200, 300)),
        # Its words for a query that takes it too long; they come with code 1 (recorded in public issues), or with none.
        ErrorRule(Outcome.TOO_MUCH, message="reduce the amount of data"),
        ErrorRule(Outcome.UPSTREAM_DOWN, code=1),
        ErrorRule(Outcome.UPSTREAM_DOWN, code=2),
        # The app wants a proof that is not sent, or the token is of a kind that has no business discovery: a person has to mend that.
        ErrorRule(Outcome.PERMISSION_MISSING, code=100, message="appsecret_proof|app secret proof"),
        ErrorRule(Outcome.PERMISSION_MISSING, code=100, message=r"nonexisting field \(business_discovery\)"),
        # "Invalid parameter" (100) stands for a hundred things, many of them about the app or the token: no rule for it.
        ErrorRule(Outcome.RATE_LIMITED, status=429, wait=HOUR),
        ErrorRule(Outcome.UPSTREAM_DOWN, message=r'"is_transient"\s*:\s*true'),
    )
    endpoints = {
        "profile_by_handle": Endpoint(
            profile, graph.discovered_profile, scopes=BASIC, page=PROFILE_PAGE, tells=graph.PROFILE_TELLS
        ),
        "posts_by_handle": Endpoint(posts, graph.discovered_posts, scopes=BASIC, page=PAGE, tells=graph.POST_TELLS),
        # No one is found by the id here: in no chain, it pages on what the profile began, by the handle that goes along.
        "posts_by_id": Endpoint(posts, graph.discovered_posts, scopes=BASIC, page=PAGE, tells=graph.POST_TELLS),
        "own_profile": Endpoint(of_user("", USER_FIELDS), graph.own_profile, scopes=BASIC, tells=graph.ACCOUNT_TELLS),
        "own_posts": Endpoint(
            of_user("/media", OWN_MEDIA_FIELDS, limit=PAGE),
            graph.own_posts,
            scopes=BASIC,
            page=PAGE,
            tells=graph.POST_TELLS,
        ),
        "own_tagged": Endpoint(
            of_user("/tags", OWN_MEDIA_FIELDS, limit=PAGE),
            graph.own_posts,
            scopes=BASIC,
            page=PAGE,
            tells=graph.POST_TELLS,
        ),
        "own_stories": Endpoint(
            of_user("/stories", STORY_FIELDS, limit=PAGE),
            graph.own_stories,
            scopes=BASIC,
            page=PAGE,
            tells=graph.STORY_TELLS,
        ),
        "own_post": Endpoint(of_medium("", OWN_MEDIA_FIELDS), graph.own_post, scopes=BASIC, tells=graph.POST_TELLS),
        "own_story": Endpoint(of_medium("", STORY_FIELDS), graph.own_story, scopes=BASIC, tells=graph.STORY_TELLS),
        "own_children": Endpoint(
            of_medium("/children", CHILD_FIELDS), graph.own_children, scopes=BASIC, tells=graph.CHILD_TELLS
        ),
        "own_comments": Endpoint(
            of_medium("/comments", COMMENT_FIELDS, limit=PAGE),
            graph.own_comments,
            scopes=BASIC,
            page=PAGE,
            tells=graph.COMMENT_TELLS,
        ),
        "profile_insights": Endpoint(
            demographics, insights.profile_insights, scopes=INSIGHTS, tells=insights.PROFILE_INSIGHT_TELLS
        ),
        "profile_insights_daily": Endpoint(
            daily, insights.profile_insights, scopes=INSIGHTS, tells=insights.PROFILE_INSIGHT_TELLS
        ),
        "post_insights": Endpoint(
            post_insights, insights.post_insights, scopes=INSIGHTS, tells=insights.POST_INSIGHT_TELLS
        ),
        "story_insights": Endpoint(
            story_insights, insights.post_insights, scopes=INSIGHTS, tells=insights.POST_INSIGHT_TELLS
        ),
        "story_navigation": Endpoint(
            story_navigation, insights.post_insights, scopes=INSIGHTS, tells=insights.POST_INSIGHT_TELLS
        ),
    }
    check = Check(debug_token, token_health)

    def owner(self, secret: Secret) -> str | None:
        return secret["user_id"]

    def is_error(self, answer: Answer) -> bool:
        return super().is_error(answer) or _fault(answer.body) is not None

    def error_key(self, answer: Answer) -> tuple[int | str | None, int | str | None]:
        fault = _fault(answer.body)
        return (whole(fault.code), whole(fault.error_subcode)) if isinstance(fault, Fault) else (None, None)

    def retry_after(self, answer: Answer) -> float | None:
        """Its usage headers, which are in minutes, else what any provider may say."""
        wait = _usage(answer)[1]
        return min(wait, LONGEST_WAIT) if wait > 0 else super().retry_after(answer)

    def reported(self, answer: Answer) -> Reported | None:
        """A percentage of a limit that is counted over a rolling hour: at most so many calls are left of ours."""
        percent, _ = _usage(answer)
        if percent <= 0:
            return None
        return Reported(max(0, int(CALLS_AN_HOUR * (100 - percent) / 100)), HOUR)
