"""Comments, as the Data API returns them."""

from collections.abc import Mapping
from typing import Any

from beat_actors.platforms.youtube.simulator.bodies import error, iso, listing, picture
from beat_actors.platforms.youtube.simulator.ids import channel_id, takes_no_comments, video_of
from beat_actors.simulator.population import Person
from beat_actors.simulator.provider import Asked, Reply, World
from beat_actors.simulator.shapes import relations

MOST_COMMENTS = 250
NO_VIDEO = "The video identified by the <code>videoId</code> parameter could not be found."
NO_COMMENT = "The specified comment could not be found."
NO_COMMENTS = "The video identified by the <code>videoId</code> parameter has disabled comments."


def threads(asked: Asked, world: World) -> Reply:
    name = asked.query["videoId"]
    found = video_of(world.people, name)
    if found is None:
        return error(404, "videoNotFound", "youtube.commentThread", NO_VIDEO)
    person, post = found
    if takes_no_comments(post):
        return error(403, "commentsDisabled", "youtube.commentThread", NO_COMMENTS)
    total = min(post.comments, MOST_COMMENTS, world.people.size // 2)

    def item(n: int) -> tuple[str, Mapping[str, Any]]:
        """The n-th comment, the newest first."""
        ordinal = total - 1 - n
        (said,) = relations.comments(world.people, person, post, ordinal, 1)
        own = f"Ugx{name}{ordinal}"
        replies = [_reply(world, own, person, said, each, name) for each in range(min(_replies(ordinal), 5))]
        first = _comment(world, own, said.author, said.text, said.at, said.likes, name)
        return own, {
            "snippet": {
                "channelId": channel_id(world.people, person.index),
                "videoId": name,
                "topLevelComment": first,
                "canReply": True,
                "totalReplyCount": _replies(ordinal),
                "isPublic": True,
            },
            **({"replies": {"comments": replies}} if replies else {}),
        }

    return listing("commentThread", asked, total, name, item, largest=100)


def replies(asked: Asked, world: World) -> Reply:
    """The answers to a comment. Its id names its video and its place there."""
    own = asked.query["parentId"]
    name, ordinal = own[3:14], own[14:]
    found = video_of(world.people, name)
    if found is None or not ordinal.isdecimal() or len(ordinal) > 4:
        return error(404, "commentNotFound", "youtube.comment", NO_COMMENT)
    person, post = found
    said = relations.comments(world.people, person, post, int(ordinal), 1)
    if not said or takes_no_comments(post):
        return error(404, "commentNotFound", "youtube.comment", NO_COMMENT)

    def item(n: int) -> tuple[str, Mapping[str, Any]]:
        made = _reply(world, own, person, said[0], n, name)
        # In the reference, the snippet of an answer does not name the video.
        return made["id"], {"snippet": {key: value for key, value in made["snippet"].items() if key != "videoId"}}

    return listing("comment", asked, _replies(int(ordinal)), own, item, largest=100)


def _replies(ordinal: int) -> int:
    return 7 if ordinal % 4 == 1 else 0


def _reply(world: World, own: str, author: Person, said: relations.Comment, n: int, video: str) -> Mapping[str, Any]:
    return _comment(world, f"{own}.r{n + 1}", author, "🙏 thank you", said.at + 60 * (n + 1), 0, video)


def _comment(world: World, own: str, author: Person, text: str, at: int, likes: int, video: str) -> Mapping[str, Any]:
    parent = {"parentId": own.partition(".")[0]} if "." in own else {}
    return {
        "kind": "youtube#comment",
        "id": own,
        "snippet": {
            "authorDisplayName": f"@{author.handle}",
            "authorProfileImageUrl": picture(world, "ytc", author.digest, "s48.jpg"),
            "authorChannelUrl": f"http://www.youtube.com/@{author.handle}",
            "authorChannelId": {"value": channel_id(world.people, author.index)},
            "videoId": video,
            "textDisplay": text,
            "textOriginal": text,
            **parent,
            "canRate": True,
            "viewerRating": "none",
            "likeCount": likes,
            "publishedAt": iso(at),
            "updatedAt": iso(at),
        },
    }
