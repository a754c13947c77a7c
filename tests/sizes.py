"""A platform of things with one number, which the gate judges: three independent sources that may lie about it, be silent, or tell what truly changed."""

from itertools import count

import msgspec

from beat_actors.platforms.entities import Record, Refetch
from beat_actors.platforms.interface import (
    Answer,
    Call,
    Endpoint,
    Entity,
    FetchSpec,
    Flow,
    Limit,
    Parsed,
    Platform,
    Source,
)
from beat_actors.platforms.trust import EntityRules, Number, Trust
from tests.worlds import First, Look, answer

SMALL, LARGE = 1_000_000, 30_000_000
"""What is true of a thing: one of these. From one to the other is beyond any range."""
LIE = 0.02
"""A lie is this share of the truth, which is a fall by 98 %."""


class Sized(Record, frozen=True, kw_only=True):
    thing_id: str
    size: int


def _parse(body: bytes, spec: FetchSpec) -> Parsed:
    return Parsed([Sized(thing_id=spec.params["name"], size=msgspec.json.decode(body)["size"])])


class _First(First):
    limits = (Limit("hour", 100_000, 3600),)
    endpoints = {"look": Endpoint(First.endpoints["look"].build, _parse)}


class _Second(_First):
    name = "toy-second"


class _Third(_First):
    name = "toy-third"


SIZES = Platform(
    name="toy",
    sources={source.name: source for source in (_First(), _Second(), _Third())},
    chains={"look": ("toy-first", "toy-second", "toy-third")},
    flows={"look": Flow("look", Look, lambda params: FetchSpec("look", {"name": params.name}), lambda *_: ())},
    entities=(
        Entity(
            Sized,
            "sizes",
            "toy_size",
            "post_log",
            "thing_id",
            frozenset({"size"}),
            refetch=(Refetch("look", {"name": "thing_id"}),),
        ),
    ),
    trust=Trust(
        entities=(
            EntityRules(
                record=Sized,
                version=1,
                key="thing_id",
                numbers=(Number("size", usual=0.01, drop_from=20),),
                identity={"look": {"name": "thing_id"}},
            ),
        )
    ),
)
TABLE = """
CREATE TABLE toy_size (thing_id text, size bigint, changed_at timestamptz, dimensions_hash bigint, dimensions_at timestamptz, dimensions_fetch bigint,
    observed_fetch bigint, build_id integer, empty text[], hidden text[], older jsonb, account_id text NOT NULL, owner text NOT NULL, source text NOT NULL,
    parser_version integer NOT NULL, request_id bigint NOT NULL, observed_at timestamptz NOT NULL, trust bytea, trust_score smallint, trust_reasons jsonb,
    held_since timestamptz, PRIMARY KEY (thing_id, account_id, owner))
"""


class World:
    """What is true, and what the sources say of it. No two answers have the same number, so that a number tells which answer it comes from."""

    def __init__(self) -> None:
        self.truth: dict[str, int] = {}
        self.liars: set[str] = set()
        self.silent: set[str] = set()
        self._answers = count(1)

    def move(self, name: str) -> None:
        """Something true happens to a thing."""
        self.truth[name] = SMALL + LARGE - self.truth[name]

    def answer(self, source: Source, call: Call) -> Answer:
        if source.name in self.silent:
            return answer(500)
        size = self.truth[call.query["of"]]
        if source.name in self.liars:
            size = int(size * LIE)
        return answer(body=msgspec.json.encode({"size": size + next(self._answers)}))
