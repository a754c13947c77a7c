"""TikTok's recordings. Those of its web are what api23 passes on; where it does so in `data`, they are wrapped."""

from typing import Any

from beat_actors.platforms.interface import Outcome
from beat_actors.platforms.tiktok.simulator import sec_uid
from beat_actors.simulator import Person, Population
from tests.conformance.recordings import Recording, Refusal

PARAMS = {
    "handle": "somebody",
    "profile_id": "123456",
    "sec_uid": "MS4wLjABAAAAsomebody",
    "post_id": "7000000000000000001",
}
"""A value for each parameter of the operations and flows."""


def there(people: Population, person: Person, operation: str) -> dict[str, str]:
    """What its simulated providers have of somebody."""
    del operation
    return {"sec_uid": sec_uid(person), "post_id": str(people.post(person, 3).pk)}


PUBLIC_FIELDS: dict[str, str] = {}
"""Fields of a credential that are no secrets."""

TIKWM, WEB = "tiktok/tikwm", "tiktok/web"
POST = {"post_id": "7000000000000000001"}


def with_ids(payload: Any) -> Any:
    """The samples are older than `video_id`, which the provider added to its lists on 15 December 2021."""
    for number, video in enumerate(payload["data"]["videos"], 7_000_000_000_000_000_001):
        video["video_id"] = str(number)
    return payload


def in_data(payload: Any) -> Any:
    return {"data": payload}


def todays(payload: Any) -> Any:
    """The list under today's names."""
    return in_data({"itemList": payload["items"], "hasMore": True, "cursor": payload["maxCursor"], "statusCode": 0})


def alone(payload: Any) -> Any:
    return {"statusCode": 0, "itemInfo": {"itemStruct": payload["items"][0]}}


def counted_exactly(payload: Any) -> Any:
    """As answers are today: the counts twice, the second time to the last digit and as text."""
    info = payload["userInfo"]
    info["statsV2"] = {name: str(number + 7) for name, number in info["stats"].items()}
    return payload


def of_the_web(payload: Any) -> Any:
    """The recorded comments in the names of TikTok's own web, of which no answer is recorded."""
    page = payload["data"]
    comments = [
        {
            "cid": each["id"],
            "text": each["text"],
            "create_time": each["create_time"],
            "digg_count": each["digg_count"],
            "reply_comment_total": each["reply_total"],
            "user": {"uid": each["user"]["id"], "unique_id": each["user"]["unique_id"]},
        }
        for each in page["comments"]
    ]
    return {"status_code": 0, "comments": comments, "cursor": page["cursor"], "has_more": int(page["hasMore"])}


GOOD = (
    Recording(f"{TIKWM}/tikwm_user_info.json", "tikwm", "profile_by_handle", {"handle": "emnankuao60"}, 1),
    Recording(
        f"{TIKWM}/tikwm_user_posts.json", "tikwm", "posts_by_id", {"profile_id": "1"}, 1, "8423549818393", with_ids
    ),
    Recording(f"{TIKWM}/tikwm_api.json", "tikwm", "post_by_id", POST, 1),
    Recording(f"{TIKWM}/tikwm_comment_list.json", "tikwm", "comments_by_post", POST, 1, "1"),
    Recording(f"{TIKWM}/tikwm_comment_list.json", "api23", "comments_by_post", POST, 1, "1", of_the_web),
    Recording(f"{WEB}/user.json", "api23", "profile_by_handle", {"handle": "notdsa"}, 1),
    Recording(f"{WEB}/user.json", "api23", "profile_by_handle", {"handle": "NotDsa"}, 1, wrap=counted_exactly),
    Recording(f"{WEB}/listV2.json", "api23", "posts_by_id", {"profile_id": "844863"}, 7, "6226501552219"),
    Recording(f"{WEB}/listV2.json", "api23", "posts_by_id", {"profile_id": "844863"}, 7, "6226501552219", todays),
    Recording(f"{WEB}/listV2.json", "api23", "post_by_id", {"post_id": "1175103047869201094"}, 1, wrap=alone),
    Recording(f"{WEB}/list.json", "api23", "posts_by_id", {"profile_id": "1610688"}, 12, "6801024686589"),
)
NAMES_BESIDES = frozenset({"cid"})
"""A comment's id in TikTok's own web."""
MISSING: tuple[Recording, ...] = ()
REFUSALS = (
    Refusal(f"{TIKWM}/errors/tikwm_free_limit_second.json", "tikwm", Outcome.RATE_LIMITED, 1),
    Refusal(f"{TIKWM}/errors/tikwm_url_parsing_failed.json", "tikwm", Outcome.UNSEEN),
    Refusal(f"{WEB}/user_na.json", "api23", Outcome.UNSEEN, status=200),
)
READ_ELSEWHERE = ()
