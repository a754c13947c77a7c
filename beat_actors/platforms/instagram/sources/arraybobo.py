"""ArrayBobo (`rapidapi-arraybobo` on the marketplace): private-API profiles, reels and stories, web GraphQL listings.

source: the provider's endpoint list. 100 calls in 30 seconds is what its operators have found to hold.
Stories come in the private API's shape or in the web's.
"""

from beat_actors.platforms.instagram.post_lists import the_posts
from beat_actors.platforms.instagram.posts import POST_TELLS, the_post
from beat_actors.platforms.instagram.rapidapi import InstagramBehindRapidApi
from beat_actors.platforms.instagram.stories import STORY_TELLS, the_stories
from beat_actors.platforms.instagram.users import PROFILE_TELLS, the_profile
from beat_actors.platforms.interface import Call, Endpoint, FetchSpec, Limit, Parsed, Secret
from beat_actors.platforms.rapidapi import keyed

HOST = "instagram-scraper-2022.p.rapidapi.com"


def by_handle(spec: FetchSpec, secret: Secret) -> Call:
    return keyed(HOST, "/ig/info_username/", {"user": spec.params["handle"]}, secret)


def by_id(spec: FetchSpec, secret: Secret) -> Call:
    return keyed(HOST, "/ig/info/", {"id_user": spec.params["profile_id"]}, secret)


def posts(spec: FetchSpec, secret: Secret) -> Call:
    cursor = {"end_cursor": spec.cursor} if spec.cursor else {}
    return keyed(HOST, "/ig/posts/", {"id_user": spec.params["profile_id"], **cursor}, secret)


def posts_by_handle(spec: FetchSpec, secret: Secret) -> Call:
    cursor = {"end_cursor": spec.cursor} if spec.cursor else {}
    return keyed(HOST, "/ig/posts_username/", {"user": spec.params["handle"], **cursor}, secret)


def post(spec: FetchSpec, secret: Secret) -> Call:
    return keyed(HOST, "/ig/post_info/", {"shortcode": spec.params["shortcode"]}, secret)


def reels(spec: FetchSpec, secret: Secret) -> Call:
    cursor = {"max_id": spec.cursor} if spec.cursor else {}
    return keyed(HOST, "/ig/reels_posts/", {"id_user": spec.params["profile_id"], **cursor}, secret)


def tagged(spec: FetchSpec, secret: Secret) -> Call:
    cursor = {"end_cursor": spec.cursor} if spec.cursor else {}
    return keyed(HOST, "/ig/tagged/", {"id_user": spec.params["profile_id"], **cursor}, secret)


def stories(spec: FetchSpec, secret: Secret) -> Call:
    return keyed(HOST, "/ig/stories/", {"id_user": spec.params["profile_id"]}, secret)


def parse_profile(body: bytes, spec: FetchSpec) -> Parsed:
    return the_profile(body, spec, at="$.user")


class ArrayBobo(InstagramBehindRapidApi):
    name = "arraybobo"
    host = HOST
    base_url = f"https://{HOST}"
    limits = (Limit("30 seconds", 100, 30),)
    endpoints = {
        "profile_by_handle": Endpoint(by_handle, parse_profile, tells=PROFILE_TELLS),
        "profile_by_id": Endpoint(by_id, parse_profile, tells=PROFILE_TELLS),
        "posts_by_id": Endpoint(posts, the_posts, tells=POST_TELLS),
        "posts_by_handle": Endpoint(posts_by_handle, the_posts, tells=POST_TELLS),
        "post_by_shortcode": Endpoint(post, the_post, tells=POST_TELLS),
        "reels_by_id": Endpoint(reels, the_posts, tells=POST_TELLS),
        "tagged_by_id": Endpoint(tagged, the_posts, tells=POST_TELLS),
        "stories_by_id": Endpoint(stories, the_stories, tells=STORY_TELLS),
    }
