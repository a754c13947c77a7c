"""Every simulated provider answers in its provider's recorded shape: what the recording has, the simulated provider has, of the same type."""

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from beat_actors.simulator.shapes import relations
from tests.conftest import FIXTURES
from tests.integration.simulator.conftest import PEOPLE, PK, Caller

# What one recording has and its kind does not always have.
NOT_ALWAYS = {
    "user.latitude", "user.longitude", "user.category",
    "items[].top_likers[]", "items[].facepile_top_likers[]", "items[].usertags.in[]", "items[].music_metadata",
    "edges[].node.edge_media_to_tagged_user.edges[]", "[].coauthor_producers[]", "data.granular_scopes[].target_ids",
    "[].mentions[]", "[].sponsor_tags[]",
    *(f"edge_sidecar_to_children.edges[].node.{key}" for key in ("dash_info", "video_url", "video_view_count")),
}  # fmt: skip
KINDS: dict[type, str] = {bool: "bool", int: "number", float: "number", str: "text", dict: "object", list: "list"}


def recorded(name: str) -> Any:
    return msgspec.json.decode((FIXTURES / name).read_bytes())


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """(path, kind) of every key; the items of a list share a path."""
    if value is None:
        return
    kind = KINDS[type(value)]
    if path.rpartition(".")[2] in {"pk", "id", "user_id", "media_id", "next_max_id"}:
        kind = "an id"  # a number in some recordings, a string in others
    yield path, kind
    if isinstance(value, dict):
        for key, each in value.items():
            yield from leaves(each, f"{path}.{key}".removeprefix("."))
    elif isinstance(value, list):
        for each in value:
            yield from leaves(each, f"{path}[]")


def lacking(whole: Any, part: Any) -> set[tuple[str, str]]:
    """What `whole` (a recording) has and `part` (an answer) lacks."""
    have = set(leaves(part))
    nulls = set(null_paths(part))
    return {
        (path, kind)
        for path, kind in leaves(whole)
        if (path, kind) not in have
        and not any(rare in path for rare in NOT_ALWAYS)
        and not any(path == null or path.startswith((f"{null}.", f"{null}[")) for null in nulls)
    }


def null_paths(value: Any, path: str = "") -> Iterator[str]:
    if value is None:
        yield path
    elif isinstance(value, dict):
        for key, each in value.items():
            yield from null_paths(each, f"{path}.{key}".removeprefix("."))
    elif isinstance(value, list):
        for each in value:
            yield from null_paths(each, f"{path}[]")


def of_kind(kind: int) -> str:
    person = PEOPLE.by_pk(PK)
    assert person is not None
    return next(post.shortcode for post in PEOPLE.posts(person, 0, 60) if post.kind == kind)


def discovery(inner: str) -> dict[str, str]:
    return {"fields": f"business_discovery.username(creator_000042){{{inner}}}"}


STORYTELLER = next(
    person
    for index in range(200)
    if (person := PEOPLE.person(index)) and not person.is_private and len(relations.stories(PEOPLE, person)) == 3
)
WITH_STORIES, FBID = str(STORYTELLER.pk), str(STORYTELLER.fbid)
POST_FIELDS = "id,caption,comments_count,like_count,media_type,media_url,permalink,timestamp"
CASES = {
    "graphapi/discovery_user_fields.json": (
        "graphapi", "/1784",
        discovery("id,biography,name,username,profile_picture_url,followers_count,media_count"),
    ),
    "graphapi/discovery_medias_p1.json": ("graphapi", "/1784", discovery(f"media.limit(2){{{POST_FIELDS}}}")),
    "graphapi/debug_token.json": ("graphapi", "/debug_token", {"input_token": "some"}),
    "upstream/users_info_private.json": ("arraybobo", "/ig/info_username/", {"user": "creator_000042"}),
    "upstream/graphql_timeline_medias.json": ("arraybobo", "/ig/posts/", {"id_user": PK}),
    "upstream/graphql_user_by_id_not_found.json": ("arraybobo", "/ig/posts/", {"id_user": "1"}),
    "upstream/media_info_carousel.json": ("jotucker", "/media_info_v2", {"short_code": of_kind(8)}),
    "upstream/media_info_video.json": ("jotucker", "/media_info_v2", {"short_code": of_kind(2)}),
    "upstream/graphql_tagged_medias.json": ("arraybobo", "/ig/tagged/", {"id_user": PK}),
    "upstream/graphql_followers_p1.json": ("jotucker", "/followers", {"user_id": PK}),
    "lama/gql_user_followers_chunk.json": ("lama", "/gql/user/followers/chunk", {"user_id": PK}),
    "lama/v1_user_clips_chunk.json": ("lama", "/v1/user/clips/chunk", {"user_id": PK}),
    "lama/v1_user_stories.json": ("lama", "/v1/user/stories", {"user_id": WITH_STORIES}),
    "lama/v1_hashtag_medias_top_chunk.json": ("lama", "/v1/hashtag/medias/top/recent/chunk", {"name": "recipes"}),
    "graphapi/user_fields.json": ("graphapi", f"/{FBID}", {"fields": "id,biography,name,username,profile_picture_url,followers_count,media_count"}),
    "graphapi/user_medias_p1.json": ("graphapi", f"/{FBID}/media", {"fields": POST_FIELDS, "limit": "2"}),
    "graphapi/user_stories.json": ("graphapi", f"/{FBID}/stories", {"fields": POST_FIELDS}),
    "graphapi/user_tagged_medias.json": ("graphapi", f"/{FBID}/tags", {"fields": POST_FIELDS, "limit": "100"}),
    "lama/a2_user.json": ("lama", "/a2/user", {"username": "creator_000042"}),
    "lama/v1_user_by_id.json": ("lama", "/v1/user/by/id", {"id": PK}),
    "lama/v1_user_medias_chunk.json": ("lama", "/v1/user/medias/chunk", {"user_id": PK, "max_amount": "200"}),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
async def test_an_answer_has_all_that_the_recording_has(caller: Caller, name: str) -> None:
    source, path, query = CASES[name]
    got = await caller.get(source, path, query)
    assert got.status == 200
    assert lacking(recorded(f"instagram/{name}"), got.json()) == set()


async def test_jotucker_wraps_the_same_user_and_bestsolutions_has_it_at_the_root(caller: Caller) -> None:
    whole = recorded("instagram/upstream/users_info_private.json")
    wrapped = (await caller.profile("jotucker")).json()
    at_root = (await caller.profile("bestsolutions")).json()
    assert lacking(whole, wrapped) == set()
    assert lacking(whole, {"user": at_root, "status": "ok"}) == set()


async def test_a_second_discovery_page_points_both_ways(caller: Caller) -> None:
    media = f"media.limit(2){{{POST_FIELDS}}}"
    first = (await caller.get("graphapi", "/1784", discovery(media))).json()
    after = first["business_discovery"]["media"]["paging"]["cursors"]["after"]
    second = await caller.get("graphapi", "/1784", discovery(media.replace(".limit", f".after({after}).limit")))
    assert lacking(recorded("instagram/graphapi/discovery_medias_p2.json"), second.json()) == set()


async def test_a_profile_with_posts_has_a_real_size(caller: Caller) -> None:
    fields = f"id,ig_id,username,followers_count,biography,media.limit(12){{{POST_FIELDS},thumbnail_url}}"
    body = (await caller.get("graphapi", "/v24.0/1784", discovery(fields))).body
    assert 18_000 < len(body) < 36_000


ERRORS = {
    "instagram/graphapi/errors/error_110_2207013_user_not_found.json": (400, "missing", "graphapi"),
    "instagram/graphapi/errors/error_190_460_password_changed.json": (400, "revoked", "graphapi"),
    "instagram/graphapi/errors/error_4_application_limit.json": (403, "rate_limit", "graphapi"),
    "instagram/graphapi/errors/error_80002_instagram_buc.json": (400, "quota", "graphapi"),
    "instagram/lama/errors/error_404_user_not_found.json": (404, "missing", "lama"),
    "rapidapi/errors/error_403_not_subscribed.json": (403, "revoked", "arraybobo"),
    "rapidapi/errors/error_429_monthly_quota.json": (429, "quota", "jotucker"),
    "rapidapi/errors/error_429_per_second.json": (429, "rate_limit", "bestsolutions"),
}


@pytest.mark.parametrize("name", ERRORS)
async def test_an_error_has_the_recorded_body_and_status(caller: Caller, admin: Any, name: str) -> None:
    status, cause, source = ERRORS[name]
    if cause == "missing":
        got = await caller.profile(source, "creator_000097")
    else:
        await admin.add_fault(cause, source)
        got = await caller.profile(source)
    whole = recorded(name)
    assert got.status == status
    assert lacking(whole, got.json()) == set()
    for key in ("code", "error_subcode"):
        assert got.json().get("error", {}).get(key) == whole.get("error", {}).get(key)
