"""Readers for the values that all of Instagram's APIs share: ids, counts, times, shortcodes; and Instagram's own refusals.

The shapes are in `private`, `web` and `graph`. Tolerant where a value is optional, strict where it is the point: a user has an id
and a follower count, a post a shortcode.
"""

import re
import string
from datetime import datetime

import msgspec

from beat_actors.errors import Malformed
from beat_actors.platforms.interface import ErrorRule, FetchSpec, Outcome
from beat_actors.platforms.keeping import without
from beat_actors.platforms.reading import Count, Flag, Id, Time, count, decoder, given, instant, quoted, text

ALPHABET = string.ascii_uppercase + string.ascii_lowercase + string.digits + "-_"

WITHOUT_CONTACTS = without(
    "public_email",
    "public_phone_number",
    "contact_phone_number",
    "business_email",
    "business_phone_number",
    "business_address_json",
    "address_street",
    "zip",
    "latitude",
    "longitude",
)
"""Fields that say how to reach the holder of an account, or where they live. No parser reads them, so they are not kept."""

# Instagram's own refusals, which a provider passes through. They concern the provider's session, not our key.
# source: the texts are those of recorded answers. An outage that quotes one of them says nothing of the thing.
# A refusal may come with status 200: it says `"status": "fail"` itself.
REFUSING = (200, range(400, 429))
PASSED_THROUGH = (
    *(ErrorRule(Outcome.PRIVATE, status=status, message="not authorized to view user") for status in REFUSING),
    *(
        ErrorRule(
            Outcome.MISSING, status=status, message="media not found or unavailable|invalid target user|user not found"
        )
        for status in REFUSING
    ),
    ErrorRule(Outcome.UPSTREAM_DOWN, message="please wait a few minutes", wait=60),
    ErrorRule(
        Outcome.UPSTREAM_DOWN, message="login_required|challenge_required|checkpoint_required|CHALLENGE_REDIRECTION"
    ),
    ErrorRule(Outcome.UPSTREAM_DOWN, message="feedback_required|sentry_block|rate_limit_error"),
    # Any other refusal in Instagram's own envelope is of the provider's session or address. A gateway's 400 has no such field.
    *(ErrorRule(Outcome.UPSTREAM_DOWN, status=status, message=r'"status"\s*:\s*"fail"') for status in (200, 400)),
)
FAILED = re.compile(rb'(?<!\\)"status"\s*:\s*"fail"')
SHORTCODE, NUMBER = re.compile(r"[A-Za-z0-9_-]{5,64}"), re.compile(r"[0-9]{1,25}")


class Envelope(msgspec.Struct):
    status: str | None = None


decode_envelope = decoder(Envelope)


def is_refusal(body: bytes) -> bool:
    """Whether an answer, with any status, is one of Instagram's own refusals."""
    # A look for the word alone costs a twentieth, and nearly no good answer has it.
    if b'"fail"' not in body or FAILED.search(body) is None:
        return False
    try:
        return decode_envelope(body).status == "fail"
    except Malformed:  # the parser says what is wrong with it
        return False


class Text(msgspec.Struct):
    text: str | msgspec.UnsetType | None = msgspec.UNSET


Caption = Text | str | None
"""An object with the text, the text itself, or nothing."""


class Counted(msgspec.Struct):
    count: Count = None


class PageInfo(msgspec.Struct):
    has_next_page: Flag = None
    end_cursor: str | None = None


def next_page(page: PageInfo | None) -> str | None:
    return page.end_cursor or None if page and page.has_next_page else None


class Url(msgspec.Struct):
    url: str | None = None


class Candidates(msgspec.Struct):
    candidates: list[Url] | None = None

    def first(self) -> str | None:
        return self.candidates[0].url if self.candidates else None


class Author(msgspec.Struct):
    """A user as other things name them. The private API calls the id `pk`, the web `id`. Newer answers also have it as text."""

    pk: Id | None = None
    pk_id: Id | None = None
    id: Id | None = None
    username: str | None = None

    def who(self) -> str | None:
        """Instagram's id of the user."""
        own = own_id(self.pk, self.pk_id, self.id)
        return None if own is None else str(own)

    def handle(self) -> str | None:
        name = text(self.username)
        return name.lower() if name else None

    def is_one_of(self, profile_id: str | None, handle: str | None) -> bool:
        """Whether this is the user with that id; or with that name, where one of the two ids is unknown."""
        who, name = self.who(), self.handle()
        if who is not None and profile_id is not None:
            return who == profile_id
        return handle is not None and name == handle


def own_id(*values: Id | None) -> Id | None:
    """The first value that is an id. An empty text is none."""
    for value in values:
        if value is not None and value != "":
            return value
    return None


def moment(*values: Time) -> datetime | None:
    """The first value that is a time."""
    for value in values:
        if value is not None:
            return instant(value)
    return None


def counted(path: str, **named: Count) -> int | None:
    """A count that the payload has under one of several names. Its error has the path of the name that is there."""
    for name, value in named.items():
        if value is not None:
            return count(value, f"{path}.{name.replace('__', '.')}")
    return None


def reported(path: str, **named: Count) -> int | None:
    """As `counted`, for a count that an owner may hide. Where one name has -1, another may have the count."""
    for name, value in named.items():
        if value is not None:
            found = shown(value, f"{path}.{name.replace('__', '.')}")
            if found is not None:
                return found
    return None


def concealed(**named: tuple[Count, ...]) -> tuple[str, ...]:
    """The counts that their owner hides. Each is given with the values that the payload has of it, of which one is -1 and none a count."""
    return tuple(
        name
        for name, values in named.items()
        if any(map(is_hidden, values)) and all(value is None or is_hidden(value) for value in values)
    )


def is_hidden(value: Count) -> bool:
    """-1 stands for a count that the owner hides."""
    return value in (-1, "-1")


def words(*captions: Caption) -> str | None:
    """The first that has any."""
    for caption in captions:
        said = given(caption.text) if isinstance(caption, Text) else caption
        if said:
            return text(said)
    return None


def the_one_asked_for(
    spec: FetchSpec,
    *,
    handle: str | None,
    profile_id: str | None,
    path: str = "$.user.pk",
    name: str = "$.user.username",
) -> None:
    """Raises `Malformed` where the answer is about another account. Some gateways mix up answers."""
    asked, asked_id = spec.params.get("handle"), spec.params.get("profile_id")
    if spec.operation.endswith("by_handle") and asked and handle and handle.lower() != asked.lower():
        raise Malformed(f"asked for {asked!r}, the answer is of {handle!r}", path=name)
    if spec.operation.endswith("by_id") and asked_id and profile_id and profile_id != str(asked_id):
        raise Malformed(f"asked for id {asked_id}, the answer is of {profile_id}", path=path)


def the_post_asked_for(spec: FetchSpec, found: str, path: str) -> None:
    """Raises `Malformed` where the answer has another post than `spec` asks for."""
    asked = spec.params["shortcode"]
    # A private account's links carry a token behind the eleven characters that name the post.
    if found[:11] != asked[:11]:
        raise Malformed(f"asked for {asked!r}, the answer is of {found!r}", path=path)


def shown(value: Count, path: str) -> int | None:
    """A count; `None` for -1, which stands for a count that the owner hides."""
    return None if is_hidden(value) else count(value, path)


def shortcode(value: str, path: str) -> str:
    if not SHORTCODE.fullmatch(value):
        raise Malformed(f"{value[:80]!r} is not a shortcode", path=path)
    return value


def shortcode_of(pk: Id | None) -> str | None:
    """The shortcode of an id, which is the id in base 64; `None` where there is no id."""
    found = bare_id(pk)
    if found is None or not NUMBER.fullmatch(found):
        return None
    number, letters = int(found), ""
    while number:
        number, digit = divmod(number, 64)
        letters = ALPHABET[digit] + letters
    return letters or None


def id_of(code: str) -> str | None:
    """The id of a shortcode of today's length; `None` for a shorter text, which may not be a shortcode."""
    return media_id_of(code) if len(code) >= 11 else None


def media_id_of(code: str) -> str:
    """The id of a shortcode. The links of private accounts have a token after the eleven characters that name the post."""
    number = 0
    for letter in code[:11]:
        number = number * 64 + ALPHABET.index(letter)
    return str(number)


def the_id(value: Id | None, path: str) -> str:
    """An id that must be there. Raises `Malformed` where it is not a number."""
    found = bare_id(value)
    if found is None or not NUMBER.fullmatch(found):
        raise Malformed(f"{quoted(value)} is not an id", path=path)
    return found


def an_id(value: Id | None, path: str) -> str | None:
    """An id that may be left out."""
    return None if value is None or value == "" else the_id(value, path)


def bare_id(value: Id | None) -> str | None:
    """The first part of an id as `123_456`, whose second part is the owner's id."""
    return None if value is None else str(value).partition("_")[0]
