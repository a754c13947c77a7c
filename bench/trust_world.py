"""A made-up world for `bench.trust`: profiles with a size, a way to grow and a history, and what a day brings them."""

import math
import random
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from beat_actors.platforms.instagram.entities import InstagramAccount, InstagramPost

NOW = 1_790_000_000.0
TODAY = datetime.fromtimestamp(NOW, UTC)
MEDIAN = 8000
"""Followers of the median profile; a third has more than 20,000, one in a hundred more than a million."""
POINTS = 31
ROUNDED = 3
"""One profile in so many is reported with three digits."""
VIRAL = 0.0004
"""The chance of a day on which a profile grows by a multiple of what is usual."""
CLEANED = 0.0002
"""The chance of a day on which somebody archives or unfollows many at once."""


@dataclass(slots=True)
class Profile:
    """`pace`: the scale of a day's log change; `trend`: its mean. `history`: followers on the days before, oldest first. `followers`: today."""

    index: int
    followers: int
    following: int
    media_count: int
    pace: float
    trend: float
    is_rounded: bool
    history: list[int] = field(default_factory=list)
    month_ago: int = 0

    @property
    def handle(self) -> str:
        return f"creator_{self.index:06d}"


class World:
    def __init__(self, size: int, seed: int) -> None:
        self._chance = random.Random(seed)
        self.profiles = [self._profile(index) for index in range(size)]

    def other(self, profile: Profile) -> Profile:
        """Always the same other profile for a profile."""
        return self.profiles[(profile.index * 7919 + 13) % len(self.profiles)]

    def _profile(self, index: int) -> Profile:
        chance = self._chance
        size = max(100.0, MEDIAN * math.exp(chance.gauss(0, 2.0)))
        profile = Profile(
            index,
            0,
            round(min(7500, 300 * math.exp(chance.gauss(0, 0.9)))),
            round(10 + 150 * math.exp(chance.gauss(0, 1.2))),
            pace=0.002 * math.exp(chance.gauss(0, 0.8)),
            trend=chance.gauss(0.0004, 0.001),
            is_rounded=index % ROUNDED == 0,
        )
        level, days = size, []
        for _ in range(POINTS + 1):
            level *= math.exp(change(profile, chance))
            days.append(shown(profile, level))
        profile.month_ago, profile.followers = days[1], days[-1]
        # From one point to a month of them.
        profile.history = days[:-1][-chance.randint(1, POINTS) :]
        return profile


def change(profile: Profile, chance: random.Random) -> float:
    """A day's log change, with heavy tails (Student's t with three degrees of freedom)."""
    heavy = chance.gauss(0, 1) / math.sqrt(chance.gammavariate(1.5, 2) / 3)
    jump = chance.uniform(0.1, 1.2) if chance.random() < VIRAL else 0.0
    return max(-0.05, min(0.25, profile.trend + profile.pace * heavy)) + jump


def shown(profile: Profile, level: float) -> int:
    number = max(1, round(level))
    if not profile.is_rounded:
        return number
    places = max(0, len(str(number)) - 3)
    return int(number // 10**places * 10**places)


def account(profile: Profile, followers: int) -> InstagramAccount:
    return InstagramAccount(
        profile_id=str(profile.index),
        handle=profile.handle,
        full_name=f"Creator {profile.index}",
        biography="Mornings, markets and long walks. New every week.",
        profile_pic_url=f"https://cdn.example.com/v/t51/{profile.index}_n.jpg?stp=dst-jpg&sig=3f7a",
        is_verified=profile.followers > 1_000_000,
        followers=followers,
        following=profile.following,
        media_count=profile.media_count,
    )


def posts(profile: Profile) -> list[InstagramPost]:
    """Its newest twelve."""
    return [
        InstagramPost(
            shortcode=f"{profile.index}-{place}",
            likes=2 + profile.followers * (10 + (profile.index * 31 + place * 17) % 50) // 1000,
            taken_at=TODAY - timedelta(days=3 * place + 1),
        )
        for place in range(12)
    ]
