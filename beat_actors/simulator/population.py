"""The people that every provider sees: computed from a seed when asked for, stored nowhere, the same through every provider.

A handle, a pk and a shortcode each lead back to their person, so that a population of millions costs no memory.
"""

import base64
import time
from collections.abc import Callable, Sequence
from hashlib import blake2b

import msgspec

from beat_actors.simulator.expiry import MediaClock
from beat_actors.simulator.happenings import OF_ONE, Happened, Happening, HappeningKind, Happenings

ANCHOR = 1_760_000_000  # the population's first day: no post is younger, and the numbers grow from here
MEDIA_EPOCH_MS = 1_314_220_021_721  # a media id counts its milliseconds from here
FIRST_PK = 10_000_019_000
PK_STEP = 7_919
LOW_BITS = 23

IMAGE, VIDEO, CAROUSEL = 1, 2, 8

SAID = (
    "golden hour slow morning coffee first light city walk ocean breeze new recipe studio day behind scenes weekend plans "
    "fresh start little things road trip summer mood work in progress good company home garden winter story open window "
    "market colours early train favourite corner late night tiny kitchen long way wild flowers blue door quiet street "
    "soft rain"
)
WORDS = SAID.split()
SENTENCES = tuple(
    " ".join(WORDS[(start * 7 + step * (1 + start % 5)) % len(WORDS)] for step in range(10 + start % 5)).capitalize()
    + "."
    for start in range(256)
)
TAGS = ("#travel", "#food", "#design", "#running", "#vintage", "#homemade", "#streetstyle", "#nature")
FIRST = ("Ada", "Noor", "Mika", "Lena", "Tomás", "Ines", "Ravi", "Zoë", "Aiko", "Femi", "Clara", "Emil", "Priya", "Hugo", "Sana", "Jonas")  # fmt: skip
LAST = ("Berg", "Okafor", "Lindqvist", "Marín", "Tanaka", "Rossi", "Haddad", "Novak", "Silva", "Kaur", "Dubois", "Weiss", "Moreau", "Ito", "Adeyemi", "Costa")  # fmt: skip
CATEGORIES = (
    "Artist",
    "Blogger",
    "Chef",
    "Digital creator",
    "Photographer",
    "Athlete",
    "Musician/band",
    "Clothing (Brand)",
)


class Person(msgspec.Struct, frozen=True):
    """One account. `followers` is as of the population's current drift epoch."""

    index: int
    pk: int
    handle: str
    full_name: str
    biography: str
    category: str
    website: str
    account_type: int  # 2 business, 3 creator
    is_private: bool
    is_verified: bool
    followers: int
    following: int
    posts: int
    fbid: int
    digest: str


class Post(msgspec.Struct, frozen=True):
    """One post. `ordinal` 0 is the newest; `taken_at` is in epoch seconds; `views` and `duration` are `None` but for videos."""

    ordinal: int
    pk: int
    shortcode: str
    kind: int
    taken_at: int
    caption: str
    likes: int
    comments: int
    views: int | None
    duration: float | None
    children: int
    digest: str
    likes_hidden: bool = False

    @property
    def shown_likes(self) -> int:
        """What a page says: three where the likes are hidden."""
        return 3 if self.likes_hidden else self.likes


class Population:
    """Of every `missing_every` people one does not exist (…97 of a hundred), of every `private_every` one is private (…98); 0 = none.

    `media`: the clock of the hosts of pictures. `drift_seconds`: how often the numbers move, 0 = never; `shift` lets everybody answer as the neighbour so many places on.
    """

    def __init__(
        self,
        size: int,
        seed: int = 1,
        *,
        missing_every: int = 100,
        private_every: int = 100,
        drift_seconds: float = 60.0,
        daily_growth: float = 0.001,
        clock: Callable[[], float] = time.time,
        shift: int = 0,
        ago: float = 0.0,
        media: MediaClock | None = None,
        happenings: Happenings | None = None,
    ) -> None:
        self.size = size
        self.seed = seed
        self._missing_every = missing_every
        self._private_every = private_every
        self._drift_seconds = drift_seconds
        self._daily_growth = daily_growth
        self._clock = clock
        self._shift = shift
        self._ago = ago
        self.happenings = happenings or Happenings()
        self.media = media or MediaClock(clock, stands=not drift_seconds)

    def mixed_up(self) -> "Population":
        """The same people, each answering to another's name: what a provider's mix-up looks like."""
        return self._like(self._shift + 1, self._ago)

    def past(self, seconds: float) -> "Population":
        """The same people so long ago: what a cache says that was not refreshed."""
        return self._like(self._shift, self._ago + seconds)

    def at(self, moment: float) -> "Population":
        """The same people as they were at this moment, in epoch seconds."""
        return self._like(self._shift, 0.0, lambda: moment)

    def moments(self, since: float, until: float) -> Sequence[float]:
        """The moments of this span, in epoch seconds, from which on something else may be true: its begin, each move of the numbers, and each happening."""
        found = {since, *(each.happening.at for each in self.happenings.until(until) if each.happening.at > since)}
        if self._drift_seconds:
            first = int((since - ANCHOR) / self._drift_seconds) + 1
            last = int((until - ANCHOR) / self._drift_seconds)
            found |= {ANCHOR + epoch * self._drift_seconds for epoch in range(first, last + 1)}
        return sorted(found)

    def _like(self, shift: int, ago: float, clock: Callable[[], float] | None = None) -> "Population":
        return Population(
            self.size,
            self.seed,
            missing_every=self._missing_every,
            private_every=self._private_every,
            drift_seconds=self._drift_seconds,
            daily_growth=self._daily_growth,
            clock=clock or self._clock,
            shift=shift,
            ago=ago,
            media=self.media,
            happenings=self.happenings,
        )

    def happens(self, happening: Happening) -> Happened | None:
        """Let it happen now; `None` where nobody has its handle."""
        index = None
        if happening.handle is not None:
            person = self.by_handle(happening.handle)
            if person is None:
                return None
            index = person.index
        now = msgspec.structs.replace(happening, at=self._now())
        return self.happenings.add(now, index, self.size)

    @property
    def version(self) -> tuple[int, int, int, float]:
        """What all answers depend on, beside the call and the media clock."""
        return self.epoch, self.happenings.generation, self._shift, self._ago

    def _now(self) -> float:
        return self._clock() - self._ago

    @property
    def epoch(self) -> int:
        """A number that changes whenever somebody's numbers may."""
        if not self._drift_seconds:
            return 0
        return max(0, int((self._now() - ANCHOR) / self._drift_seconds))

    @property
    def media_expiry(self) -> int:
        """Epoch seconds at which media URLs of this moment expire."""
        return self.media.expiry()

    def is_missing(self, index: int) -> bool:
        every = self._missing_every
        return not 0 <= index < self.size or (every > 0 and index % every == every - 3)

    def is_private(self, index: int) -> bool:
        every = self._private_every
        return every > 0 and index % every == every - 2

    def handle(self, index: int) -> str:
        return f"creator_{index:06d}"

    def by_handle(self, handle: str) -> Person | None:
        for each in reversed(self.happenings.until(self._now())):
            if each.happening.kind in OF_ONE and each.index is not None:
                if handle.lower() == str(each.happening.to).lower():
                    return self.person(each.index)
                if handle.lower() == str(each.happening.handle).lower():
                    return None if each.newcomer is None else self.person(each.newcomer)
        prefix, _, number = handle.lower().partition("_")
        if prefix != "creator" or not number.isascii() or not number.isdigit() or not 6 <= len(number) <= 12:
            return None
        index = int(number)
        return self.person(index) if index < self.size and self.handle(index) == f"creator_{number}" else None

    def by_pk(self, pk: str) -> Person | None:
        if not pk.isascii() or not pk.isdigit() or len(pk) > 18:
            return None
        index, rest = divmod(int(pk) - FIRST_PK, PK_STEP)
        return None if rest else self.person(index)

    def by_shortcode(self, shortcode: str) -> tuple[Person, Post] | None:
        number = media_pk(shortcode)
        if number is None:
            return None
        high = ((number >> LOW_BITS) + MEDIA_EPOCH_MS) % 1000
        person = self.person((high << LOW_BITS) | (number & ((1 << LOW_BITS) - 1)))
        ordinal = None if person is None else self.ordinal_of(person, number)
        return None if person is None or ordinal is None else (person, self.post(person, ordinal))

    def person(self, index: int) -> Person | None:
        """`None` where nobody is."""
        happened = self.happenings.until(self._now())
        if self.is_missing(index) and not any(each.newcomer == index for each in happened):
            return None
        if self._shift:
            index = (index + self._shift) % self.size
        raw = blake2b(b"%d person %d" % (self.seed, index), digest_size=32).digest()
        reach = int.from_bytes(raw[:4], "big") / 2**32
        handle = self.handle(index)
        person = Person(
            index=index,
            pk=FIRST_PK + PK_STEP * index,
            handle=handle,
            full_name=f"{FIRST[raw[4] & 15]} {LAST[raw[5] & 15]}",
            biography=f"{' '.join(WORDS[b % len(WORDS)] for b in raw[6:14])} 🌍 {TAGS[raw[14] & 7]}",
            category=CATEGORIES[raw[15] & 7],
            website=f"https://www.example.com/{handle}",
            account_type=2 + (raw[16] & 1),
            is_private=self.is_private(index),
            is_verified=raw[17] < 40,
            followers=self._grown(int(1000 * 10 ** (3.2 * reach))),
            following=100 + int.from_bytes(raw[18:20], "big") % 900,
            posts=26 + raw[20] % 80,
            fbid=17_841_400_000_000_000 + index,
            digest=raw.hex(),
        )
        return _changed(person, happened) if happened else person

    def posts(self, person: Person, start: int, count: int) -> Sequence[Post]:
        """Posts from the newest on; fewer than `count` at the end."""
        rhythm = _rhythm(person)
        return [self._post(person, ordinal, rhythm) for ordinal in range(start, min(start + count, person.posts))]

    def post(self, person: Person, ordinal: int) -> Post:
        return self._post(person, ordinal, _rhythm(person))

    def _post(self, person: Person, ordinal: int, rhythm: tuple[int, int]) -> Post:
        newest, gap = rhythm
        raw = blake2b(b"%d post %d %d" % (self.seed, person.index, ordinal), digest_size=48).digest()
        taken_at = newest - ordinal * gap - int.from_bytes(raw[:4], "big") % (gap // 2)
        ms = taken_at * 1000 + (person.index >> LOW_BITS)
        pk = ((ms - MEDIA_EPOCH_MS) << LOW_BITS) | (person.index & ((1 << LOW_BITS) - 1))
        kind = (IMAGE, VIDEO, CAROUSEL, IMAGE)[raw[4] & 3]
        likes = 5 + person.followers * (10 + raw[5] % 50) // 1000
        return Post(
            ordinal=ordinal,
            pk=pk,
            shortcode=shortcode(pk),
            kind=kind,
            taken_at=taken_at,
            caption=_caption(raw),
            likes=likes,
            comments=1 + likes * (5 + raw[24] % 30) // 1000,
            views=likes * (8 + raw[25] % 20) if kind == VIDEO else None,
            duration=5 + raw[26] / 4 if kind == VIDEO else None,
            children=2 + raw[27] % 3 if kind == CAROUSEL else 0,
            digest=raw.hex(),
            likes_hidden=self._hides_likes(person),
        )

    def _hides_likes(self, person: Person) -> bool:
        happened = self.happenings.until(self._now())
        return any(each.happening.kind is HappeningKind.HIDE_LIKES and each.hits(person.index) for each in happened)

    def ordinal_of(self, person: Person, pk: int) -> int | None:
        """Which of the person's posts it is; `None` where it is none of them."""
        taken_at = ((pk >> LOW_BITS) + MEDIA_EPOCH_MS) // 1000
        newest, gap = _rhythm(person)
        ordinal = (newest - taken_at) // gap
        return ordinal if 0 <= ordinal < person.posts and self.post(person, ordinal).pk == pk else None

    def _grown(self, number: int) -> int:
        days = self.epoch * self._drift_seconds / 86_400
        return number + int(number * self._daily_growth * days)


def _changed(person: Person, happened: Sequence[Happened]) -> Person:
    """The person after all that happened."""
    handle, followers, is_verified = person.handle, person.followers, person.is_verified
    for each in happened:
        kind = each.happening.kind
        if each.newcomer == person.index:
            handle = str(each.happening.handle)
        if not each.hits(person.index):
            continue
        followers = each.followers(person.index, followers)
        if kind in OF_ONE:
            handle = str(each.happening.to)
        elif kind is HappeningKind.UNVERIFY:
            is_verified = False
    return msgspec.structs.replace(person, handle=handle, followers=followers, is_verified=is_verified)


def shortcode(pk: int) -> str:
    """A media id as it stands in a post's link."""
    return base64.urlsafe_b64encode(b"\0" + pk.to_bytes(8, "big")).decode().lstrip("A")


def media_pk(code: str) -> int | None:
    """The media id behind a shortcode; `None` where it is none."""
    try:
        raw = base64.b64decode(code.rjust(12, "A"), altchars=b"-_", validate=True)
    except ValueError:
        return None
    return int.from_bytes(raw, "big") if len(raw) == 9 and raw[0] == 0 else None


def _rhythm(person: Person) -> tuple[int, int]:
    """(the time that no post of theirs is younger than, seconds from post to post)"""
    number = int(person.digest[:8], 16)
    return ANCHOR - number % 86_400, 86_400 + number % 172_800


def _caption(raw: bytes) -> str:
    """Some 1,300 characters: as long as captions are where somebody has something to tell."""
    return f"{' '.join([SENTENCES[b] for b in raw[6:24]])} ✨\n\n{TAGS[raw[23] & 7]} {TAGS[raw[24] & 7]}"
