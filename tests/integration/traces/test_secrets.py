"""What a trace never holds: handles, parameters, keys, URLs, names of customers, and words of providers."""

import pytest
from pydantic import SecretStr

from beat_actors.traces.collector import CollectorUnavailable
from beat_actors.traces.spans import OWN, STANDARD
from tests.integration.traces.conftest import over
from tests.worlds import answer

HANDLE, ACCOUNT, TAG, KEY, WORDS = (
    "canary.handle.7f3a",
    "canary-account-91",
    "canary-tag-55",
    "canary-idem-key-12",
    "canary words of a provider",
)


@pytest.mark.parametrize("status", [200, 400, 401, 500])
async def test_no_canary_reaches_the_collector(world, status: int) -> None:
    body = b'{"error": "%s"}' % WORDS.encode()
    world.client.script = lambda source, call: answer(status, body if status != 200 else b"{}")
    asked = {"account_id": ACCOUNT, "tags": {TAG: TAG}, "idempotency_key": KEY, "idempotency_owner": "canary-owner"}
    await world.ask(HANDLE, **asked)
    await world.run()
    if status in (401, 500):  # it waits
        await world.cancel(1)
    rest = "host.invalid/" + HANDLE + "?key=secret-key-of-toy-first"
    await world.rows(
        "UPDATE trace_log SET url = 'https://canary-' || %s, code = %s, detail = %s RETURNING at", rest, WORDS, WORDS
    )
    await world.export()
    assert world.collector.bodies
    for body in world.collector.bodies:
        for canary in (HANDLE, ACCOUNT, TAG, KEY, WORDS, "canary", "secret-key-of", "key="):
            assert canary.encode() not in body
    for one in world.collector.got:
        assert set(one.attributes) <= {*STANDARD, *OWN}
        assert set(one.resource) == {"service.name", "service.version"}


async def test_the_headers_reach_the_collector_and_no_log(world, capsys: pytest.CaptureFixture[str]) -> None:
    await world.ask()
    await world.run()
    keyed = over(world.engine.settings, otlp_headers=SecretStr("api-key=canary%20key"))
    try:
        await world.export(keyed)
        assert world.collector.calls[-1]["api-key"] == "canary key"
        await world.collector.stop()
        await world.ask("another")
        await world.run()
        with pytest.raises(CollectorUnavailable) as refusal:
            await world.export(keyed)
    finally:
        await keyed.close()
    said = capsys.readouterr()
    assert "canary" not in f"{refusal.value}{said.out}{said.err}{keyed.settings!r}"
