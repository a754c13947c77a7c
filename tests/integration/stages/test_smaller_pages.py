"""A source that asks for less gets a smaller page, at once and for a while, and that is no failure of anybody's."""

import json
import re
from collections.abc import AsyncIterator
from typing import Any

import pytest

from beat_actors.broker.turn import turn
from beat_actors.engine import Engine
from beat_actors.pipeline.ingest import ingest
from beat_actors.pipeline.process import process
from beat_actors.platforms.interface import Answer, Call, FetchSpec, Outcome, Source
from beat_actors.platforms.registry import platforms
from beat_actors.requests import intake
from beat_actors.requests.intake import NewRequest
from beat_actors.settings import Settings
from tests.conformance.recordings import of_platforms
from tests.stages import retrieve
from tests.worlds import ScriptedClient, answer, engine_with

OWNER = "17841400000000001"
ASKS_FOR_LESS = (
    b'{"error":{"message":"Please reduce the amount of data you\'re asking for, then retry your request","code":1}}'
)
PLATFORM = platforms()["instagram"]
ENDPOINTS = [
    (platform, source, name)
    for platform in platforms().values()
    for source in platform.sources.values()
    for name in source.endpoints
]
SIZES = re.compile(r"\b(limit|max_amount|batch_size|count|maxResults)\b|\.limit\(")


def media(first: int, many: int, cursor: str | None) -> Answer:
    data = [
        {"id": str(18 * 10**15 + n), "shortcode": f"DA{n:09}", "permalink": f"https://www.instagram.com/p/DA{n:09}/", "media_type": "IMAGE"}
        for n in range(first, first + many)
    ]  # fmt: skip
    paging = {"cursors": {"after": cursor}, "next": "https://graph.facebook.com/x"} if cursor else {}
    return answer(200, json.dumps({"data": data, "paging": paging}).encode())


def script(_source: Source, call: Call) -> Answer:
    limit = int(call.query["limit"])
    if limit > 25:
        return answer(500, ASKS_FOR_LESS)
    return media(limit, limit, None) if "after" in call.query else media(0, limit, "A")


class Client(ScriptedClient):
    """Remembers the sizes of the pages that were asked for."""

    def __init__(self) -> None:
        super().__init__(script)
        self.sizes: list[int] = []

    async def exchange(self, source: Source, call: Call) -> Any:
        self.sizes.append(int(call.query["limit"]))
        return await super().exchange(source, call)


@pytest.fixture
async def engine(settings: Settings) -> AsyncIterator[Engine]:
    engine = engine_with(settings, Client())
    await engine.credentials.add("graphapi", {"token": "t", "user_id": OWNER})
    yield engine
    await engine.close()


async def rows(engine: Engine, sql: str, *params: Any) -> list[Any]:
    async with engine.database.transaction() as transaction:
        return [tuple(row) for row in await transaction.rows(sql, params)]


async def posts(engine: Engine, limit: int) -> list[int]:
    """A listing of the owner's posts to its end: the sizes of the pages that were asked for."""
    wanted = NewRequest("instagram", "refresh_own_posts", {"user_id": OWNER, "limit": limit})
    before = len(engine.client.sizes)
    (accepted,) = await intake.accept(engine.database, [wanted])
    for _ in range(6):
        retrieved = await retrieve(engine, (await turn(engine.database, PLATFORM)).leased)
        await process(engine, (await ingest(engine, retrieved.next)).next)
    ended = await rows(engine, "SELECT status FROM scrape_request_log WHERE id = %s", accepted.id)
    assert ended == [("COMPLETE",)]
    return list(engine.client.sizes[before:])


async def test_a_source_that_asks_for_less_gets_a_smaller_page_for_a_while(engine: Engine) -> None:
    assert await posts(engine, 50) == [50, 25, 25]
    assert await rows(engine, "SELECT count(*) FROM instagram_post") == [(50,)]
    # It is no failure: no credential cools down, and no breaker counts it.
    assert await rows(engine, "SELECT 1 FROM breaker WHERE failures > 0 UNION SELECT 1 FROM owner_breaker") == []
    assert await rows(engine, "SELECT disabled_till FROM credential") == [(None,)]
    assert await rows(engine, "SELECT count(*) FROM trace_log WHERE outcome = 'too_much'") == [(1,)]
    assert await posts(engine, 51) == [25, 25]
    await rows(engine, "UPDATE smaller_page SET until = now() - interval '1 second' RETURNING 1")
    assert await posts(engine, 52) == [50, 25, 25]


async def test_a_page_of_one_that_is_still_too_much_is_refused_and_ends(engine: Engine) -> None:
    engine.client.script = lambda _source, _call: answer(500, ASKS_FOR_LESS)
    wanted = NewRequest("instagram", "refresh_own_posts", {"user_id": OWNER, "limit": 50})
    (accepted,) = await intake.accept(engine.database, [wanted])
    for _ in range(12):
        await rows(engine, "UPDATE scrape_fetch SET not_before = NULL RETURNING 1")
        await retrieve(engine, (await turn(engine.database, PLATFORM)).leased)
    assert engine.client.sizes == [50, 25, 12, 6, 3, 1, 1]
    ended = await rows(
        engine, "SELECT status, data->'error'->>'code' FROM scrape_request_log WHERE id = %s", accepted.id
    )
    assert ended == [("FAILED", "refused")]


@pytest.mark.parametrize(("platform", "source", "operation"), ENDPOINTS, ids=lambda each: getattr(each, "name", each))
def test_every_call_that_names_a_number_of_items_can_ask_for_less(platform: Any, source: Any, operation: str) -> None:
    table = dict(of_platforms())[platform.name]
    endpoint = source.endpoints[operation]
    if endpoint.many is not None or (operation.startswith("profile_by_") and source.name == "ytapi"):
        return  # the number is that of the ids
    secret = dict.fromkeys(source.secret_fields, "1") | {"shop": "one-store.myshopify.com"}
    whole, half = (
        endpoint.build(FetchSpec(operation, table.PARAMS, source=source.name, halvings=n), secret) for n in (0, 1)
    )
    said = str(dict(whole.query))
    assert (SIZES.search(said) is not None) == (endpoint.page is not None)
    if endpoint.page is not None:
        assert str(endpoint.page) in said
        assert str(dict(half.query)) == said.replace(str(endpoint.page), str(endpoint.page // 2))


@pytest.mark.parametrize("code", [1, 2, 100, None])
def test_the_graph_apis_words_ask_for_less_whatever_the_code(code: int | None) -> None:
    body = json.dumps({"error": {"message": "Please reduce the amount of data", "code": code}}).encode()
    assert PLATFORM.sources["graphapi"].classify(Answer(500, {}, body)).outcome is Outcome.TOO_MUCH
