"""Consumers may read events from a queue, be called by webhooks or ask for the feed of changes: all are given the same."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from beat_actors.access.scopes import Scope
from beat_actors.credentials.vault import Vault
from beat_actors.database import Database
from beat_actors.events.sink import Event
from beat_actors.platforms.instagram import InstagramAccount, InstagramPost
from beat_actors.settings import Settings
from beat_actors.webhooks.deliverer import Deliverer
from tests.amqp_stub import Stub, serving
from tests.integration.api.conftest import Keys, WakeUps, app_over, bearer, new_key, wake_ups  # noqa: F401 - fixtures
from tests.integration.api.promised import Promised
from tests.integration.events.bus import Queues, of_message, publishing
from tests.integration.events.world import sink_row, until
from tests.integration.webhooks.world import Receiver, add, pass_, receiving
from tests.observing import observe, rows

CHANGED = "beat.data.changed"

Read = Callable[[int], Awaitable[list[Event]]]


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"webhook_allow_private": True})


@asynccontextmanager
async def stub_bus(_request: pytest.FixtureRequest) -> AsyncIterator[tuple[str, Read]]:
    stub = Stub()

    async def read(count: int) -> list[Event]:
        await until(lambda: len(stub.session.messages) >= count)
        return [of_message(message) for message in stub.session.messages]

    async with serving(stub):
        yield stub.place().url, read


@asynccontextmanager
async def real_bus(request: pytest.FixtureRequest) -> AsyncIterator[tuple[str, Read]]:
    queues = Queues(request.getfixturevalue("rabbitmq"))
    name = await queues.declare()
    yield queues.url, lambda count: queues.read(name, count)


@pytest.mark.parametrize("bus", [stub_bus, real_bus], ids=["stub", "rabbitmq"])
async def test_s5_5_a_queue_a_webhook_and_the_feed_of_changes_give_the_same(
    bus: Callable[..., AsyncIterator[tuple[str, Read]]],
    request: pytest.FixtureRequest,
    settings: Settings,
    database: Database,
    new_key: Keys,  # noqa: F811
    wake_ups: WakeUps,  # noqa: F811
) -> None:
    """Of an account: in the queue with all others, called by its webhook, and listed in its feed."""
    deliverer = Deliverer(database, Vault(settings))
    async with receiving() as receiver, bus(request) as (url, read), publishing(settings, bus=url):
        await add(database, receiver.url, events=[CHANGED])
        for number in range(1, 6):
            account = InstagramAccount(profile_id=str(number), handle=f"creator_{number}", followers=number)
            await observe(database, "instagram", account, account_id="acme")
            post = InstagramPost(shortcode=f"SC{number}", post_id=str(number), profile_id=str(number), likes=1)
            await observe(database, "instagram", post, account_id="acme")
        written = [
            row[0]
            for row in await rows(database, f"SELECT event_id::text FROM event WHERE type = '{CHANGED}' ORDER BY id")
        ]
        queued = [event for event in await read(len(written)) if event.type == CHANGED]
        try:
            await until(lambda: _called(deliverer, receiver, len(written)))
        finally:
            await deliverer.close()
        key = await new_key(Scope.READ, account_id="acme")
        async with Promised(app_over(settings, wake_ups), headers=bearer(key)) as api:
            listed = (await api.simulate_get("/v1/changes")).json["changes"]
        await until(lambda: _has_all(database, len(written)))
    assert len(written) == 10
    assert [event.id for event in queued] == written
    called = {headers["webhook-id"]: json.loads(body) for headers, body in receiver.calls}
    assert sorted(called) == sorted(written)
    for event in queued:
        data = json.loads(event.data)
        assert (called[event.id]["type"], called[event.id]["data"]) == (event.type, data)
        found = [one for one in listed if one["request_id"] == data["request_id"]]
        assert [(one["platform"], one["kind"], one["id"]) for one in found] == [
            (data["platform"], data["kind"], key) for key in data["keys"]
        ]
    assert [one["request_id"] for one in listed] == [json.loads(event.data)["request_id"] for event in queued]


async def _called(deliverer: Deliverer, receiver: Receiver, count: int) -> bool:
    await pass_(deliverer)
    return len(receiver.calls) >= count


async def _has_all(database: Database, seq: int) -> bool:
    return (await sink_row(database)).seq >= seq
