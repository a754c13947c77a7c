"""Channels, as the Data API returns them."""

from collections.abc import Callable, Mapping
from typing import Any

from beat_actors.platforms.youtube.simulator.bodies import DAY, MANY, bad, iso, picture, resources
from beat_actors.platforms.youtube.simulator.ids import channel_id
from beat_actors.simulator.population import Person
from beat_actors.simulator.provider import Asked, Reply, World


def channel(world: World, person: Person) -> Mapping[str, Any]:
    own = channel_id(world.people, person.index)
    hidden = {} if person.is_private else {"subscriberCount": str(rounded(person.followers))}
    return {
        "snippet": {
            "title": person.full_name,
            "description": person.biography,
            "customUrl": f"@{person.handle}",
            "publishedAt": iso(1_200_000_000 + person.index % 1000 * DAY),
            "thumbnails": {
                name: {"url": picture(world, "ytc", person.digest, f"s{size}.jpg"), "width": size, "height": size}
                for name, size in (("default", 88), ("medium", 240), ("high", 800))
            },
            "localized": {"title": person.full_name, "description": person.biography},
            "country": ("US", "DE", "JP", "BR")[person.index % 4],
        },
        "contentDetails": {"relatedPlaylists": {"likes": "", "uploads": "UU" + own[2:]}},
        "statistics": {
            "viewCount": str(person.followers * 90),
            **hidden,
            "hiddenSubscriberCount": person.is_private,
            "videoCount": str(person.posts),
        },
        "status": {"privacyStatus": "public", "isLinked": True, "longUploadsStatus": "allowed", "madeForKids": False},
    }


def channels(selector: str, find: Callable[[World, str], Person | None]) -> Callable[[Asked, World], Reply]:
    def answer(asked: Asked, world: World) -> Reply:
        names = asked.query[selector].split(",")
        if len(names) > MANY:
            return bad("invalidParameter", f"at most {MANY} values may be given", selector)
        found = [person for name in dict.fromkeys(names) if (person := find(world, name)) is not None]
        items = [(channel_id(world.people, person.index), channel(world, person)) for person in found]
        return resources("channel", asked, items)

    return answer


def rounded(number: int) -> int:
    """The number with three digits; the others are 0."""
    step: int = 10 ** max(0, len(str(number)) - 3)
    return number // step * step
