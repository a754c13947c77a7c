"""YouTube's recordings."""

from typing import Any

from beat_actors.platforms.interface import Outcome
from beat_actors.platforms.youtube.simulator import ids as simulated
from beat_actors.simulator import Person, Population
from tests.conformance.recordings import Recording, Refusal

CHANNEL = "ZK_t6PQ7NL9K8pYD6IJV5Tzg"
PARAMS = {
    "profile_id": CHANNEL,
    "handle": "somebody",
    "username": "somebody",
    "playlist_id": "UUAAAAAAAAAAAAAAAAAAAAAA",
    "post_id": "D-bmsgyNrCY",
    "post_ids": ["D-bmsgyNrCY", "wcspynOAR5J"],
    "comment_id": "XeiR4ipdQJTzp2-keSE0CvTEAo",
    "q": "street food",
    "order": "time",
}
"""A value for each parameter of the operations and flows."""


def there(people: Population, person: Person, operation: str) -> dict[str, Any]:
    """What its simulated provider has of somebody."""
    del operation
    channel = simulated.channel_id(people, person.index)
    posts = [post for post in people.posts(person, 0, person.posts) if not simulated.gone(post)]
    videos = [simulated.video_id(people, person.index, post.ordinal) for post in posts]
    talked_of = next(i for i, post in enumerate(posts) if post.comments > 5 and not simulated.takes_no_comments(post))
    return {
        "profile_id": channel,
        "playlist_id": f"UU{channel[2:]}",
        "post_id": videos[talked_of],
        "comment_id": f"Ugx{videos[talked_of]}1",
        "post_ids": videos[:2],
        "q": "tea",
    }


PUBLIC_FIELDS: dict[str, str] = {}
"""Fields of a credential that are no secrets."""

RENEWED = {
    "ytapi": b'{"access_token":"ya29.brought","expires_in":3599,"scope":"https://www.googleapis.com/auth/youtube.readonly","token_type":"Bearer"}'
}
"""What a refresh brings, as Google's guide shows it."""

AT = "youtube/ytapi/"
HANDLE = {"handle": "midoimslksseinul"}
CHART = ["uEmsTxi_Ae5", "Wcg2lMVGkPK", "Jpyf3GLWtnl", "TcTYwCRcxTR", "X1lPZJPkmJm"]
COMMENTED = {"post_id": "S3KL3oKQDZ8", "order": "time"}
ANSWERED = {"post_id": "S3KL3oKQDZ8", "comment_id": "Ugx1"}
NEXT_COMMENTS = "MSUTRi0tSolENREtMdM5lodeIuReEKAUkOSKsnSnurSsmRLmdD2ATAlON6t5ET54neNttNmalkT2t5rMTtniLeMEsLMIkaRKKLMdNKToDo04RSLkRtE4MKk7dUlSKkE3RKUaULDUkIuOtTo4dtDTNASTrMI6rtmTk26ELEnlOA0="


def nothing(payload: Any) -> Any:
    """A recording's envelope around nothing; channels that are not there take the key `items` with them."""
    kept = {name: value for name, value in payload.items() if name not in ("items", "nextPageToken")}
    return {**kept, "pageInfo": {"totalResults": 0, "resultsPerPage": 5}}


def empty(payload: Any) -> Any:
    return {**nothing(payload), "items": []}


def counted(payload: Any) -> Any:
    """It was recorded without the part that we ask for too."""
    numbers = {"viewCount": "12", "subscriberCount": "3", "hiddenSubscriberCount": False, "videoCount": "2"}
    return {**payload, "items": [{**item, "statistics": numbers} for item in payload["items"]]}


def answers(payload: Any) -> Any:
    """The comments that begin the recorded threads, as a list of answers to one comment has them."""
    listed = [thread["snippet"]["topLevelComment"] for thread in payload["items"]]
    return {**payload, "kind": "youtube#commentListResponse", "items": listed}


# A listing names its videos and brings no records: what it names is looked at in the platform's own tests.
GOOD = (
    Recording(f"{AT}channels_list_single.json", "ytapi", "profile_by_id", {"profile_id": CHANNEL}, 1, wrap=counted),
    Recording(
        f"{AT}channels_list_single.json", "ytapi", "profile_by_username", {"username": "somebody"}, 1, wrap=counted
    ),
    Recording(f"{AT}channels_list_single_b.json", "ytapi", "profile_by_handle", HANDLE, 1),
    Recording(f"{AT}videos_list_single.json", "ytapi", "post_by_id", {"post_id": "D-bmsgyNrCY"}, 1),
    Recording(f"{AT}videos_list_multi.json", "ytapi", "posts_by_ids", {"post_ids": PARAMS["post_ids"]}, 2),
    Recording(f"{AT}videos_list_chart_p1.json", "ytapi", "posts_by_ids", {"post_ids": CHART}, 5),
    Recording(f"{AT}playlistItems_p1.json", "ytapi", "posts_by_playlist", {}, 0, "CAoQAA"),
    Recording(f"{AT}playlistItems_p2.json", "ytapi", "posts_by_playlist", {}, 0),
    Recording(f"{AT}search_by_channel.json", "ytapi", "posts_by_search", {}, 0, "CAUQAA"),
    Recording(f"{AT}search_keywords_p1.json", "ytapi", "posts_by_search", {}, 0, "CBkQAA"),
    Recording(f"{AT}search_keywords_p2.json", "ytapi", "posts_by_search", {}, 0, "CDIQAA"),
    Recording(f"{AT}commentThreads_by_video_p1.json", "ytapi", "comments_by_post", COMMENTED, 5, NEXT_COMMENTS),
    Recording(
        f"{AT}commentThreads_by_video_p1.json", "ytapi", "replies_by_comment", ANSWERED, 5, NEXT_COMMENTS, answers
    ),
)
MISSING = (
    Recording(f"{AT}channels_list_single.json", "ytapi", "profile_by_id", {"profile_id": CHANNEL}, 0, wrap=nothing),
    Recording(f"{AT}channels_list_single.json", "ytapi", "profile_by_handle", HANDLE, 0, wrap=nothing),
    Recording(f"{AT}videos_list_single.json", "ytapi", "post_by_id", {"post_id": "D-bmsgyNrCY"}, 0, wrap=empty),
)
ERRORS = f"{AT}errors/error_"
REFUSALS = (
    Refusal(f"{ERRORS}400_keyInvalid_legacy.json", "ytapi", Outcome.CREDENTIAL_DEAD),
    Refusal(f"{ERRORS}403_API_KEY_SERVICE_BLOCKED.json", "ytapi", Outcome.PERMISSION_MISSING),
    Refusal(f"{ERRORS}403_quotaExceeded.json", "ytapi", Outcome.QUOTA_EXHAUSTED),
    Refusal(f"{ERRORS}404_playlistNotFound.json", "ytapi", Outcome.MISSING),
    # It says not whose permission is missing.
    Refusal(f"{ERRORS}permission.json", "ytapi", Outcome.REFUSED, status=403),
)
READ_ELSEWHERE = (f"{AT}channels_list_multi.json",)
