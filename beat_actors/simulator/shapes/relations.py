"""Who and what is around a person: stories, those who follow, who is tagged, who comments. Computed, as the population is."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import islice

from beat_actors.simulator.population import Person, Population, Post

STORY_SECONDS = 86_400
SAID = ("❤️❤️", "so good!", "شكرا جزيلا", "Where is this?", "😍 love it", "¡Qué bonito!")


@dataclass(frozen=True, slots=True)
class Comment:
    """`at` is in epoch seconds."""

    id: int
    text: str
    at: int
    likes: int
    author: Person


def stories(people: Population, person: Person) -> Sequence[Post]:
    """None to three, the newest first: what came after the person's newest post. Their ordinals are below zero."""
    count = 0 if person.is_private else int(person.digest[8:10], 16) % 4
    return [people.post(person, ordinal) for ordinal in range(-count, 0)]


def followers(people: Population, person: Person) -> int:
    """How many of the followers can be listed: there are no more people than there are."""
    return min(person.followers, people.size // 2)


def following(people: Population, person: Person) -> int:
    return min(person.following, people.size // 2)


def neighbours(people: Population, person: Person, start: int, count: int, step: int = 1) -> Sequence[Person]:
    """People from the `start`-th after this one on (before it, with a `step` of -1)."""
    return list(islice(_around(people, person, step), start, start + count))


def posts_of_others(people: Population, person: Person, start: int, count: int) -> Sequence[tuple[Person, Post]]:
    """A post of each neighbour whose posts are public."""
    public = (other for other in _around(people, person, 1) if not other.is_private)
    return [(other, people.post(other, 3)) for other in islice(public, start, start + count)]


def tagged(person: Person) -> int:
    """In how many posts of others the person is tagged."""
    return 15 + int(person.digest[10:12], 16) % 30


def behind_hashtag(people: Population, tag: str) -> Person:
    """A hashtag's posts are those of somebody's neighbours."""
    index = int.from_bytes(blake2b(tag.encode(), digest_size=4).digest(), "big") % people.size
    return next(person for n in range(people.size) if (person := people.person((index + n) % people.size)) is not None)


def comments(people: Population, person: Person, post: Post, start: int, count: int) -> Sequence[Comment]:
    end = min(start + count, post.comments)
    authors = neighbours(people, person, start, max(0, end - start))
    return [
        Comment((post.pk >> 7) + n, SAID[n % len(SAID)], post.taken_at + 60 * (n + 1), n % 5, author)
        for n, author in enumerate(authors, start)
    ]


def _around(people: Population, person: Person, step: int) -> Iterator[Person]:
    for n in range(1, people.size):
        other = people.person((person.index + step * n) % people.size)
        if other is not None and other.pk != person.pk:
            yield other
