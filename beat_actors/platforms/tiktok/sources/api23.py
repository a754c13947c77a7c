"""API23 (`rapidapi-tiktok-api23`): what TikTok's own web answers, passed on behind the RapidAPI gateway.

source: the provider's page; posts are asked for by `secUid`, which the profile brings. TikTok's errors come with status 200 and a
`statusCode`: 10221 and 10202 nobody is there, 10222 and 10216 not public; an unknown user was recorded as 1. 10204 may say that a post is
gone, or that the provider's address is blocked: (unverified), so it is not final.
Comments are read in the names of TikTok's own web (`cid`, `aweme_id`), which no answer of this provider has confirmed
(unverified). What a plan allows is in the gateway's headers; 2 calls a second is (unverified) what no plan refuses.
"""

import msgspec

from beat_actors.errors import Malformed
from beat_actors.platforms.interface import Answer, Call, Endpoint, ErrorRule, FetchSpec, Limit, Outcome, Parsed, Secret
from beat_actors.platforms.rapidapi import BY_STATUS, GATEWAY_ERRORS, RapidApiSource, keyed
from beat_actors.platforms.reading import Count, decoder, whole
from beat_actors.platforms.tiktok.payloads import PROFILE_TELLS, UserInfo, account_record
from beat_actors.platforms.tiktok.web import (
    COMMENT_TELLS,
    POST_TELLS,
    CommentList,
    Item,
    ItemList,
    OldList,
    comments,
    old_posts,
    post_record,
    posts,
)

HOST = "tiktok-api23.p.rapidapi.com"
POSTS, COMMENTS = 30, 50


class Detail(msgspec.Struct, rename="camel"):
    """What is wrapped around a user or a post: nothing or `data`; in its pages' own state, the name of the page's part."""

    user_info: UserInfo | None = None
    item_info: "ItemInfo | None" = None


class Scope(msgspec.Struct):
    user: Detail | None = msgspec.field(name="webapp.user-detail", default=None)
    post: Detail | None = msgspec.field(name="webapp.video-detail", default=None)


class Page(Detail, rename="camel"):
    data: Detail | None = None
    scope: Scope | None = msgspec.field(name="__DEFAULT_SCOPE__", default=None)

    def details(self) -> dict[str, Detail]:
        """Each place in which the thing may stand, by its path."""
        scope = self.scope or Scope()
        places = {
            "$": self,
            "$.data": self.data,
            "$.__DEFAULT_SCOPE__.webapp.user-detail": scope.user,
            "$.__DEFAULT_SCOPE__.webapp.video-detail": scope.post,
        }
        return {at: detail for at, detail in places.items() if detail is not None}


class Posts(ItemList, rename="camel"):
    """The list at the root, or in `data`; the oldest in `body`."""

    data: ItemList | None = None
    body: OldList | None = None


class Comments(CommentList):
    """The list at the root, or in `data`."""

    data: CommentList | None = None


class ItemInfo(msgspec.Struct, rename="camel"):
    item_struct: Item


class Status(msgspec.Struct, rename="camel"):
    status_code: Count = None
    # Lists of comments say it so.
    of_comments: Count = msgspec.field(name="status_code", default=None)
    data: "Status | None" = None

    def code(self) -> int | None:
        return whole(self.status_code) or whole(self.of_comments) or (self.data.code() if self.data else None)


decode_answer = decoder(Page)
decode_posts = decoder(Posts)
decode_comments = decoder(Comments)
decode_status = decoder(Status)


def by_handle(spec: FetchSpec, secret: Secret) -> Call:
    return keyed(HOST, "/api/user/info", {"uniqueId": spec.params["handle"]}, secret)


def by_sec_uid(spec: FetchSpec, secret: Secret) -> Call:
    query = {"secUid": spec.params["sec_uid"], "count": str(spec.at_most(POSTS)), "cursor": spec.cursor or "0"}
    return keyed(HOST, "/api/user/posts", query, secret)


def post(spec: FetchSpec, secret: Secret) -> Call:
    return keyed(HOST, "/api/post/detail", {"videoId": spec.params["post_id"]}, secret)


def comments_on(spec: FetchSpec, secret: Secret) -> Call:
    query = {"videoId": spec.params["post_id"], "count": str(spec.at_most(COMMENTS)), "cursor": spec.cursor or "0"}
    return keyed(HOST, "/api/post/comments", query, secret)


def parse_profile(body: bytes, spec: FetchSpec) -> Parsed:
    for at, detail in decode_answer(body).details().items():
        if detail.user_info is not None:
            return Parsed([account_record(detail.user_info, spec, f"{at}.userInfo")])
    raise Malformed("an answer without its user", path="$.userInfo")


def parse_posts(body: bytes, spec: FetchSpec) -> Parsed:
    page = decode_posts(body)
    if page.body is not None:
        return old_posts(page.body, spec, "$.body")
    return posts(page, spec, "$") if page.data is None else posts(page.data, spec, "$.data")


def parse_comments(body: bytes, spec: FetchSpec) -> Parsed:
    page = decode_comments(body)
    return comments(page, spec, "$") if page.data is None else comments(page.data, spec, "$.data")


def parse_post(body: bytes, spec: FetchSpec) -> Parsed:
    """Raises `Malformed` where it is another than was asked for."""
    asked = spec.params["post_id"]
    for place, detail in decode_answer(body).details().items():
        if detail.item_info is not None:
            at = f"{place}.itemInfo.itemStruct"
            found = post_record(detail.item_info.item_struct, spec, at)
            if found.post_id != asked:
                raise Malformed(f"asked for {asked}, the answer is of {found.post_id}", path=f"{at}.id")
            return Parsed([found])
    raise Malformed("an answer without its post", path="$.itemInfo")


class Api23(RapidApiSource):
    name = "api23"
    host = HOST
    base_url = f"https://{HOST}"
    limits = (Limit("second", 2, 1),)
    errors = (
        *GATEWAY_ERRORS,
        ErrorRule(Outcome.MISSING, status=200, code=10221),
        ErrorRule(Outcome.MISSING, status=200, code=10202),
        ErrorRule(Outcome.UNSEEN, status=200, code=1),  # TikTok's word for anything else that went wrong, too
        ErrorRule(Outcome.PRIVATE, status=200, code=10222),
        ErrorRule(Outcome.PRIVATE, status=200, code=10216),
        ErrorRule(Outcome.UPSTREAM_DOWN, status=200),
        *BY_STATUS,
    )
    endpoints = {
        "profile_by_handle": Endpoint(by_handle, parse_profile, tells=PROFILE_TELLS),
        "posts_by_id": Endpoint(by_sec_uid, parse_posts, page=POSTS, tells=POST_TELLS),
        "post_by_id": Endpoint(post, parse_post, tells=POST_TELLS),
        "comments_by_post": Endpoint(comments_on, parse_comments, page=COMMENTS, tells=COMMENT_TELLS),
    }

    def error_key(self, answer: Answer) -> tuple[int | str | None, int | str | None]:
        try:
            return decode_status(answer.body).code(), None
        except Malformed:  # the parser says what is wrong with it
            return None, None

    def is_error(self, answer: Answer) -> bool:
        return super().is_error(answer) or self.error_key(answer)[0] is not None
