"""A platform whose requests take several fetches: a first page that leads to lists of pages, and a parser that can be broken and fixed."""

import msgspec

from beat_actors.errors import Malformed
from beat_actors.platforms.interface import Endpoint, Entity, FetchSpec, Flow, Parsed, Platform, Record
from tests.worlds import First, Second, Third, answer

TIME_LIMIT = 20.0
"""Seconds; shorter than a lease, so that work can be past it while its lease still runs."""
A_PAGE = 2
"""Things on each page."""


class Thing(Record, frozen=True, kw_only=True):
    thing_id: str
    size: int


class Walk(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """A first page that leads to `branches` lists of `pages` pages each."""

    name: str
    branches: int = 1
    pages: int = 1

    @property
    def items(self) -> int:
        return A_PAGE * (1 + self.branches * self.pages)


class Reader:
    """The parser of all sources. What is no JSON it cannot read, until it is fixed."""

    def __init__(self) -> None:
        self.fixed = False

    def __call__(self, body: bytes, spec: FetchSpec) -> Parsed:
        if not self.fixed and body.startswith(b"<"):
            raise Malformed("this is no JSON")
        name, page = spec.params["name"], spec.page
        things = [Thing(thing_id=f"{name}-{page}-{n}", size=n) for n in range(A_PAGE)]
        return Parsed(things, next_cursor=f"c{page + 1}")


def _next(spec: FetchSpec, params, parsed: Parsed, _items: int):
    if spec.params["name"] == params["name"]:
        return [FetchSpec("look", {"name": f"{params['name']}.{branch}"}) for branch in range(params["branches"])]
    if spec.page >= params["pages"]:
        return ()
    return (FetchSpec("look", spec.params, cursor=parsed.next_cursor, page=spec.page + 1),)


READER = Reader()


class _First(First):
    endpoints = {"look": Endpoint(First.endpoints["look"].build, READER)}


class _Second(Second):
    endpoints = _First.endpoints


class _Third(Third):
    endpoints = _First.endpoints


WALK = Platform(
    name="toy",
    sources={source.name: source for source in (_First(), _Second(), _Third())},
    chains={"look": ("toy-first", "toy-second", "toy-third")},
    flows={
        "walk": Flow(
            "walk", Walk, lambda params: FetchSpec("look", {"name": params.name}), _next, time_limit=TIME_LIMIT
        )
    },
    entities=(Entity(Thing, "things", "toy_thing", "post_log", "thing_id", frozenset({"size"})),),
)
TABLE = """
CREATE TABLE toy_thing (thing_id text, size bigint, changed_at timestamptz, dimensions_hash bigint, dimensions_at timestamptz, dimensions_fetch bigint,
    observed_fetch bigint, build_id integer, empty text[], hidden text[], older jsonb, account_id text NOT NULL, owner text NOT NULL, source text NOT NULL,
    parser_version integer NOT NULL, request_id bigint NOT NULL, observed_at timestamptz NOT NULL, PRIMARY KEY (thing_id, account_id, owner))
"""
ANSWERS = {
    "ok": answer(),
    "rate_limited": answer(429, retry_after=20),
    "missing": answer(404),
    "down": answer(500),
    "unreadable": answer(body=b"<html>"),
}
MIXED = ["ok"] * 12 + ["rate_limited", "missing", "down", "unreadable"]
