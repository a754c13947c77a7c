"""False answers and true events of the simulated providers, read by the engine's own sources and judged by the gate: what is written is the truth."""

from collections.abc import AsyncIterator, Mapping

import pytest

from beat_actors.errors import Malformed
from beat_actors.platforms.instagram import InstagramAccount, InstagramPost
from beat_actors.platforms.instagram import platform as instagram
from beat_actors.platforms.interface import EntityRules, FetchSpec, Record
from beat_actors.simulator import SimulatorClient
from beat_actors.transport.http import ProviderClient
from beat_actors.trust.gate import Asked, Gate
from beat_actors.trust.judgement import WHOLE, Judgement, Ruling
from beat_actors.trust.memory import DAY, NOTHING, Memory
from beat_actors.trust.witnesses import Held, State, Witnesses, reported
from tests.integration.simulator.conftest import PEOPLE
from tests.integration.simulator.test_engine_reads_it import ask, person_at, read, spec_of
from tests.worlds import simulated_client

NOW = 1_790_000_000.0
NAME = "creator_000042"
FALSE = ("zero", "negative", "thousandfold", "thousandth", "digit", "swapped", "other", "int32", "subset")


def rules_of(record: type[Record]) -> EntityRules:
    return next(rules for rules in instagram.trust.entities if rules.record is record)


ACCOUNTS = Gate(rules_of(InstagramAccount), instagram.trust.since)
POSTS = Gate(rules_of(InstagramPost), instagram.trust.since)
WITNESSES = Witnesses(instagram.trust, ACCOUNTS.rules)
CHAIN = instagram.chains["profile_by_handle"]


@pytest.fixture
async def http(url: str, admin: SimulatorClient) -> AsyncIterator[ProviderClient]:
    await admin.set_limits(enabled=False)
    client = simulated_client(url)
    yield client
    await client.close()


async def profile(http: ProviderClient, source: str, spec: FetchSpec) -> InstagramAccount:
    found = (await read(http, instagram.sources[source], spec)).records[0]
    assert isinstance(found, InstagramAccount)
    return found


def known(record: InstagramAccount) -> Memory:
    """The memory after three days on which the profile did not change."""
    memory = NOTHING
    for day in (3, 2, 1):
        memory = ACCOUNTS.learn(memory, record, ACCOUNTS.accepted, at=NOW - day * DAY)
    return memory


def asked(spec: FetchSpec, known_key: str | None = None) -> Asked:
    return Asked(spec.operation, spec.params, known_key)


async def decided(http: ProviderClient, spec: FetchSpec, judgement: Judgement, held: Held) -> tuple[Held, int]:
    """The held record after its witnesses were asked, and how many calls that took."""
    calls = 0
    while held.state is State.ASKING:
        calls += 1
        told = reported(ACCOUNTS.rules, await profile(http, held.asks, spec), judgement, source=held.asks, at=NOW)
        held = WITNESSES.answered(held, told, CHAIN, NOW)
    return held, calls


@pytest.mark.parametrize("kind", FALSE)
@pytest.mark.parametrize("source", ["jotucker", "lama"])
async def test_s8_4_no_false_count_that_is_out_of_range_would_be_written(
    http: ProviderClient, admin: SimulatorClient, source: str, kind: str
) -> None:
    written, caught = list[str](), 0
    for index in range(40):
        spec = spec_of("profile_by_handle", person_at(index))
        true = await profile(http, source, spec)
        await admin.add_fault("corrupt", source, body=kind)
        _, answer = await ask(http, instagram.sources[source], spec)
        await admin.clear_faults()
        try:
            false = instagram.sources[source].endpoints[spec.operation].parse(answer.body, spec).records[0]
        except Malformed:
            caught += 1
            continue
        assert isinstance(false, InstagramAccount)
        judgement = ACCOUNTS.judge(false, known(true), at=NOW, asked=asked(spec))
        caught += not judgement.is_written
        if judgement.ruling is Ruling.REJECT or WHOLE in judgement.withheld:
            continue
        # A number that differs by less than a tenth can be true.
        told, truth = false.followers or 0, true.followers or 0
        if "followers" not in judgement.withheld and abs(told - truth) > 0.1 * truth:
            written.append(f"{false.handle}: {told} for {truth}")
    assert caught >= 38, kind
    assert len(written) <= 1, written
    if kind in ("zero", "negative", "thousandfold", "digit"):
        assert written == []


async def test_s8_4_a_fall_to_nearly_nothing_that_is_true_is_confirmed_by_one_call(
    http: ProviderClient, admin: SimulatorClient
) -> None:
    spec = spec_of("profile_by_handle", person_at(42))
    memory = known(await profile(http, "arraybobo", spec))
    await admin.let_happen("viral", NAME, size=0.002)
    fell = await profile(http, "arraybobo", spec)
    judgement = ACCOUNTS.judge(fell, memory, at=NOW, asked=asked(spec))
    assert [reason.rule for reason in judgement.reasons] == ["drop"]
    memory = ACCOUNTS.learn(memory, fell, judgement, at=NOW)
    said = reported(ACCOUNTS.rules, fell, judgement, source="arraybobo", at=NOW)
    held, calls = await decided(http, spec, judgement, WITNESSES.hold(said, memory, CHAIN[1:], NOW))
    assert (held.state, calls) == (State.ACCEPTED, 1)
    memory = ACCOUNTS.learn(memory.released(), fell, ACCOUNTS.accepted, at=said.at)
    truth: Mapping[str, int] = (await admin.person(NAME))["person"]
    assert memory.numbers["followers"].value == truth["followers"]


async def test_s8_4_a_fall_that_only_one_source_reports_is_rejected(
    http: ProviderClient, admin: SimulatorClient
) -> None:
    spec = spec_of("profile_by_handle", person_at(42))
    memory = known(await profile(http, "arraybobo", spec))
    await admin.add_fault("corrupt", "arraybobo", body="subset")
    false = await profile(http, "arraybobo", spec)
    judgement = ACCOUNTS.judge(false, memory, at=NOW, asked=asked(spec))
    said = reported(ACCOUNTS.rules, false, judgement, source="arraybobo", at=NOW)
    held, calls = await decided(http, spec, judgement, WITNESSES.hold(said, memory, CHAIN[1:], NOW))
    assert (held.state, calls) == (State.REJECTED, 1)


@pytest.mark.parametrize(("event", "rule"), [("unverify", "verified_lost"), ("recycle", "handle_moved")])
async def test_s8_4_what_truly_happened_is_held_and_confirmed(
    http: ProviderClient, admin: SimulatorClient, event: str, rule: str
) -> None:
    person = next(
        one for index in range(500) if (one := PEOPLE.person(index)) and one.is_verified and not one.is_private
    )
    spec = spec_of("profile_by_handle", person)
    before = await profile(http, "arraybobo", spec)
    await admin.let_happen(event, person.handle)
    now = await profile(http, "arraybobo", spec)
    memory = known(before) if now.profile_id == before.profile_id else NOTHING
    judgement = ACCOUNTS.judge(now, memory, at=NOW, asked=asked(spec, before.profile_id))
    assert [reason.rule for reason in judgement.reasons] == [rule]
    said = reported(ACCOUNTS.rules, now, judgement, source="arraybobo", at=NOW)
    held, calls = await decided(http, spec, judgement, WITNESSES.hold(said, memory, CHAIN[1:], NOW))
    assert (held.state, calls) == (State.ACCEPTED, 1)


async def test_a_new_handle_of_the_same_profile_is_written(http: ProviderClient, admin: SimulatorClient) -> None:
    spec = spec_of("profile_by_id", person_at(42))
    memory = known(await profile(http, "lama", spec))
    await admin.let_happen("rename", NAME, to="ada")
    judgement = ACCOUNTS.judge(await profile(http, "lama", spec), memory, at=NOW, asked=asked(spec))
    assert [(reason.rule, reason.ruling) for reason in judgement.reasons] == [("renamed", Ruling.NOTE)]


@pytest.mark.parametrize("source", ["arraybobo", "jotucker", "bestsolutions", "lama"])
async def test_s8_4_hidden_likes_are_unknown_or_held_whatever_the_source_says_of_them(
    http: ProviderClient, admin: SimulatorClient, source: str
) -> None:
    await admin.let_happen("hide_likes", NAME)
    found = (await read(http, instagram.sources[source], spec_of("posts_by_id", person_at(42)))).records
    posts = [record for record in found if isinstance(record, InstagramPost)]
    judged = POSTS.judge_answer(posts, [NOTHING] * len(posts), at=NOW)
    assert len(posts) >= 5
    assert [
        post.likes
        for post, judgement in zip(posts, judged, strict=True)
        if post.likes is not None and "likes" not in judgement.withheld
    ] == []
