"""A platform with all that keeps accounts apart: public things, things of an owner, tokens that may be shared, and calls that answer
several fetches. Its provider is a function of the call, of a version that rises, and of a mood: two installations that ask the same
in the same step get the same answer."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from beat_actors.errors import Malformed
from beat_actors.platforms.interface import (
    Answer,
    Call,
    Endpoint,
    Entity,
    FetchSpec,
    Flow,
    Limit,
    Listed,
    Many,
    OnDemand,
    Parsed,
    Platform,
    Record,
    Refetch,
    RequestLimit,
    Resume,
    Source,
)
from tests.worlds import ERRORS, answer

HANDLES = ("ada", "bob", "cyd")
STORES = ("store-a", "store-b", "store-c")
MOODS = ("ok", "missing", "down", "unreadable")
NOON = datetime(2030, 1, 31, 12, tzinfo=UTC)


class Profile(Record, frozen=True, kw_only=True):
    profile_id: str
    handle: str | None = None
    followers: int | None = None


class Post(Record, frozen=True, kw_only=True):
    shortcode: str
    profile_id: str | None = None
    likes: int | None = None


class Store(Record, frozen=True, kw_only=True):
    store: str
    title: str | None = None
    synced_to: datetime | None = None


class Order(Record, frozen=True, kw_only=True):
    order_id: str
    store: str | None = None
    total: int | None = None
    placed_at: datetime | None = None


class Insight(Record, frozen=True, kw_only=True):
    insight_id: str
    store: str | None = None
    reach: int | None = None


class OfHandle(msgspec.Struct, forbid_unknown_fields=True):
    handle: str


class OfStore(msgspec.Struct, forbid_unknown_fields=True):
    store: str


class Sync(msgspec.Struct, forbid_unknown_fields=True):
    store: str
    since: str | None = None
    until: str | None = None


def _call(spec: FetchSpec, secret: Mapping[str, str]) -> Call:
    return Call(f"/{spec.operation}", query={k: str(v) for k, v in spec.params.items()}, secret_query=secret)


def _orders_call(spec: FetchSpec, secret: Mapping[str, str]) -> Call:
    """Without its times, which differ from one installation to the other."""
    return Call("/orders", query={"store": spec.params["store"]}, secret_query=secret)


def _read(body: bytes) -> Any:
    try:
        return msgspec.json.decode(body)
    except msgspec.DecodeError as error:
        raise Malformed(str(error)) from None


def _profile(body: bytes, _spec: FetchSpec) -> Parsed:
    said = _read(body)
    posts = [Post(shortcode=f"{said['id']}-{n}", profile_id=said["id"], likes=said["n"] + n) for n in range(2)]
    return Parsed([Profile(profile_id=said["id"], handle=said["handle"], followers=said["n"]), *posts])


def _card(body: bytes, spec: FetchSpec) -> Parsed:
    handle = spec.params["handle"]
    found = _read(body).get(handle)
    return Parsed([] if found is None else [Profile(profile_id=f"p-{handle}", handle=handle, followers=found)])


def _orders(body: bytes, spec: FetchSpec) -> Parsed:
    store, n = spec.params["store"], _read(body)["n"]
    until = spec.params["until"]
    orders = [Order(order_id=f"{store}-{i}", store=store, total=n * i, placed_at=NOON) for i in range(1, 3)]
    synced = None if until is None else datetime.fromisoformat(until)
    return Parsed([Store(store=store, title=f"The {store}", synced_to=synced), *orders])


def _insights(body: bytes, spec: FetchSpec) -> Parsed:
    store = spec.params["store"]
    return Parsed([Insight(insight_id=f"{store}/reach", store=store, reach=_read(body)["n"])])


def _own(body: bytes, spec: FetchSpec) -> Parsed:
    """An owner's view of one of the public profiles: the same thing, with another number."""
    handle = HANDLES[STORES.index(spec.params["store"])]
    return Parsed([Profile(profile_id=f"p-{handle}", handle=handle, followers=1000 * _read(body)["n"])])


def _together(specs: Sequence[FetchSpec]) -> FetchSpec:
    return FetchSpec("card", {"handle": ",".join(spec.params["handle"] for spec in specs)})


class Open(Source):
    name = "bazaar-open"
    base_url = "http://open.invalid"
    secret_fields = ("key",)
    limits = (Limit("hour", 1_000_000, 3600),)
    errors = ERRORS
    endpoints = {
        "profile": Endpoint(_call, _profile),
        "card": Endpoint(_call, _card, many=Many(10, _together, lambda body, specs: [body] * len(specs))),
    }


class Spare(Open):
    name = "bazaar-spare"
    endpoints = {"profile": Endpoint(_call, _profile)}


class Owned(Open):
    name = "bazaar-owned"
    secret_fields = ("key", "store")
    endpoints = {
        "orders": Endpoint(_orders_call, _orders),
        "insights": Endpoint(_call, _insights),
        "own": Endpoint(_call, _own),
        "discover": Endpoint(_call, _profile),
    }

    def owner(self, secret: Mapping[str, str]) -> str | None:
        return secret["store"]


def _flow(name: str, params: type[msgspec.Struct], *, owned: bool = False, resume: Resume | None = None) -> Flow:
    def first(given: Any) -> FetchSpec:
        return FetchSpec(name, msgspec.to_builtins(given), owner=given.store if owned else None)

    return Flow(name, params, first, lambda *_: (), resume=resume)


SYNC = (Refetch("orders", {"store": "store"}),)
BAZAAR = Platform(
    name="bazaar",
    sources={source.name: source for source in (Open(), Spare(), Owned())},
    chains={
        "profile": ("bazaar-open", "bazaar-spare"),
        "card": ("bazaar-open",),
        **dict.fromkeys(("orders", "insights", "own", "discover"), ("bazaar-owned",)),
    },
    flows={
        flow.name: flow
        for flow in (
            _flow("profile", OfHandle),
            _flow("card", OfHandle),
            _flow("discover", OfHandle),
            _flow("orders", Sync, owned=True, resume=Resume("bazaar_store", "synced_to", "store", "since", "until")),
            _flow("insights", OfStore, owned=True),
            _flow("own", OfStore, owned=True),
        )
    },
    entities=(
        Entity(
            Profile, "profiles", "bazaar_profile", "profile_log", "profile_id", frozenset({"followers"}),
            names=("handle",), refetch=(Refetch("profile", {"handle": "handle"}),),
        ),
        Entity(Post, "posts", "bazaar_post", "post_log", "shortcode", frozenset({"likes"}), lists=(Listed("profiles", "profile_id"),)),
        Entity(Store, "stores", "bazaar_store", None, "store", frozenset(), refetch=SYNC),
        Entity(
            Order, "orders", "bazaar_order", None, "order_id", frozenset({"total"}),
            lists=(Listed("stores", "store", refetch=SYNC),), newest="placed_at",
        ),
        Entity(
            Insight, "insights", "bazaar_insight", "profile_log", "insight_id", frozenset({"reach"}), subject="store",
            lists=(Listed("stores", "store", refetch=(Refetch("insights", {"store": "store"}),)),),
        ),
    ),
    on_demand=OnDemand(
        "profile", "handle", (RequestLimit("bazaar_day", 100_000, 86_400), RequestLimit("bazaar_handle", 100_000, 86_400, per_subject=True)),
    ),
)  # fmt: skip
_KEPT = """account_id text NOT NULL, owner text NOT NULL, source text NOT NULL, parser_version integer NOT NULL, request_id bigint NOT NULL,
    observed_at timestamptz NOT NULL, changed_at timestamptz,
    dimensions_hash bigint, dimensions_at timestamptz, dimensions_fetch bigint,
    observed_fetch bigint, build_id integer, empty text[], hidden text[], older jsonb"""
TABLES = f"""
CREATE TABLE bazaar_profile (profile_id text, handle text, followers bigint, {_KEPT}, PRIMARY KEY (profile_id, account_id, owner));
CREATE TABLE bazaar_post (shortcode text, profile_id text, likes bigint, {_KEPT}, PRIMARY KEY (shortcode, account_id, owner));
CREATE TABLE bazaar_store (store text, title text, synced_to timestamptz, {_KEPT}, PRIMARY KEY (store, account_id, owner));
CREATE TABLE bazaar_order (order_id text, store text, total bigint, placed_at timestamptz, {_KEPT}, PRIMARY KEY (order_id, account_id, owner));
CREATE TABLE bazaar_insight (insight_id text, store text, reach bigint, {_KEPT}, PRIMARY KEY (insight_id, account_id, owner));
"""


class Provider:
    """`version` rises when its numbers change."""

    def __init__(self) -> None:
        self.version, self.mood = 1, "ok"

    def __call__(self, _source: Source, call: Call) -> Answer:
        if self.mood != "ok":
            return {"missing": answer(404), "down": answer(500), "unreadable": answer(body=b"<html>")}[self.mood]
        if "store" in call.query and call.query["store"] != call.secret_query["store"]:
            return answer(404)
        handles = call.query.get("handle", "")
        if call.path == "/card":
            return _said(dict.fromkeys(handles.split(","), self.version))
        return _said({"id": f"p-{handles}", "handle": handles, "n": self.version})


def _said(value: Any) -> Answer:
    return answer(body=msgspec.json.encode(value))
