"""Who lives in the simulated Instagram: any number of profiles and posts, derived from a seed, the same through every provider."""

import base64
import hashlib
import time
from dataclasses import dataclass
from functools import lru_cache

FIRST_PK = 5_000_000_000
PREFIX = "creator_"
BORN = 1_735_689_600  # 2025-01-01; the numbers grow from there
EPOCH = 30.0
"""Seconds for which all numbers stand still, so that an answer can be kept ready."""
WORDS = ("light", "river", "studio", "morning", "craft", "north", "garden", "paper", "salt", "echo", "field", "amber")


@dataclass(frozen=True, slots=True)
class Post:
    index: int
    id: int
    shortcode: str
    kind: str
    caption: str
    taken_at: int
    likes: int
    comments: int
    views: int


@dataclass(frozen=True, slots=True)
class Person:
    number: int
    pk: int
    handle: str
    full_name: str
    biography: str
    private: bool
    verified: bool
    followers: int
    following: int
    post_count: int


class Population:
    """`size` profiles, `creator_000000` upwards. Every `private_every`th is private; 0 makes none so."""

    def __init__(self, size: int, *, seed: int = 1, private_every: int = 0, epoch: float = EPOCH) -> None:
        self.size = size
        self.seed = seed
        self.private_every = private_every
        self._epoch = epoch
        self.person = lru_cache(maxsize=50_000)(self._person)
        self.posts = lru_cache(maxsize=4_000)(self._posts)

    def epoch(self) -> int:
        """Which state of the numbers is in force."""
        return int((time.time() - BORN) // self._epoch)

    def by_handle(self, handle: str, epoch: int) -> Person | None:
        number = handle.removeprefix(PREFIX)
        if not handle.startswith(PREFIX) or len(number) != 6 or not number.isdigit() or int(number) >= self.size:
            return None
        return self.person(int(number), epoch)

    def by_pk(self, pk: str, epoch: int) -> Person | None:
        number = int(pk) - FIRST_PK if pk.isdigit() else -1
        return self.person(number, epoch) if 0 <= number < self.size else None

    def page(self, person: Person, epoch: int, start: int, size: int) -> tuple[tuple[Post, ...], int | None]:
        """Posts from `start` on, newest first, and where the next page starts (`None` on the last)."""
        found = self.posts(person.number, epoch)[start : start + size]
        following = start + size
        return found, following if following < person.post_count else None

    def _hash(self, *parts: object) -> int:
        text = ":".join(map(str, (self.seed, *parts)))
        return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest())

    def _words(self, count: int, *parts: object) -> str:
        dice = self._hash("words", *parts)
        return " ".join(WORDS[(dice >> (4 * i)) % len(WORDS)] for i in range(count))

    def _person(self, number: int, epoch: int) -> Person:
        dice = self._hash("person", number)
        base = 500 + dice % 10 ** (3 + dice % 5)
        grown = int(base * 1e-7 * (dice % 50) * epoch)
        return Person(
            number=number,
            pk=FIRST_PK + number,
            handle=f"{PREFIX}{number:06d}",
            full_name=self._words(2, number).title(),
            biography=f"{self._words(8, 'bio', number)} 🌿",
            private=bool(self.private_every) and number % self.private_every == self.private_every - 1,
            verified=dice % 7 == 0,
            followers=base + grown,
            following=dice % 900,
            post_count=15 + dice % 80,
        )

    def _posts(self, number: int, epoch: int) -> tuple[Post, ...]:
        person = self.person(number, epoch)
        return tuple(self._post(person, index, epoch) for index in range(person.post_count))

    def _post(self, person: Person, index: int, epoch: int) -> Post:
        dice = self._hash("post", person.number, index)
        post_id = (3_000_000_000_000_000_000 + person.number * 1_000_000 + person.post_count - index) & (2**63 - 1)
        likes = dice % max(10, person.followers // 5) + epoch % 1000
        return Post(
            index=index,
            id=post_id,
            shortcode=base64.urlsafe_b64encode(post_id.to_bytes(8)).decode().rstrip("="),
            kind=("image", "reels", "carousel")[dice % 3],
            caption=f"{self._words(10, 'caption', person.number, index)} #{self._words(1, index)} ✨",
            taken_at=BORN - index * 86_400 - dice % 80_000,
            likes=likes,
            comments=likes // 25,
            views=likes * 9,
        )
