"""Instagram's recordings."""

from typing import Any

from beat_actors.platforms.interface import Outcome
from beat_actors.simulator import Person, Population
from beat_actors.simulator.shapes import relations
from beat_actors.simulator.shapes.graph_media import media_id
from tests.conformance.recordings import Recording, Refusal

PARAMS = {
    "handle": "somebody",
    "profile_id": "123456",
    "shortcode": "CUT8mV0hZtM",
    "hashtag": "recipes",
    "user_id": "17841400000000001",
    "media_id": "18000000000000001",
    "media_type": "image",
    "metric": "follower_demographics",
    "breakdown": "gender,age",
    "timeframe": "last_90_days",
}
"""A value for each parameter of the operations and flows."""


def there(people: Population, person: Person, operation: str) -> dict[str, str]:
    """What its simulated providers have of somebody."""
    newest, story = people.post(person, 0), relations.stories(people, person)[0]
    return {
        "profile_id": str(person.pk),
        "user_id": str(person.fbid),
        "shortcode": newest.shortcode,
        "media_id": media_id(person, story if "story" in operation else newest),
    }


PUBLIC_FIELDS = {"user_id": "17841400000000001"}
"""Fields of a credential that are no secrets."""


def feed(payload: Any) -> Any:
    return {"items": [item["media"] for item in payload["items"]], "more_available": True, "next_max_id": "next"}


def root(payload: Any) -> Any:
    return payload["user"]


def web(payload: Any) -> Any:
    return {"graphql": payload["data"]}


def reels(payload: Any) -> Any:
    """The private API's stories of one user, as they come for several."""
    return {"reels": {str(payload["reel"]["id"]): payload["reel"]}, "status": "ok"}


def shortcode_media(payload: Any) -> Any:
    return payload["graphql"]["shortcode_media"]


def following(payload: Any) -> Any:
    return {"data": {"user": {"edge_follow": payload["data"]["user"]["edge_followed_by"]}}, "status": "ok"}


def chunk_of_comments(payload: Any) -> Any:
    """The same comments as Lama's documentation shows them: the nodes alone, in a pair with the cursor."""
    listed = payload["data"]["shortcode_media"]["edge_media_to_comment"]
    return [[edge["node"] for edge in listed["edges"]], listed["page_info"]["end_cursor"]]


def parent_comments(payload: Any) -> Any:
    """Today's edge, in which answers stand below a comment."""
    edge = payload["data"]["shortcode_media"]["edge_media_to_comment"]
    edge["edges"][0]["node"]["edge_threaded_comments"] = {"count": 1, "edges": [edge["edges"].pop()]}
    return {"data": {"shortcode_media": {"edge_media_to_parent_comment": edge}}, "status": "ok"}


def hashtag(payload: Any) -> Any:
    ranked = payload["data"]["user"]["edge_user_to_photos_of_you"]
    return {"data": {"hashtag": {"name": "recipes", "edge_hashtag_to_ranked_media": ranked}}, "status": "ok"}


def items(payload: Any) -> Any:
    return {"items": [payload], "status": "ok"}


def media_or_ad(payload: Any) -> Any:
    return {"media_or_ad": payload, "status": "ok"}


def nobody(payload: Any) -> Any:
    return {"data": {"user": None}, "status": payload["status"]}


def no_post(payload: Any) -> Any:
    return {"data": {"shortcode_media": None}, "status": payload["status"]}


def no_hashtag(payload: Any) -> Any:
    return {"data": {"hashtag": None}, "status": payload["status"]}


def no_items(payload: Any) -> Any:
    return {"items": [], "status": payload["status"]}


PRIVATE_USER = "instagram/upstream/users_info_private.json"
WHO = {"handle": "oorntrkokmsmol", "profile_id": "3511832659"}
TIMELINE_CURSOR = "LATUA0A5iTo5eASTLlIunOAOTOseUUKuL5L3S6NRLMESR65NLeuerELIS8MKOD36KEuaUtdnDMMSmuOUUIdna6E8M1IdKSM8ADA7L1RLkrEmeRNdA4DKIO=="
CLIPS_CURSOR = "STTNL2NTLkSmRtT3D4l3kAKtLTKUs7RtAOOMM6M5e3kULNl2Tk5oIkdMTOLRArtadoEDsEmiMnu8NaLDokn1ODIsarosrRDNnUt9kDESoOLdTEKNIsnddo=="
CAROUSEL = "UTbqTM-Uxyc"
VIDEO = "GEN4R0-U2cf"
REELS_CURSOR = "CSMGcGkeX67pOR4fZXW8MJp6blCOerMatsIhN8nQN1NPUNFyoDMudPS1uGd2QaIzltJ2ULJIIyB9GCWjsSYEYPPKkB9KEJSKis2TSNXSSRJqK8S9IMeyTg=="
TAGGED_CURSOR = "LAMMdM7MEm2Mat7mtMT3KSi1KSdEsidKNTU6IlUaK0nlImaRIDLRSAaTUEkOSkKaDmSKR7E3rSIrAL8II1NmIRAuOu6RTdi1KTlNMDMIKN1rtDk4atI9Ru=="
COMMENTS_CURSOR = "RNOIstMAoadNtui7UMdaR4U2IMsTLRuIO0LaMMaRKrRorSraiOeTUdnmITnKAl3tuSluoM02TEskKNAudEN5e1uiAMRTLmnLMKT0RDtittSNKTRSA2T1LS=="
GQL_FOLLOWERS_CURSOR = "NEMANDknM87eA4D3SlKmSre0L9TAALNRLSkADM6oeOKaOu2NMLR7RIoeUMeNlLsUlUS2K1SOLD9moDakIODeLASdtNsRE7tLSSdkErAnNsreOdeskTIoMm=="
FOLLOWERS_CURSORS = (
    "UDUNLTNsDlnssurIDNMtUAUtnkrdN0MRO8U4kMlmALNsADRoTSDSMA6eNlTNNAM5lTtoOs6TTE06MeKIdIrIrUsRULAEiKuoKITUuNalILMKMMoroIdIMd==",
    "UNNELSKmDtAUAANrSaSRITt4RkNdA9MnSEEuOSenn40OM7ItL5rdIsUniUEaRtooKuE0Ns33E0IDksKRERSurALTN7SEEkR3ANiTKMm5nAIlESmksNEtDn==",
)
OWN = {"user_id": "17841400000000001", "timeframe": "last_90_days"}


def medium(media_id: str) -> dict[str, str]:
    return {"user_id": "17841400000000001", "media_id": media_id}


GOOD = (
    Recording(
        "instagram/graphapi/discovery_user_fields.json",
        "graphapi",
        "profile_by_handle",
        {"handle": "eurloalsmlmasmikmsesk"},
        1,
    ),
    Recording(
        "instagram/graphapi/discovery_medias_p1.json", "graphapi", "posts_by_handle", {"handle": "x"}, 2, "after"
    ),
    Recording(
        "instagram/graphapi/discovery_medias_p2.json", "graphapi", "posts_by_handle", {"handle": "x"}, 2, "after"
    ),
    *(
        Recording(
            f"instagram/graphapi/discovery_medias_{page}.json",
            "graphapi",
            "posts_by_id",
            {"handle": "x", "profile_id": "123456"},
            2,
            "after",
        )
        for page in ("p1", "p2")
    ),
    Recording("instagram/lama/a2_user.json", "lama", "profile_by_handle", {"handle": "umrmik"}, 4),
    Recording("instagram/lama/v1_user_by_id.json", "lama", "profile_by_id", {"profile_id": "961865"}, 1),
    Recording(
        "instagram/lama/v1_user_medias_chunk.json",
        "lama",
        "posts_by_id",
        {"profile_id": "961865"},
        3,
        "1560426740952214077_511348",
    ),
    Recording(
        "instagram/lama/v1_user_clips_chunk.json", "lama", "reels_by_id", {"profile_id": "8842031986"}, 3, CLIPS_CURSOR
    ),
    Recording(PRIVATE_USER, "arraybobo", "profile_by_handle", WHO, 1),
    Recording(PRIVATE_USER, "arraybobo", "profile_by_id", WHO, 1),
    Recording(PRIVATE_USER, "jotucker", "profile_by_handle", WHO, 1),
    Recording(PRIVATE_USER, "jotucker", "profile_by_id", WHO, 1),
    Recording(PRIVATE_USER, "bestsolutions", "profile_by_handle", WHO, 1, wrap=root),
    Recording(PRIVATE_USER, "bestsolutions", "profile_by_id", WHO, 1, wrap=root),
    Recording("instagram/upstream/graphql_timeline_medias.json", "arraybobo", "posts_by_id", WHO, 12, TIMELINE_CURSOR),
    Recording(
        "instagram/upstream/graphql_timeline_medias.json",
        "arraybobo",
        "posts_by_handle",
        {"handle": "oorntrkokmsmol"},
        12,
        TIMELINE_CURSOR,
    ),
    Recording("instagram/upstream/media_info_carousel.json", "jotucker", "posts_by_id", {"profile_id": "697039788"}, 1),
    Recording("instagram/upstream/media_info_video.json", "jotucker", "posts_by_id", {"profile_id": "697039788"}, 1),
    Recording(
        "instagram/upstream/clips_user.json",
        "bestsolutions",
        "posts_by_id",
        {"profile_id": "9687229"},
        12,
        "next",
        wrap=feed,
    ),
    Recording("instagram/upstream/web_profile_info.json", "lama", "profile_by_handle", WHO, 1, wrap=web),
    # Single posts.
    Recording(
        "instagram/upstream/shortcode_media_image_2017.json",
        "arraybobo",
        "post_by_shortcode",
        {"shortcode": "GzPaYYcsTOK"},
        1,
        wrap=shortcode_media,
    ),
    Recording(
        "instagram/upstream/media_info_carousel.json", "jotucker", "post_by_shortcode", {"shortcode": CAROUSEL}, 1
    ),
    Recording("instagram/upstream/media_info_video.json", "jotucker", "post_by_shortcode", {"shortcode": VIDEO}, 1),
    *(
        Recording(
            "instagram/lama/v1_media_by_code.json",
            "lama",
            "post_by_shortcode",
            {"shortcode": "XYlTAQxBCRu"},
            1,
            wrap=wrap,
        )
        for wrap in (None, items, media_or_ad)
    ),
    # Reels, posts in which somebody is tagged, posts with a hashtag.
    Recording(
        "instagram/upstream/clips_user.json", "arraybobo", "reels_by_id", {"profile_id": "9687229"}, 12, REELS_CURSOR
    ),
    Recording("instagram/upstream/graphql_tagged_medias.json", "arraybobo", "tagged_by_id", WHO, 10, TAGGED_CURSOR),
    Recording(
        "instagram/lama/v2_user_tag_medias.json",
        "lama",
        "tagged_by_id",
        {"profile_id": "494515"},
        3,
        "6647554209200524562",
    ),
    Recording(
        "instagram/upstream/graphql_tagged_medias.json",
        "jotucker",
        "hashtag_posts",
        {"hashtag": "recipes"},
        10,
        TAGGED_CURSOR,
        wrap=hashtag,
    ),
    Recording(
        "instagram/lama/v1_hashtag_medias_top_chunk.json",
        "lama",
        "hashtag_posts",
        {"hashtag": "recipes"},
        3,
        "WyI1YzdlY2Q2MmYzODg0MWVjODYwZWEwZDg0N2MzNDQ2ZiIsW10sMV0=",
    ),
    # Stories.
    Recording(
        "instagram/lama/v2_user_stories_by_username.json",
        "arraybobo",
        "stories_by_id",
        {"profile_id": "961865"},
        3,
        wrap=reels,
    ),
    Recording(
        "instagram/upstream/graphql_reels_media.json", "arraybobo", "stories_by_id", {"profile_id": "692477320"}, 1
    ),
    Recording("instagram/lama/v1_user_stories.json", "lama", "stories_by_id", {"profile_id": "961865"}, 3),
    # Comments, and who follows whom.
    *(
        Recording(
            "instagram/upstream/media_comments.json",
            "jotucker",
            "comments_by_shortcode",
            {"shortcode": "CUT8mV0hZtM"},
            12,
            COMMENTS_CURSOR,
            wrap=wrap,
        )
        for wrap in (None, parent_comments)
    ),
    Recording(
        "instagram/upstream/media_comments.json",
        "lama",
        "comments_by_shortcode",
        {"shortcode": "CUT8mV0hZtM"},
        12,
        COMMENTS_CURSOR,
        wrap=chunk_of_comments,
    ),
    Recording(
        "instagram/upstream/graphql_followers_p1.json", "jotucker", "followers_by_id", WHO, 12, FOLLOWERS_CURSORS[0]
    ),
    Recording(
        "instagram/upstream/graphql_followers_p2.json", "jotucker", "followers_by_id", WHO, 12, FOLLOWERS_CURSORS[1]
    ),
    Recording(
        "instagram/upstream/graphql_followers_p1.json",
        "jotucker",
        "following_by_id",
        WHO,
        12,
        FOLLOWERS_CURSORS[0],
        wrap=following,
    ),
    Recording("instagram/lama/gql_user_followers_chunk.json", "lama", "followers_by_id", WHO, 3, GQL_FOLLOWERS_CURSOR),
    Recording("instagram/lama/v1_user_followers_chunk.json", "lama", "following_by_id", WHO, 3),
    # What the Graph API tells an account of its own.
    Recording("instagram/graphapi/user_fields.json", "graphapi", "own_profile", {"user_id": "43295434177252810"}, 1),
    Recording("instagram/graphapi/user_medias_p1.json", "graphapi", "own_posts", OWN, 2, "after"),
    Recording("instagram/graphapi/user_medias_p2.json", "graphapi", "own_posts", OWN, 2),
    Recording("instagram/graphapi/user_tagged_medias.json", "graphapi", "own_tagged", OWN, 5),
    Recording("instagram/graphapi/user_stories.json", "graphapi", "own_stories", OWN, 2),
    Recording("instagram/graphapi/stories_fields_p1.json", "graphapi", "own_stories", OWN, 2, "after"),
    Recording("instagram/graphapi/story_info.json", "graphapi", "own_story", medium("11246949990093146"), 1),
    Recording("instagram/graphapi/media_default.json", "graphapi", "own_post", medium("33592362616649500"), 1),
    Recording("instagram/graphapi/media_children.json", "graphapi", "own_children", medium("33592362616649500"), 2),
    Recording(
        "instagram/graphapi/media_comments_p1.json",
        "graphapi",
        "own_comments",
        medium("33592362616649500"),
        2,
        "after",
    ),
    Recording("instagram/graphapi/user_insights_total_value.json", "graphapi", "profile_insights", OWN, 13),
    Recording("instagram/graphapi/user_insights_legacy.json", "graphapi", "profile_insights", OWN, 6),
    Recording("instagram/graphapi/user_insights_legacy.json", "graphapi", "profile_insights_daily", OWN, 6),
    Recording(
        "instagram/graphapi/media_insights_legacy.json",
        "graphapi",
        "post_insights",
        medium("33592362616649500") | {"media_type": "image"},
        3,
    ),
    Recording(
        "instagram/graphapi/media_insights_legacy.json", "graphapi", "story_insights", medium("33592362616649500"), 3
    ),
    Recording(
        "instagram/graphapi/user_insights_total_value.json",
        "graphapi",
        "story_navigation",
        medium("33592362616649500"),
        13,
    ),
)
NOT_FOUND = "instagram/upstream/graphql_user_by_id_not_found.json"
MISSING = (
    Recording(NOT_FOUND, "arraybobo", "posts_by_id", WHO, 0),
    Recording(NOT_FOUND, "arraybobo", "tagged_by_id", WHO, 0),
    Recording(NOT_FOUND, "jotucker", "followers_by_id", WHO, 0, wrap=nobody),
    Recording(NOT_FOUND, "jotucker", "following_by_id", WHO, 0, wrap=nobody),
    Recording(NOT_FOUND, "jotucker", "comments_by_shortcode", {"shortcode": "CUT8mV0hZtM"}, 0, wrap=no_post),
    Recording(NOT_FOUND, "jotucker", "hashtag_posts", {"hashtag": "recipes"}, 0, wrap=no_hashtag),
    Recording(NOT_FOUND, "jotucker", "post_by_shortcode", {"shortcode": "CUT8mV0hZtM"}, 0, wrap=no_items),
    Recording(NOT_FOUND, "lama", "post_by_shortcode", {"shortcode": "CUT8mV0hZtM"}, 0, wrap=no_items),
)
NAMES_BESIDES = frozenset(
    {"code", "shortcode", "permalink", "name", "period", "end_time", "value", "dimension_keys", "dimension_values"}
)
"""Keys besides ids that say what a record is of: a post's shortcode, and the parts of what an insight is called by."""
EMPTY = (("lama", "stories_by_id", b"[]"),)
"""Answers that look like nothing and say that there is nothing."""


GRAPH, UPSTREAM = "instagram/graphapi/errors/error_", "instagram/upstream/errors/error_"
GATEWAY = "rapidapi/errors/error_"
DOWN = Outcome.UPSTREAM_DOWN
REFUSALS = (
    Refusal(f"{GRAPH}100_2108006_before_business.json", "graphapi", Outcome.BAD_REQUEST),
    Refusal(f"{GRAPH}100_33_object_missing.json", "graphapi", Outcome.MISSING),
    Refusal(f"{GRAPH}100_missing_permission.json", "graphapi", Outcome.PERMISSION_MISSING),
    Refusal(f"{GRAPH}10_no_permission.json", "graphapi", Outcome.PERMISSION_MISSING),
    Refusal(f"{GRAPH}110_2207013_user_not_found.json", "graphapi", Outcome.UNSEEN),
    Refusal(f"{GRAPH}17_user_limit.json", "graphapi", Outcome.RATE_LIMITED, 3600),
    Refusal(f"{GRAPH}190_460_password_changed.json", "graphapi", Outcome.CREDENTIAL_DEAD),
    Refusal(f"{GRAPH}190_463_session_expired.json", "graphapi", Outcome.CREDENTIAL_DEAD),
    Refusal(f"{GRAPH}32_page_limit.json", "graphapi", Outcome.RATE_LIMITED, 3600),
    Refusal(f"{GRAPH}4_application_limit.json", "graphapi", Outcome.RATE_LIMITED, 3600),
    Refusal(f"{GRAPH}80002_instagram_buc.json", "graphapi", Outcome.RATE_LIMITED, 3600),
    Refusal("instagram/lama/errors/error_404_user_not_found.json", "lama", Outcome.UNSEEN),
    *(
        Refusal(f"{UPSTREAM}{name}.json", source, outcome, wait)
        for source in ("arraybobo", "jotucker", "bestsolutions", "lama")
        for name, outcome, wait in (
            ("400_challenge_required", DOWN, None),
            ("400_media_not_found", Outcome.MISSING, None),
            ("401_please_wait", DOWN, 60),
            ("403_login_required", DOWN, None),
            ("challenge_redirection", DOWN, None),
            ("checkpoint_required", DOWN, None),
        )
    ),
    *(
        Refusal(f"{UPSTREAM}429_please_wait.json", source, DOWN, 60)
        for source in ("arraybobo", "jotucker", "bestsolutions")
    ),
    # At Lama a 429 is its own limit, whatever it says.
    Refusal(f"{UPSTREAM}429_please_wait.json", "lama", Outcome.RATE_LIMITED, 2),
    *(
        Refusal(f"{GATEWAY}{name}.json", source, outcome, wait, 429 if "429" in name else 403)
        for source in ("arraybobo", "jotucker", "bestsolutions")
        for name, outcome, wait in (
            ("403_not_subscribed", Outcome.CREDENTIAL_DEAD, None),
            ("429_monthly_quota", Outcome.QUOTA_EXHAUSTED, 864_000),
            ("429_per_second", Outcome.RATE_LIMITED, 2),
        )
    ),
)
READ_ELSEWHERE = ("rapidapi/headers_recorded.json", "instagram/graphapi/debug_token.json")
