"""A person as a platform knows him: his ids and names, found from any one of them."""

from collections.abc import Sequence
from functools import cache

import msgspec

from beat_actors.database import Composed, Database, Statement, Statements
from beat_actors.errors import BadInput, NotFound
from beat_actors.platforms.interface import Entity
from beat_actors.platforms.registry import platform as known_platform
from beat_actors.text import check_text

SHORTEST, LONGEST = 2, 300
"""Characters of an id or a name."""
MOST_NAMES = 100
"""Earlier names that are looked for."""
SQL = Statements(__file__)
EARLIER = SQL("earlier", str)


class Subject(msgspec.Struct, frozen=True, kw_only=True):
    """A person. `kind`: what the platform calls such things. `given`: the id or name that was asked for. `known`: whether the platform's table has him."""

    platform: str
    kind: str
    given: str
    ids: list[str]
    names: list[str]
    known: bool


def is_name(column: str) -> bool:
    """Whether a column of `Personal.subject` holds a name, which may go to somebody else one day, and not an id."""
    return column.endswith(("handle", "_name"))


def person_of(platform: str) -> Entity:
    """The entity whose rows are persons: found by their own key. Raises `NotFound` where the platform keeps none, and `UnknownPlatform`."""
    for entity in known_platform(platform).entities:
        if entity.personal is not None and entity.key in entity.personal.subject:
            return entity
    raise NotFound(f"{platform} keeps no persons, so there is nobody to erase")


async def resolved(database: Database, platform: str, given: str) -> Subject:
    """The person with this id or name; of several people that had the name, the one who was observed with it last. Raises `BadInput` and `NotFound`.

    Where no row of the person is left, what was given is taken as an id, and as a name too unless it consists of digits.
    """
    check_text(given, "subject", longest=LONGEST, one_line=True)
    bare = given.strip().removeprefix("@")
    entity = person_of(platform)
    if len(bare) < SHORTEST:
        raise BadInput(f"an id or a name has {SHORTEST} to {LONGEST} characters", field="subject")
    asked = {"name": bare, "bare": bare.casefold()}
    async with database.statements() as alone:
        keys = await alone.rows(_named(entity), asked)
        if not keys:
            return Subject(
                platform=platform,
                kind=entity.kind,
                given=bare,
                ids=[bare],
                names=[] if bare.isdigit() else [bare.casefold()],
                known=False,
            )
        rows = await alone.rows(_identities(entity), {"key": keys[0]})
        columns = _columns(entity)
        ids, names = {keys[0]}, set[str]()
        for row in rows:
            for column, value in zip(columns, row, strict=True):
                if value:
                    (names if is_name(column) else ids).add(value)
        if entity.log == "profile_log":
            for column in filter(is_name, columns):
                about = {"platform": platform, "key": keys[0], "field": column, "most": MOST_NAMES}
                earlier = set(await alone.rows(EARLIER, about)) - names
                taken = await alone.rows(_held(entity, column), {"names": sorted(earlier), "key": keys[0]})
                names |= earlier - set(taken)
    return Subject(platform=platform, kind=entity.kind, given=bare, ids=sorted(ids), names=sorted(names), known=True)


def _columns(entity: Entity) -> Sequence[str]:
    assert entity.personal is not None
    return entity.personal.subject


@cache
def _named(entity: Entity) -> Statement[str]:
    """The key of the person with an id or a name. One look at an index for each. Parameters: name, bare (in small letters)."""
    ways = [f"{entity.key} = %(name)s", *(f"{name} IN (%(name)s, %(bare)s)" for name in entity.names)]
    found = " UNION ALL ".join(
        f'(SELECT {entity.key} AS key, {rank} AS rank, observed_at FROM "{entity.table}" WHERE {way} ORDER BY observed_at DESC LIMIT 1)'  # noqa: S608 - declared
        for rank, way in enumerate(ways)
    )
    text = f"SELECT key FROM ({found}) found ORDER BY rank, observed_at DESC LIMIT 1"  # noqa: S608 - as above
    return Composed(f"privacy/subjects.named.{entity.table}", text, str)


@cache
def _identities(entity: Entity) -> Statement[tuple[str | None, ...]]:
    """The ids and names in all rows of a person. Parameters: key."""
    columns = _columns(entity)
    text = f'SELECT DISTINCT {", ".join(columns)} FROM "{entity.table}" WHERE {entity.key} = %(key)s'  # noqa: S608 - as above
    return Composed(f"privacy/subjects.identities.{entity.table}", text, tuple, columns=columns, make=_row)


def _row(values: Sequence[object]) -> tuple[str | None, ...]:
    return tuple(None if value is None else str(value) for value in values)


@cache
def _held(entity: Entity, column: str) -> Statement[str]:
    """Which of these names somebody else has. Parameters: names (text[]), key."""
    text = f'SELECT DISTINCT {column} AS name FROM "{entity.table}" WHERE {column} = ANY(%(names)s) AND {entity.key} <> %(key)s'  # noqa: S608 - as above
    return Composed(f"privacy/subjects.held.{entity.table}", text, str)
