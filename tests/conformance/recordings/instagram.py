"""Instagram's recordings."""

from typing import Any

from beat_actors.platforms.interface import Outcome
from tests.conformance.recordings import Recording, Refusal

PARAMS = {"handle": "somebody", "profile_id": "123456"}
"""A value for each parameter of the operations and flows."""
PUBLIC_FIELDS = {"user_id": "17841400000000001"}
"""Fields of a credential that are no secrets."""


def feed(payload: Any) -> Any:
    return {"items": [item["media"] for item in payload["items"]], "more_available": True, "next_max_id": "next"}


def root(payload: Any) -> Any:
    return payload["user"]


def web(payload: Any) -> Any:
    return {"graphql": payload["data"]}


PRIVATE_USER = "instagram/upstream/users_info_private.json"
WHO = {"handle": "oorntrkokmsmol", "profile_id": "3511832659"}
TIMELINE_CURSOR = "LATUA0A5iTo5eASTLlIunOAOTOseUUKuL5L3S6NRLMESR65NLeuerELIS8MKOD36KEuaUtdnDMMSmuOUUIdna6E8M1IdKSM8ADA7L1RLkrEmeRNdA4DKIO=="
CLIPS_CURSOR = "STTNL2NTLkSmRtT3D4l3kAKtLTKUs7RtAOOMM6M5e3kULNl2Tk5oIkdMTOLRArtadoEDsEmiMnu8NaLDokn1ODIsarosrRDNnUt9kDESoOLdTEKNIsnddo=="
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
        "instagram/lama/v1_user_clips_chunk.json", "lama", "posts_by_id", {"profile_id": "8842031986"}, 3, CLIPS_CURSOR
    ),
    Recording(PRIVATE_USER, "arraybobo", "profile_by_handle", WHO, 1),
    Recording(PRIVATE_USER, "arraybobo", "profile_by_id", WHO, 1),
    Recording(PRIVATE_USER, "jotucker", "profile_by_handle", WHO, 1),
    Recording(PRIVATE_USER, "jotucker", "profile_by_id", WHO, 1),
    Recording(PRIVATE_USER, "bestsolutions", "profile_by_handle", WHO, 1, wrap=root),
    Recording(PRIVATE_USER, "bestsolutions", "profile_by_id", WHO, 1, wrap=root),
    Recording("instagram/upstream/graphql_timeline_medias.json", "arraybobo", "posts_by_id", WHO, 12, TIMELINE_CURSOR),
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
)
MISSING = (Recording("instagram/upstream/graphql_user_by_id_not_found.json", "arraybobo", "posts_by_id", WHO, 0),)


GRAPH, UPSTREAM = "instagram/graphapi/errors/error_", "instagram/upstream/errors/error_"
GATEWAY = "rapidapi/errors/error_"
DOWN = Outcome.UPSTREAM_DOWN
REFUSALS = (
    Refusal(f"{GRAPH}100_2108006_before_business.json", "graphapi", Outcome.BAD_REQUEST),
    Refusal(f"{GRAPH}100_33_object_missing.json", "graphapi", Outcome.MISSING),
    Refusal(f"{GRAPH}100_missing_permission.json", "graphapi", Outcome.PERMISSION_MISSING),
    Refusal(f"{GRAPH}10_no_permission.json", "graphapi", Outcome.PERMISSION_MISSING),
    Refusal(f"{GRAPH}110_2207013_user_not_found.json", "graphapi", Outcome.MISSING),
    Refusal(f"{GRAPH}17_user_limit.json", "graphapi", Outcome.RATE_LIMITED, 3600),
    Refusal(f"{GRAPH}190_460_password_changed.json", "graphapi", Outcome.CREDENTIAL_DEAD),
    Refusal(f"{GRAPH}190_463_session_expired.json", "graphapi", Outcome.CREDENTIAL_DEAD),
    Refusal(f"{GRAPH}32_page_limit.json", "graphapi", Outcome.RATE_LIMITED, 3600),
    Refusal(f"{GRAPH}4_application_limit.json", "graphapi", Outcome.RATE_LIMITED, 3600),
    Refusal(f"{GRAPH}80002_instagram_buc.json", "graphapi", Outcome.RATE_LIMITED, 3600),
    Refusal("instagram/lama/errors/error_404_user_not_found.json", "lama", Outcome.MISSING),
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
READ_ELSEWHERE = ("rapidapi/headers_recorded.json",)
