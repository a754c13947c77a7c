"""Cursors lead through all posts, once each, and belong to the source that gave them."""

from collections.abc import AsyncIterator
from itertools import permutations

import pytest

from tests.integration.simulator.conftest import MEDIA, PEOPLE, PK, Caller

PERSON = PEOPLE.by_pk(PK)
assert PERSON is not None
ALL = [post.shortcode for post in PEOPLE.posts(PERSON, 0, PERSON.posts)]
LISTINGS = {
    "arraybobo": ("/ig/posts/", {"id_user": PK}, "end_cursor"),
    "jotucker": ("/medias_v2", {"user_id": PK, "batch_size": "17"}, "max_id"),
    "bestsolutions": ("/feed", {"user_id": PK}, "next_max_id"),
    "lama": ("/v1/user/medias/chunk", {"user_id": PK, "max_amount": "11"}, "end_cursor"),
}


async def pages(caller: Caller, source: str) -> AsyncIterator[tuple[list[str], str | None]]:
    """(shortcodes, next cursor) of each page, in each provider's own way."""
    cursor: str | None = ""
    while cursor is not None:
        if source == "graphapi":
            after = f".after({cursor})" if cursor else ""
            fields = MEDIA.format(handle=PERSON.handle, after=after, limit=9)  # type: ignore[union-attr]
            body = (await caller.get(source, "/1784", {"fields": fields})).json()
            media = body["business_discovery"]["media"]
            found = [item["permalink"].rstrip("/").rpartition("/")[2] for item in media["data"]]
            cursor = media["paging"]["cursors"].get("after")
        else:
            path, query, name = LISTINGS[source]
            got = await caller.get(source, path, {**query, **({name: cursor} if cursor else {})})
            assert got.status == 200, got.body
            body = got.json()
            if source == "arraybobo":
                timeline = body["data"]["user"]["edge_owner_to_timeline_media"]
                found = [edge["node"]["shortcode"] for edge in timeline["edges"]]
                page = timeline["page_info"]
                cursor = page["end_cursor"] if page["has_next_page"] else None
            elif source == "lama":
                found, cursor = [item["code"] for item in body[0]], body[1]
            else:
                found = [item["code"] for item in body["items"]]
                cursor = body["next_max_id"] if body["more_available"] else None
        yield found, cursor


@pytest.mark.parametrize("source", ["graphapi", *LISTINGS])
async def test_the_pages_hold_every_post_once_and_in_order(caller: Caller, admin: object, source: str) -> None:
    await admin.set_limits(enabled=False)  # type: ignore[attr-defined]
    seen: list[str] = []
    count = 0
    async for found, _ in pages(caller, source):
        seen += found
        count += 1
    assert seen == ALL
    assert count > 2


@pytest.mark.parametrize(("source", "other"), list(permutations(LISTINGS, 2)))
async def test_another_sources_cursor_is_refused(caller: Caller, source: str, other: str) -> None:
    async for _, cursor in pages(caller, other):
        assert cursor is not None
        break
    path, query, name = LISTINGS[source]
    assert (await caller.get(source, path, {**query, name: cursor}, key="key-2")).status == 400


async def test_a_private_persons_posts_are_not_reported(caller: Caller) -> None:
    pk = str(PEOPLE.person(98).pk)  # type: ignore[union-attr]
    assert (await caller.get("jotucker", "/medias_v2", {"user_id": pk})).status == 400
    assert (await caller.get("bestsolutions", "/feed", {"user_id": pk})).status == 400
    assert (await caller.get("lama", "/v1/user/medias/chunk", {"user_id": pk})).status == 403
    timeline = (await caller.get("arraybobo", "/ig/posts/", {"id_user": pk})).json()["data"]["user"]
    assert timeline["edge_owner_to_timeline_media"]["edges"] == []
