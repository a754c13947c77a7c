"""A credential's life: checked, refreshed, dead, replaced; and all counts agree about every call that was made for its own sake."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import msgspec
import psycopg
import pytest

from beat_actors.broker.turn import turn
from beat_actors.credentials import health, upkeep
from beat_actors.credentials.alerts import MOST_OF_SOURCE, TROUBLED
from beat_actors.engine import Engine
from beat_actors.errors import BadInput, StorageUnavailable
from beat_actors.pipeline import upkeep as upkeeping
from beat_actors.pipeline.records import unpack
from beat_actors.pipeline.upkeep import look_after
from beat_actors.platforms.interface import (
    Answer,
    Call,
    Check,
    Endpoint,
    FetchSpec,
    Flow,
    Health,
    Limit,
    Outcome,
    Parsed,
    Platform,
    Refresh,
    Renewed,
    Secret,
    Source,
    Verdict,
)
from beat_actors.redaction import WITHHELD, Redactor
from beat_actors.requests import intake
from beat_actors.requests.explain import why
from beat_actors.requests.intake import NewRequest
from beat_actors.settings import Settings
from beat_actors.simulator.damage import NESTED
from beat_actors.transport.http import Exchange
from beat_actors.watch.credentials import credentials_in_trouble
from beat_actors.watch.rule import Watch
from tests.conftest import Servers
from tests.spellings import SPELLINGS
from tests.stages import retrieve
from tests.worlds import ERRORS, MovableClock, Unbounded, answer, engine_with, registered

WATCH = Watch("credential", credentials_in_trouble)
CANARY = "canary-4b1d"
GRANT = {"client": "app", "client_secret": f"{CANARY}-client", "grant": f"{CANARY}-grant"}
HOUR, DAY = 3600.0, 86_400.0


class Said(msgspec.Struct):
    scopes: list[str] | None = None
    expires_at: float | None = None
    data_access_expires_at: float | None = None


def read_check(answer: Answer) -> Health:
    verdict = Checked().classify(answer)
    if verdict.outcome is not Outcome.OK:
        return Health(verdict)
    said = msgspec.json.decode(answer.body, type=Said)
    ends = [
        None if at is None else datetime.fromtimestamp(at, UTC) for at in (said.expires_at, said.data_access_expires_at)
    ]
    return Health(verdict, None if said.scopes is None else frozenset(said.scopes), *ends)


def read_refresh(answer: Answer) -> Renewed:
    if answer.status == 400:
        return Renewed(Verdict(Outcome.CREDENTIAL_DEAD, "invalid_grant", "the grant was taken back"))
    verdict = Granted().classify(answer)
    fields = msgspec.json.decode(answer.body) if verdict.outcome is Outcome.OK else {}
    return Renewed(verdict, {"token": fields["token"]} if "token" in fields else {}, fields.get("seconds", 0.0))


def look(_spec: FetchSpec, secret: Secret) -> Call:
    return Call("/look", secret_query={"key": secret.get("token") or secret["key"]})


class Bare(Source):
    name = "bare"
    base_url = "https://bare.invalid"
    secret_fields = ("key",)
    limits = (Limit("second", 3, 1), Limit("day", 100, DAY))
    errors = ERRORS
    endpoints = {"look": Endpoint(look, lambda body, spec: Parsed(()))}


class Checked(Bare):
    name = "checked"
    check = Check(lambda secret: Call("/check", secret_query={"key": secret["key"]}), read_check)

    def owner(self, secret: Secret) -> str | None:
        return secret["key"].partition("@")[2] or None


class Granted(Bare):
    name = "granted"
    check = Check(lambda secret: Call("/check", secret_query={"key": secret.get("token") or secret["key"]}), read_check)
    refresh = Refresh(
        ("client", "client_secret", "grant"),
        lambda secret: Call(
            "/token", method="POST", form={"secret": secret["client_secret"], "grant": secret["grant"]}
        ),
        read_refresh,
    )


class Look(msgspec.Struct):
    name: str
    source: str


CARE = Platform(
    name="care",
    sources={source.name: source for source in (Bare(), Checked(), Granted())},
    chains={"look": ("checked", "granted", "bare")},
    flows={"look": Flow("look", Look, lambda params: FetchSpec("look", {"name": params.name}), lambda *_: ())},
    entities=(),
)


class Provider(Unbounded):
    """Stands where the HTTP client stands. `at` holds what a path answers, `before` what happens while it is asked."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str]] = []
        self.at: dict[str, Callable[[Source, Call], Answer]] = {}
        self.before: dict[str, Callable[[], Any]] = {}

    async def exchange(self, source: Source, call: Call) -> Exchange:
        self.calls.append((call.path, call.secret_query.get("key", "")))
        if call.path in self.before:
            await self.before.pop(call.path)()
        said = self.at.get(call.path, lambda *_: answer())(source, call)
        return Exchange(source.base_url + call.path, call.method, 1.0, answer=said)

    async def close(self) -> None:
        pass

    def made(self, path: str) -> int:
        return sum(1 for called, _ in self.calls if called == path)


@pytest.fixture
def clock(database_url: str) -> Iterator[MovableClock]:
    clock = MovableClock(database_url)
    yield clock
    clock.close()


@pytest.fixture
async def engine(settings: Settings) -> AsyncIterator[Engine]:
    engine = engine_with(settings, Provider())
    with registered(CARE):
        yield engine
    await engine.close()


async def rows(engine: Engine, sql: str, *params: Any) -> list[Any]:
    async with engine.database.transaction() as transaction:
        return await transaction.rows(sql, params)


async def upkept(engine: Engine) -> int:
    """The sweep, the worker, the turn; how many credentials were due."""
    due = [one for _, ids in (await upkeep.due(engine.database)).send for one in ids]
    await look_after(engine, due)
    await turn(engine.database, CARE)
    return len(due)


async def used(engine: Engine, count: int = 1) -> list[int]:
    """Ask for things, and retrieve what is leased; the turn after it is the caller's."""
    wanted = [NewRequest("care", "look", {"name": f"n{i}", "source": ""}) for i in range(count)]
    await intake.accept(engine.database, wanted)
    leased = (await turn(engine.database, CARE)).leased
    await retrieve(engine, leased)
    return leased


async def alerts(engine: Engine) -> dict[str, str]:
    """Those that are open once the sweep has looked: key -> cause."""
    await WATCH.run(engine.database)
    found = await rows(engine, "SELECT key, cause FROM alert WHERE resolved_at IS NULL ORDER BY id")
    return {row.key: row.cause for row in found}


async def kinds(engine: Engine, credential: int) -> list[str]:
    return [event.kind for event in reversed(await engine.credentials.history(credential))]


async def assert_the_books_agree(engine: Engine) -> None:
    (row,) = await rows(
        engine,
        "SELECT (SELECT count(*) FROM trace_log) AS traced, (SELECT count(*) FROM settlement) AS unsettled, "
        "(SELECT count(*) FROM credential_call) AS out, "
        "(SELECT coalesce(sum(calls), 0)::bigint FROM credential_usage WHERE limit_name = 'total') AS charged",
    )
    assert (row.traced, row.charged) == (len(engine.client.calls), len(engine.client.calls))
    assert (row.unsettled, row.out) == (0, 0)


# Checks


async def finished_well(engine: Engine, check: Any, **more: float) -> None:
    """The answer to a check that was out: the secret is good."""
    row = {
        "id": check.id,
        "generation": 1,
        "method": "GET",
        "url": "",
        "ms": 1,
        "outcome": "ok",
        "code": "",
        "detail": "",
    }
    async with engine.database.transaction() as transaction:
        await upkeep.finish(transaction, [row | more])


async def test_a_new_credential_is_checked_and_what_was_found_is_known(engine: Engine, clock: MovableClock) -> None:
    end = int(clock.now() + 90 * DAY)
    engine.client.at["/check"] = lambda *_: answer(
        body=msgspec.json.encode(
            {"scopes": ["read", "insights"], "expires_at": end, "data_access_expires_at": end - DAY}
        )
    )
    credential, _ = await engine.credentials.add("checked", {"key": CANARY})
    assert await upkept(engine) == 1
    found = await engine.credentials.info(credential)
    assert (found.check_outcome, found.scopes, found.state) == ("ok", ["insights", "read"], "ready")
    assert found.expires_at == datetime.fromtimestamp(end, UTC)
    assert found.data_access_expires_at == datetime.fromtimestamp(end - DAY, UTC)
    assert found.check_at is not None
    assert 0.9 * 6 * HOUR - 5 <= found.check_at.timestamp() - clock.now() <= 1.1 * 6 * HOUR
    assert await upkept(engine) == 0
    clock.advance(7 * HOUR)
    assert await upkept(engine) == 1
    assert engine.client.calls == [("/check", CANARY)] * 2
    (trace, _) = await rows(engine, "SELECT operation, outcome, fetch_id, request_id, url FROM trace_log")
    assert (trace.operation, trace.outcome, trace.fetch_id, trace.request_id) == ("credential_check", "ok", None, None)
    await assert_the_books_agree(engine)


async def test_what_cannot_be_checked_is_left_alone(engine: Engine) -> None:
    await engine.credentials.add("bare", {"key": "a"})
    await engine.credentials.add("granted", {"key": "a"})
    disabled, _ = await engine.credentials.add("checked", {"key": "a"})
    await engine.credentials.disable(disabled, reason="test")
    assert await upkept(engine) == 1  # `granted` with a plain key has a check, and nothing to refresh
    assert engine.client.calls == [("/check", "a")]


async def test_p4_a_check_waits_for_room_and_takes_it(engine: Engine, clock: MovableClock) -> None:
    credential, _ = await engine.credentials.add("checked", {"key": "a"})
    await used(engine, 3)  # three calls a second
    await look_after(engine, [credential])
    assert engine.client.made("/check") == 0
    await turn(engine.database, CARE)
    await look_after(engine, [credential])
    assert engine.client.made("/check") == 0
    clock.advance(31)
    seen = []

    async def lease_meanwhile() -> None:
        wanted = [NewRequest("care", "look", {"name": f"m{i}", "source": ""}) for i in range(5)]
        await intake.accept(engine.database, wanted)
        seen.extend((await turn(engine.database, CARE)).leased)

    engine.client.before["/check"] = lease_meanwhile
    assert (await upkeep.due(engine.database)).send == [("credentials", [credential])]
    await look_after(engine, [credential])
    assert engine.client.made("/check") == 1
    assert len(seen) == 2
    await turn(engine.database, CARE)


async def test_p2_a_message_that_comes_often_makes_one_call(engine: Engine) -> None:
    ids = [(await engine.credentials.add("checked", {"key": key}))[0] for key in "abc"]
    await asyncio.gather(*(look_after(engine, ids) for _ in range(6)))
    await look_after(engine, ids)
    await turn(engine.database, CARE)
    await look_after(engine, ids)
    assert sorted(engine.client.calls) == [("/check", key) for key in "abc"]
    await assert_the_books_agree(engine)


async def test_p6_a_check_whose_answer_breaks_its_reader_harms_no_other(engine: Engine) -> None:
    ids = [(await engine.credentials.add("checked", {"key": key}))[0] for key in "abc"]
    engine.client.at["/check"] = lambda source, call: answer(body=NESTED if call.secret_query["key"] == "b" else b"{}")
    await look_after(engine, ids)
    await turn(engine.database, CARE)
    assert [(await engine.credentials.info(one)).check_outcome for one in ids] == ["ok", "malformed", "ok"]
    assert [(await engine.credentials.info(one)).state for one in ids] == ["ready"] * 3
    assert sorted(row.outcome for row in await rows(engine, "SELECT outcome FROM trace_log")) == [
        "malformed",
        "ok",
        "ok",
    ]
    await assert_the_books_agree(engine)


async def test_p6_what_goes_wrong_beside_a_check_harms_no_other(engine: Engine, clock: MovableClock) -> None:
    ids = [(await engine.credentials.add("checked", {"key": key}))[0] for key in "abc"]

    def falls_over(_source: Source, call: Call) -> Answer:
        if call.secret_query["key"] == "b":
            raise RuntimeError("of nobody's making")
        return answer()

    engine.client.at["/check"] = falls_over
    await look_after(engine, ids)
    await turn(engine.database, CARE)
    assert [(await engine.credentials.info(one)).check_outcome for one in ids] == ["ok", "malformed", "ok"]
    clock.advance(120)
    await upkeep.due(engine.database)
    await turn(engine.database, CARE)
    outcomes = await rows(engine, "SELECT outcome FROM trace_log ORDER BY outcome")
    assert [row.outcome for row in outcomes] == ["malformed", "ok", "ok"]


async def test_s4_10_a_worker_that_dies_over_a_check_leaves_it_on_the_books(
    engine: Engine, clock: MovableClock
) -> None:
    credential, _ = await engine.credentials.add("checked", {"key": "a"})
    swept = []

    async def be_given_up() -> None:
        clock.advance(120)
        swept.append(await upkeep.due(engine.database))

    engine.client.before["/check"] = be_given_up
    engine.client.at["/check"] = lambda *_: answer(401)
    result = await look_after(engine, [credential])
    assert (swept[0].wake, result.zombies) == ({"care"}, 1)
    await turn(engine.database, CARE)
    assert [row.outcome for row in await rows(engine, "SELECT outcome FROM trace_log")] == ["unknown"]
    assert (await engine.credentials.info(credential)).state == "ready"  # what the zombie found, it cannot write
    await assert_the_books_agree(engine)
    engine.client.at["/check"] = lambda *_: answer()
    assert await upkept(engine) == 1
    assert (await engine.credentials.info(credential)).check_outcome == "ok"
    await assert_the_books_agree(engine)


async def test_a_credential_that_cools_down_is_not_checked_and_its_check_is_its_probe(
    engine: Engine, clock: MovableClock
) -> None:
    credential, _ = await engine.credentials.add("checked", {"key": "a"})
    engine.client.at["/check"] = lambda *_: answer(429, retry_after=700)
    assert await upkept(engine) == 1
    assert (await engine.credentials.info(credential)).state == "cooling"
    clock.advance(600)
    assert await upkept(engine) == 0
    clock.advance(300)
    assert (await engine.credentials.info(credential)).state == "probing"
    engine.client.at["/check"] = lambda *_: answer()
    leased = []

    async def nobody_else_goes() -> None:
        await used(engine)
        leased.extend(await rows(engine, "SELECT id FROM scrape_fetch WHERE stage = 'LEASED'"))

    engine.client.before["/check"] = nobody_else_goes
    assert await upkept(engine) == 1
    assert leased == []
    assert (await engine.credentials.info(credential)).state == "ready"
    assert await kinds(engine, credential) == ["added", "rate_limited", "recovered"]


async def test_s1_9_an_outage_costs_few_checks_and_blames_no_credential(engine: Engine, clock: MovableClock) -> None:
    ids = [(await engine.credentials.add("checked", {"key": f"k{i}"}))[0] for i in range(30)]
    engine.client.at["/check"] = lambda *_: answer(503)
    for _ in range(6):
        await upkept(engine)
        clock.advance(5)
    assert engine.client.made("/check") <= 2 * upkeep.AT_ONCE
    found = await engine.credentials.overview("checked")
    assert {credential.state for credential in found} == {"ready"}
    (breaker,) = await rows(engine, "SELECT operation, kind, open_until FROM breaker")
    assert (breaker.operation, breaker.kind) == ("credential_check", "upstream")
    engine.client.at["/check"] = lambda *_: answer()
    for _ in range(30):
        clock.advance(60)
        await upkept(engine)
    assert {c.check_outcome for c in await engine.credentials.overview("checked")} == {"ok"}
    assert len(ids) == 30
    await assert_the_books_agree(engine)


async def test_the_breaker_of_checks_is_probed_once_in_each_of_its_pauses(engine: Engine, clock: MovableClock) -> None:
    for i in range(6):
        await engine.credentials.add("checked", {"key": f"k{i}"})
    engine.client.at["/check"] = lambda *_: answer(503)

    async def made_by(seconds: int) -> int:
        """How many checks the sweeps of this time make."""
        before = engine.client.made("/check")
        for _ in range(seconds // 10):
            clock.advance(10)
            await upkept(engine)
        return engine.client.made("/check") - before

    assert await upkept(engine) == 6
    assert [await made_by(seconds) for seconds in (20, 20, 40, 20)] == [0, 1, 0, 1]  # pauses of 30 s and of 60 s
    engine.client.at["/check"] = lambda *_: answer()
    assert await made_by(90) == 1
    (breaker,) = await rows(engine, "SELECT open_until, trips FROM breaker")
    assert (breaker.open_until, breaker.trips) == (None, 0)
    await assert_the_books_agree(engine)


# Dead, and a new secret


async def test_a_dead_credential_is_out_at_once_with_one_alert_and_no_probes(
    engine: Engine, clock: MovableClock
) -> None:
    credential, _ = await engine.credentials.add("checked", {"key": "a"})
    await engine.credentials.add("checked", {"key": "b"})
    engine.client.at["/check"] = lambda _, call: answer(401 if call.secret_query["key"] == "a" else 200)
    await upkept(engine)
    assert (await engine.credentials.info(credential)).state == "dead"
    with pytest.raises(BadInput, match=f"beat credentials enable {credential}"):
        await engine.credentials.reset(credential, reason="it does not end death")
    for _ in range(4):
        clock.advance(7 * HOUR)
        await upkept(engine)
        await used(engine)
        await WATCH.run(engine.database)
    # No fetch is sent to it; it is looked at again, and that is no news while it is refused.
    assert [path for path, key in engine.client.calls if key == "a"] == ["/check"] * 5
    ((key, cause),) = (await alerts(engine)).items()
    assert key == f"credential:{credential}:dead"
    assert "credential" in cause
    assert len(await rows(engine, "SELECT id FROM alert")) == 1
    assert await kinds(engine, credential) == ["added", "dead"]


async def test_a_replaced_credential_lives_again_when_its_check_is_well(engine: Engine, clock: MovableClock) -> None:
    credential, _ = await engine.credentials.add("checked", {"key": "old@one"})
    other, _ = await engine.credentials.add("checked", {"key": "other"})
    await engine.credentials.disable(other, reason="out of the way")
    good = {"new@two"}
    engine.client.at["/check"] = lambda _, call: answer(200 if call.secret_query["key"] in good else 401)
    await upkept(engine)
    with pytest.raises(BadInput, match=f"credential {other} of checked has this secret already"):
        await engine.credentials.replace(credential, {"key": "other"}, reason="test")
    await engine.credentials.replace(credential, {"key": "bad"}, reason="first try")
    info = await engine.credentials.info(credential)
    assert (info.state, info.check_outcome) == ("dead", None)
    assert "new secret" in info.dead_reason
    assert await used(engine) == []
    await upkept(engine)
    assert (await engine.credentials.info(credential)).check_outcome == "credential_dead"
    assert await upkept(engine) == 0
    assert list(await alerts(engine)) == [f"credential:{credential}:dead"]
    clock.advance(2)
    await engine.credentials.replace(credential, {"key": "new@two"}, reason="second try")
    assert await upkept(engine) == 1
    info = await engine.credentials.info(credential)
    assert (info.state, info.owner, info.check_outcome) == ("ready", "two", "ok")
    assert await alerts(engine) == {}
    assert await kinds(engine, credential) == ["added", "dead", "replaced", "dead", "replaced", "revived"]
    assert (await rows(engine, "SELECT credential_id FROM scrape_fetch WHERE stage = 'LEASED'"))[
        0
    ].credential_id == credential
    # The new secret is what a duplicate is known by now, and the old one is free.
    assert await engine.credentials.add("checked", {"key": "new@two"}) == (credential, False)
    assert (await engine.credentials.add("checked", {"key": "old@one"}))[1]


async def test_without_a_check_a_new_secret_is_used_at_once(engine: Engine) -> None:
    credential, _ = await engine.credentials.add("bare", {"key": "old"})
    engine.client.at["/look"] = lambda _, call: answer(401 if call.secret_query["key"] == "old" else 200)
    await used(engine)
    await turn(engine.database, CARE)
    assert list(await alerts(engine)) == [f"credential:{credential}:dead"]
    await engine.credentials.replace(credential, {"key": "new"}, reason="the old one was revoked")
    assert (await engine.credentials.info(credential)).state == "ready"
    assert await alerts(engine) == {}
    leased = (await turn(engine.database, CARE)).leased
    await retrieve(engine, leased)
    assert engine.client.calls == [("/look", "old"), ("/look", "new")]


@pytest.mark.parametrize("path", ["/look", "/check"])
@pytest.mark.parametrize(
    "said", [answer(401), answer(403), answer(429, retry_after=9000)], ids=lambda said: str(said.status)
)
async def test_what_an_old_secret_brings_back_does_not_judge_the_new_one(
    engine: Engine, path: str, said: Answer
) -> None:
    credential, _ = await engine.credentials.add("checked", {"key": "old"})

    async def replace() -> None:
        await engine.credentials.replace(credential, {"key": "new"}, reason="in good time")

    engine.client.at[path] = lambda *_: said
    engine.client.before[path] = replace
    if path == "/look":
        await used(engine)
    else:
        await look_after(engine, [credential])
    await turn(engine.database, CARE)
    info = await engine.credentials.info(credential)
    assert (info.state, info.denied, info.checked_at) == ("ready", [], None)
    assert engine.client.calls == [(path, "old")]
    await assert_the_books_agree(engine)


async def test_s3_8_what_is_enabled_by_hand_is_checked_and_its_alert_resolved(engine: Engine) -> None:
    credential, _ = await engine.credentials.add("checked", {"key": "a"})
    engine.client.at["/check"] = lambda *_: answer(401)
    await upkept(engine)
    await engine.credentials.enable(credential, reason="the provider says that it was a mistake")
    assert await alerts(engine) == {}
    engine.client.at["/check"] = lambda *_: answer()
    assert await upkept(engine) == 1
    await rows(engine, "UPDATE credential SET dead_at = now() RETURNING id")  # and by raw SQL, both ways
    await WATCH.run(engine.database)
    assert len(await alerts(engine)) == 1
    await rows(engine, "UPDATE credential SET dead_at = NULL RETURNING id")
    await WATCH.run(engine.database)
    assert await alerts(engine) == {}


async def test_one_refusal_that_passes_is_not_for_ever(engine: Engine, clock: MovableClock) -> None:
    """A check a minute later revives the credential. The waiting fetch goes on, and the audit log has an entry."""
    credential, _ = await engine.credentials.add("checked", {"key": "a"})
    await upkept(engine)
    engine.client.at["/look"] = lambda *_: answer(401)
    await used(engine)
    await turn(engine.database, CARE)
    assert (await engine.credentials.info(credential)).state == "dead"
    assert await upkept(engine) == 0
    clock.advance(70)
    assert await upkept(engine) == 1
    assert (await engine.credentials.info(credential)).state == "ready"
    assert await kinds(engine, credential) == ["added", "dead", "revived"]
    assert await alerts(engine) == {}
    audited = "SELECT actor, target FROM audit_log WHERE action = 'credential.revive'"
    assert await rows(engine, audited) == [("beat", f"credential/{credential}")]
    assert len(await rows(engine, "SELECT FROM scrape_fetch WHERE stage = 'LEASED'")) == 1
    await rows(engine, "UPDATE credential SET check_at = clock_timestamp() + interval '1 day' RETURNING id")


async def test_what_a_credential_may_not_do_is_reported_and_tried_again(engine: Engine, clock: MovableClock) -> None:
    """Nobody tells Beat that the permission was granted: one call finds it out, and what waits goes on."""
    credential, _ = await engine.credentials.add("bare", {"key": "a"})
    await engine.credentials.add("bare", {"key": "b"})
    await rows(engine, "UPDATE credential SET enabled = (id = %s) RETURNING id", credential)
    engine.client.at["/look"] = lambda *_: answer(403, b'{"error": "not granted"}')
    await used(engine, 3)
    assert (await turn(engine.database, CARE)).leased == []
    info = await engine.credentials.info(credential)
    assert (info.state, info.denied) == ("ready", ["look"])
    assert 55 < info.denied_until.timestamp() - clock.now() < 75
    ((key, cause),) = (await alerts(engine)).items()
    assert (key, "denies look to credential" in cause) == (f"credential:{credential}:denied:look", True)
    async with engine.database.transaction() as transaction:
        said = await why(transaction, 1, operator=True)
    (blocker,) = [one for one in said.fetches[0].blockers if one.credential_id == credential]
    assert "denies look to it" in blocker.why
    assert "beat credentials enable" in blocker.why
    assert said.next_attempt_at == info.denied_until
    made = engine.client.made("/look")
    for waited in (70, 700):
        clock.advance(waited)
        leased = (await turn(engine.database, CARE)).leased
        assert len(leased) == 1
        await retrieve(engine, leased)
        await turn(engine.database, CARE)
        assert (await turn(engine.database, CARE)).leased == []
    assert engine.client.made("/look") == made + 2
    assert await kinds(engine, credential) == ["added", "denied"]
    engine.client.at["/look"] = lambda *_: answer()
    clock.advance(4500)
    await retrieve(engine, (await turn(engine.database, CARE)).leased)
    assert len((await turn(engine.database, CARE)).leased) == 2
    assert (await engine.credentials.info(credential)).denied == []
    assert await kinds(engine, credential) == ["added", "denied", "allowed"]
    assert await alerts(engine) == {}


async def test_a_credential_of_many_that_is_to_be_tried_again_is_found(engine: Engine, clock: MovableClock) -> None:
    """Whether it has an owner or serves all calls, and also where what it may not do was noted by the version before."""
    await rows(engine, MANY_DENIED)
    wanted = NewRequest("care", "look", {"name": "n", "source": ""})
    await intake.accept(engine.database, [wanted])
    assert (await turn(engine.database, CARE)).leased == []
    clock.advance(3601)
    assert len((await turn(engine.database, CARE)).leased) == 1


MANY_DENIED = """
INSERT INTO credential (platform, source, label, fingerprint, key_id, secret, denied, denials, denied_until)
SELECT 'care', 'bare', '', int4send(i), 'test', '', '{look}', jsonb_build_object('look', jsonb_build_object('looks', 1, 'said', '',
    'at', extract(epoch FROM clock_timestamp()) + CASE WHEN i = 777 THEN 3600 ELSE 86400 END)),
    clock_timestamp() + make_interval(secs => CASE WHEN i = 777 THEN 3600 ELSE 86400 END)
FROM generate_series(1, 1200) i RETURNING id
"""


async def test_the_dead_are_looked_at_less_and_less_often(engine: Engine, clock: MovableClock) -> None:
    await engine.credentials.add("checked", {"key": "a"})
    engine.client.at["/check"] = lambda *_: answer(401)
    waits = []
    for _ in range(8):
        assert await upkept(engine) == 1
        ((wait,),) = await rows(
            engine, "SELECT extract(epoch FROM check_at - clock_timestamp())::float8 FROM credential"
        )
        waits.append(wait)
        assert await upkept(engine) == 0
        clock.advance(wait + 1)
    for wait, least in zip(waits, [*health.LOOKS, *[health.LOOKS[-1]] * 2], strict=True):
        assert 0.9 * least < wait < 1.2 * least


async def test_a_grant_that_was_refused_for_a_while_is_refreshed_again(engine: Engine, clock: MovableClock) -> None:
    engine.client.at["/token"] = lambda *_: answer(400)
    credential, _ = await engine.credentials.add("granted", GRANT)
    await upkept(engine)
    assert (await engine.credentials.info(credential)).state == "dead"
    engine.client.at["/token"] = tokens()
    clock.advance(70)
    assert await upkept(engine) == 1
    assert (await engine.credentials.info(credential)).state == "dead"  # until the check, too, is well
    assert await upkept(engine) == 1
    assert (await engine.credentials.info(credential)).state == "ready"


async def test_a_check_from_before_the_death_does_not_revive_at_the_next_look_either(
    engine: Engine, clock: MovableClock
) -> None:
    credential, _ = await engine.credentials.add("checked", {"key": "a"})
    await upkept(engine)
    clock.advance(7 * HOUR)
    (late,) = await upkeep.lease_checks(engine.database, CARE, [credential])
    began = clock.now()
    engine.client.at["/look"] = lambda *_: answer(401)
    clock.advance(5)
    await used(engine)
    await turn(engine.database, CARE)
    await finished_well(engine, late, began=began)
    await turn(engine.database, CARE)
    assert (await engine.credentials.info(credential)).state == "dead"
    clock.advance(70)
    await upkept(engine)
    assert (await engine.credentials.info(credential)).state == "ready"


async def test_the_dead_are_not_asked_for_the_sake_of_an_ambiguous_answer(engine: Engine) -> None:
    credential, _ = await engine.credentials.add("checked", {"key": "a"})
    engine.client.at["/check"] = lambda *_: answer(401)
    await upkept(engine)
    assert await upkeep.lease_checks(engine.database, CARE, [credential]) == []
    assert await upkept(engine) == 0


async def test_a_check_that_was_out_when_the_credential_died_does_not_revive_it(engine: Engine) -> None:
    credential, _ = await engine.credentials.add("checked", {"key": "a"})
    (late,) = await upkeep.lease_checks(engine.database, CARE, [credential])
    await rows(engine, "UPDATE credential SET dead_at = clock_timestamp(), check_at = NULL RETURNING id")
    await finished_well(engine, late)
    await turn(engine.database, CARE)
    assert await rows(engine, "SELECT check_at, dead_at IS NOT NULL, check_outcome FROM credential") == [
        (None, True, "ok")
    ]
    assert await upkept(engine) == 0


# Ends that are known


async def test_an_end_that_comes_near_is_reported_a_week_before_and_looked_at(
    engine: Engine, clock: MovableClock
) -> None:
    end = clock.now() + 8 * DAY
    engine.client.at["/check"] = lambda *_: answer(body=msgspec.json.encode({"expires_at": end}))
    credential, _ = await engine.credentials.add("checked", {"key": "a"})
    await upkept(engine)
    await WATCH.run(engine.database)
    assert await alerts(engine) == {}
    clock.advance(1.1 * DAY)
    await WATCH.run(engine.database)
    ((key, cause),) = (await alerts(engine)).items()
    assert key == f"credential:{credential}:expiry"
    assert f"{datetime.fromtimestamp(end, UTC):%Y-%m-%d}" in cause
    clock.advance(6.9 * DAY - 3700)
    await upkept(engine)
    clock.advance(110)  # an hour before, and then after the end, whatever the interval
    assert await upkept(engine) == 1
    clock.advance(3600)
    engine.client.at["/check"] = lambda *_: answer(401)
    assert await upkept(engine) == 1
    assert list(await alerts(engine)) == [f"credential:{credential}:dead"]
    engine.client.at["/check"] = lambda *_: answer(body=msgspec.json.encode({"expires_at": end + 60 * DAY}))
    await engine.credentials.replace(credential, {"key": "b"}, reason="the next one")
    await upkept(engine)
    assert await alerts(engine) == {}


async def test_a_token_whose_access_to_data_is_over_is_dead(engine: Engine, clock: MovableClock) -> None:
    end = clock.now() - 60
    engine.client.at["/check"] = lambda *_: answer(body=msgspec.json.encode({"data_access_expires_at": end}))
    credential, _ = await engine.credentials.add("checked", {"key": "a"})
    await upkept(engine)
    info = await engine.credentials.info(credential)
    assert info.state == "dead"
    assert "log in again" in info.dead_reason


# Refresh


def tokens(seconds: float = HOUR) -> Callable[[Source, Call], Answer]:
    """Each refresh gives the next token."""
    given = iter(range(1, 1000))
    return lambda *_: answer(body=msgspec.json.encode({"token": f"{CANARY}-token-{next(given)}", "seconds": seconds}))


async def test_a_grant_is_refreshed_before_it_is_used_and_before_its_token_is_over(
    engine: Engine, clock: MovableClock
) -> None:
    engine.client.at["/token"] = tokens()
    credential, _ = await engine.credentials.add("granted", GRANT)
    assert (await engine.credentials.info(credential)).state == "refreshing"
    assert await used(engine) == []
    (lane,) = await rows(engine, "SELECT reasons FROM lane")
    assert "is being refreshed" in {reason["why"] for reason in lane.reasons if reason["source"] == "granted"}.pop()
    await upkept(engine)
    info = await engine.credentials.info(credential)
    assert info.state == "ready"
    assert 3500 < info.expires_at.timestamp() - clock.now() <= 3600
    await retrieve(engine, [row.id for row in await rows(engine, "SELECT id FROM scrape_fetch WHERE stage = 'LEASED'")])
    assert engine.client.calls[-1] == ("/look", f"{CANARY}-token-1")
    await upkept(engine)
    assert engine.client.calls[-1] == ("/check", f"{CANARY}-token-1")
    clock.advance(0.65 * HOUR)
    assert await upkept(engine) == 0
    clock.advance(0.2 * HOUR)
    assert await upkept(engine) == 1
    async with engine.database.transaction() as transaction:
        secret = (await engine.credentials.reveal(transaction, [credential]))[credential]
    assert dict(secret) == {**GRANT, "token": f"{CANARY}-token-2"}
    assert await engine.credentials.add("granted", GRANT) == (credential, False)
    await assert_the_books_agree(engine)


async def test_two_refreshers_make_one_call(engine: Engine) -> None:
    engine.client.at["/token"] = tokens()
    credential, _ = await engine.credentials.add("granted", GRANT)
    await asyncio.gather(*(look_after(engine, [credential]) for _ in range(5)))
    await turn(engine.database, CARE)
    await look_after(engine, [credential])
    assert engine.client.made("/token") == 1
    ((generation,),) = await rows(engine, "SELECT generation FROM credential")
    assert generation == 2


async def test_a_refresher_that_was_given_up_overwrites_nothing(engine: Engine, clock: MovableClock) -> None:
    engine.client.at["/token"] = tokens()
    credential, _ = await engine.credentials.add("granted", GRANT)

    async def be_given_up() -> None:
        clock.advance(120)
        await upkeep.due(engine.database)
        await turn(engine.database, CARE)
        await look_after(engine, [credential])  # token 1, though the zombie had asked before

    engine.client.before["/token"] = be_given_up
    result = await look_after(engine, [credential])
    assert result.zombies == 1
    async with engine.database.transaction() as transaction:
        secret = (await engine.credentials.reveal(transaction, [credential]))[credential]
    assert secret["token"] == f"{CANARY}-token-1"
    await turn(engine.database, CARE)
    await assert_the_books_agree(engine)


async def test_p7_a_token_that_came_late_is_kept(engine: Engine, clock: MovableClock) -> None:
    """The grant may be good for one refresh only."""
    engine.client.at["/token"] = tokens()
    credential, _ = await engine.credentials.add("granted", GRANT)

    async def be_given_up() -> None:
        clock.advance(120)
        await upkeep.due(engine.database)

    engine.client.before["/token"] = be_given_up
    assert (await look_after(engine, [credential])).zombies == 1
    await turn(engine.database, CARE)
    assert (await engine.credentials.info(credential)).state == "ready"
    assert [row.outcome for row in await rows(engine, "SELECT outcome FROM trace_log")] == ["unknown"]
    await assert_the_books_agree(engine)


class Server:
    """The test's database, which can be put out of reach: it ends its connections and takes no new ones."""

    def __init__(self, database_url: str) -> None:
        self._name = psycopg.conninfo.conninfo_to_dict(database_url)["dbname"]
        self._url = psycopg.conninfo.make_conninfo(database_url, dbname="postgres")

    async def stop(self) -> None:
        self._run(f"ALTER DATABASE {self._name} ALLOW_CONNECTIONS false")
        self._run(
            f"SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = '{self._name}' AND usename = 'beat_process'"
        )

    def start(self) -> None:
        self._run(f"ALTER DATABASE {self._name} ALLOW_CONNECTIONS true")

    def _run(self, sql: str) -> None:
        with psycopg.connect(self._url, autocommit=True) as admin:
            admin.execute(sql)


@pytest.mark.parametrize("ends", [False, True], ids=["process-goes-on", "process-ends"])
async def test_p7_a_new_secret_outlives_a_postgresql_that_is_away(
    engine: Engine, servers: Servers, database_url: str, monkeypatch: pytest.MonkeyPatch, ends: bool
) -> None:
    """Also where the process is to end meanwhile. The secrets that come beside one that takes its time do not wait for it."""
    if servers.pooler is not None:
        pytest.skip("PgBouncer keeps its clients waiting while the server refuses it, for two minutes")
    engine.client.at["/token"] = tokens()
    credential, _ = await engine.credentials.add("granted", GRANT)
    server, refused, real = Server(database_url), asyncio.Event(), upkeeping._finish

    async def finish(*args: Any) -> None:
        try:
            await real(*args)
        except StorageUnavailable:
            refused.set()
            raise

    monkeypatch.setattr(upkeeping, "_finish", finish)
    engine.client.before["/token"] = server.stop
    looking = asyncio.create_task(look_after(engine, [credential]))
    await asyncio.wait([looking, asyncio.create_task(refused.wait())], return_when=asyncio.FIRST_COMPLETED)
    if ends:
        looking.cancel()
        await asyncio.sleep(0)
    server.start()
    with contextlib.suppress(asyncio.CancelledError):
        await looking
    async with engine.database.transaction() as transaction:
        secret = (await engine.credentials.reveal(transaction, [credential]))[credential]
    assert secret["token"] == f"{CANARY}-token-1"
    await turn(engine.database, CARE)
    assert (await engine.credentials.info(credential)).state == "ready"
    await assert_the_books_agree(engine)


async def test_p7_a_new_secret_does_not_wait_for_the_calls_beside_it(engine: Engine) -> None:
    engine.client.at["/token"] = tokens()
    slow, _ = await engine.credentials.add("granted", GRANT)
    quick, _ = await engine.credentials.add("granted", {**GRANT, "grant": "another"})
    hangs = asyncio.Event()
    engine.client.before["/token"] = hangs.wait  # the first that is asked
    looking = asyncio.create_task(look_after(engine, [slow, quick]))
    generations: dict[int, int] = {}
    while len(set(generations.values())) < 2 and not looking.done():
        generations = dict(await rows(engine, "SELECT id, generation FROM credential"))
    assert sorted(generations.values()) == [1, 2]
    hangs.set()
    await looking


async def test_a_secret_that_a_person_gives_meanwhile_stands(engine: Engine) -> None:
    engine.client.at["/token"] = tokens()
    credential, _ = await engine.credentials.add("granted", GRANT)

    async def replace() -> None:
        await engine.credentials.replace(credential, {"key": "plain"}, reason="no more grants")

    engine.client.before["/token"] = replace
    await look_after(engine, [credential])
    await turn(engine.database, CARE)
    async with engine.database.transaction() as transaction:
        assert dict((await engine.credentials.reveal(transaction, [credential]))[credential]) == {"key": "plain"}
    info = await engine.credentials.info(credential)
    assert (info.state, info.refreshes) == ("ready", False)
    await upkept(engine)
    await assert_the_books_agree(engine)


async def test_a_grant_that_was_taken_back_is_dead_with_the_reason(engine: Engine, clock: MovableClock) -> None:
    engine.client.at["/token"] = lambda *_: answer(400)
    credential, _ = await engine.credentials.add("granted", GRANT)
    await upkept(engine)
    info = await engine.credentials.info(credential)
    assert (info.state, info.dead_reason) == ("dead", "400")
    assert list(await alerts(engine)) == [f"credential:{credential}:dead"]
    clock.advance(7 * HOUR)
    assert await upkept(engine) == 1
    assert (await engine.credentials.info(credential)).state == "dead"
    engine.client.at["/token"] = tokens()
    await engine.credentials.replace(credential, {**GRANT, "grant": "new"}, reason="the user logged in again")
    await upkept(engine)
    assert (await engine.credentials.info(credential)).state == "dead"  # until the check, too, is well
    await upkept(engine)
    assert (await engine.credentials.info(credential)).state == "ready"
    assert await alerts(engine) == {}


async def test_a_token_that_is_refused_is_refreshed_and_dead_if_that_does_not_help(
    engine: Engine, clock: MovableClock
) -> None:
    engine.client.at["/token"] = tokens()
    credential, _ = await engine.credentials.add("granted", GRANT)
    await upkept(engine)
    await upkept(engine)
    clock.advance(0.5 * HOUR)
    engine.client.at["/look"] = lambda *_: answer(401)
    await used(engine)
    await turn(engine.database, CARE)
    assert (await engine.credentials.info(credential)).state == "refreshing"
    assert await upkept(engine) == 1
    assert (await engine.credentials.info(credential)).state == "ready"
    leased = [row.id for row in await rows(engine, "SELECT id FROM scrape_fetch WHERE stage = 'LEASED'")]
    await retrieve(engine, leased)
    await turn(engine.database, CARE)
    assert (await engine.credentials.info(credential)).state == "dead"
    assert await kinds(engine, credential) == ["added", "refused", "dead"]
    await assert_the_books_agree(engine)


async def test_a_token_that_cannot_be_refreshed_is_not_used_and_reported(engine: Engine, clock: MovableClock) -> None:
    engine.client.at["/token"] = tokens()
    credential, _ = await engine.credentials.add("granted", GRANT)
    await upkept(engine)
    engine.client.at["/token"] = lambda *_: answer(503)
    for _ in range(16):
        clock.advance(300)
        await upkept(engine)
    assert (await engine.credentials.info(credential)).state == "refreshing"
    assert await used(engine) == []
    await WATCH.run(engine.database)
    assert list(await alerts(engine)) == [f"credential:{credential}:refresh"]
    engine.client.at["/token"] = tokens()
    for _ in range(3):
        clock.advance(301)
        await upkept(engine)
    await WATCH.run(engine.database)
    assert (await engine.credentials.info(credential)).state == "ready"
    assert await alerts(engine) == {}
    await assert_the_books_agree(engine)


@pytest.mark.parametrize("body", [b"{}", b'{"token": "x"}', b'{"token": "x", "seconds": 0}'])
async def test_a_refresh_that_gives_no_token_is_the_providers_fault(engine: Engine, body: bytes) -> None:
    engine.client.at["/token"] = lambda *_: answer(body=body)
    credential, _ = await engine.credentials.add("granted", GRANT)
    await upkept(engine)
    assert (await engine.credentials.info(credential)).state == "refreshing"
    assert [row.outcome for row in await rows(engine, "SELECT outcome FROM trace_log")] == ["malformed"]


@pytest.mark.parametrize(
    "secret", [{"client": "app"}, {**GRANT, "key": "x"}, {**GRANT, "grant": ""}, {**GRANT, "token": "x"}]
)
async def test_a_secret_has_one_of_the_sources_forms(engine: Engine, secret: Secret) -> None:
    with pytest.raises(BadInput, match="has the fields key; or client, client_secret, grant"):
        await engine.credentials.add("granted", secret)


def echo(status: int) -> Callable[[Source, Call], Answer]:
    """An answer that repeats what it was asked with, as error messages and links to the next page do."""
    return lambda _, call: answer(status, f"{dict(call.secret_query)} {dict(call.form or {})}".encode())


async def test_p8_no_secret_leaves_by_its_upkeep(engine: Engine, clock: MovableClock) -> None:
    engine.client.at["/token"] = tokens()
    credential, _ = await engine.credentials.add("granted", GRANT)
    await engine.credentials.add("checked", {"key": CANARY})
    for _ in range(3):
        await upkept(engine)
    clock.advance(0.9 * HOUR)
    engine.client.at |= {"/token": echo(429), "/check": echo(403)}
    await upkept(engine)
    clock.advance(7 * HOUR)
    engine.client.at |= {"/token": echo(401), "/check": echo(401)}
    await upkept(engine)
    await engine.credentials.replace(credential, {**GRANT, "grant": f"{CANARY}-2"}, reason="test")
    told = f"{await engine.credentials.overview()} {await engine.credentials.history(credential)}"
    for table in ("credential", "credential_event", "credential_call", "settlement", "trace_log", "alert", "lane"):
        told += str(await rows(engine, f"SELECT * FROM {table}"))
    assert "credential_refresh" in told
    assert WITHHELD in told
    assert CANARY not in told


async def test_p8_an_answer_that_repeats_the_secret_is_kept_without_it(engine: Engine) -> None:
    await engine.credentials.add("checked", {"key": f"{CANARY}/with|signs"})

    def linked(_source: Source, call: Call) -> Answer:
        spellings = [call.secret_query["key"], quote(call.secret_query["key"], safe="")]
        return answer(body=msgspec.json.encode({"next": spellings}).replace(b"/", rb"\/"))

    engine.client.at["/look"] = linked
    await used(engine)
    (row,) = await rows(engine, "SELECT body FROM raw_payload")
    body = unpack(bytes(row.body))
    assert CANARY.encode() not in body
    assert body.count(b"***") == 2


@pytest.mark.parametrize("status", [200, 400, 500])
async def test_p8_an_answer_that_spells_the_secret_leaves_it_nowhere(engine: Engine, status: int) -> None:
    keys = [f"{n:02}Xq/7Zp+Kd9w=Rt4Lm2Vb8Ys6Hj{n:02}" for n in range(len(SPELLINGS))]
    for key in keys:
        await engine.credentials.add("checked", {"key": key})
    ways = iter(SPELLINGS.values())

    def spelt(_source: Source, call: Call) -> Answer:
        said = next(ways)(call.secret_query["key"])
        return answer(status, msgspec.json.encode({"error": said, "raw": 1}) + said.encode())

    engine.client.at["/look"] = spelt
    await used(engine, len(keys))
    await turn(engine.database, CARE)
    redactor = Redactor(keys)
    (made,) = await rows(engine, "SELECT count(*) AS n FROM trace_log")
    assert made.n >= len(keys) // 2
    for table in (
        "credential",
        "credential_event",
        "trace_log",
        "alert",
        "lane",
        "scrape_fetch",
        "scrape_request_log",
        "event",
    ):
        for row in await rows(engine, f"SELECT to_jsonb(t) - 'secret' - 'fingerprint' AS row FROM {table} t"):
            assert not redactor._found(msgspec.json.encode(row.row)), (table, row)
    for row in await rows(engine, "SELECT body FROM raw_payload"):
        assert not redactor._found(unpack(bytes(row.body)))


async def test_refreshes_of_many_credentials_reach_each_of_them(engine: Engine, clock: MovableClock) -> None:
    """A sweep leases as many as a source has room for, those that have been due for longest first."""
    engine.client.at["/token"] = lambda _, call: answer(body=b'{"token": "t", "seconds": 3600}')
    first, *_ = ids = [
        (await engine.credentials.add("granted", GRANT | {"grant": f"grant-{n}"}))[0] for n in range(3 * upkeep.AT_ONCE)
    ]
    for _ in range(3):
        await upkept(engine)
        clock.advance(1)
    assert [row.id for row in await rows(engine, "SELECT id FROM credential WHERE refreshed_at IS NULL")] == []
    # Of those that are due, the last id has been for longest.
    await rows(engine, "UPDATE credential SET refresh_at = clock_timestamp() - make_interval(secs => id) RETURNING id")
    (send,) = (await upkeep.due(engine.database)).send
    assert send == ("credentials", sorted(ids, reverse=True)[: upkeep.AT_ONCE])
    assert first not in send[1]


async def test_a_turn_waits_for_no_alert(engine: Engine) -> None:
    """Alerts are the sweep's work, so their cost is none of the turn's."""
    credential, _ = await engine.credentials.add("bare", {"key": "old"})
    engine.client.at["/look"] = lambda *_: answer(401)
    await used(engine)
    await turn(engine.database, CARE)
    assert await rows(engine, "SELECT key FROM alert") == []
    assert list(await alerts(engine)) == [f"credential:{credential}:dead"]


async def test_watching_many_credentials_reads_each_of_them_a_few_times(engine: Engine, database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as admin:
        admin.execute("""
        INSERT INTO credential (platform, source, label, fingerprint, key_id, secret, dead_at)
        SELECT 'care', 'bare', '', convert_to(n::text, 'UTF8'), 'k', '', CASE WHEN n % 4 = 0 THEN clock_timestamp() END FROM generate_series(1, 4000) n
        """)
        admin.execute("VACUUM ANALYZE credential")
        values = {"platform": "care", "days": 7, "most": MOST_OF_SOURCE}
        ((document,),) = admin.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {TROUBLED.text}", values).fetchall()
    nodes = [document[0]["Plan"]]
    for node in nodes:
        nodes += node.get("Plans", [])
    assert sum(node["Actual Rows"] * node["Actual Loops"] for node in nodes) < 10 * 4000
    assert len(await alerts(engine)) == MOST_OF_SOURCE
