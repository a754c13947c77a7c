"""Accounts learn nothing of one another: whatever they, operators and the provider do, an account's view is the one of its shadow."""

import asyncio
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, Phase
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

import api.deadline
import api.limits
from beat_actors.broker import breaker, leasing, moves
from beat_actors.data import reading, refreshing
from beat_actors.pipeline import call
from tests.extent import cases
from tests.integration.access.bazaar import BAZAAR, HANDLES, MOODS, STORES
from tests.integration.access.installations import answered
from tests.integration.access.mutants import MUTANTS
from tests.integration.access.neighbours import ACCOUNTS, OWNED, PUBLIC, READABLE, Leak, Neighbours, installations
from tests.worlds import registered

pytestmark = pytest.mark.slow

STEPS = cases(75, 2000)
PLANNED = 50
COMPARED = 5
"""An account is looked at after so many steps, one after the other; all of them in the end."""

ACCOUNT = st.sampled_from(ACCOUNTS)
HANDLE = st.sampled_from(HANDLES)
STORE = st.sampled_from(STORES)
NTH = st.integers(0, 5)
KEY = st.sampled_from([None, None, "one", "two"])
WANTED = st.one_of(st.tuples(st.sampled_from(PUBLIC), HANDLE), st.tuples(st.sampled_from(OWNED), STORE))


@pytest.fixture(scope="module")
def ample() -> Iterator[None]:
    """Nothing that accounts share is used up, and no time has a hand in what they see."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(breaker, "AT_LEAST", 10**9)
        patch.setattr(call, "time_of", answered)
        patch.setattr(api.deadline.Deadline.__init__, "__defaults__", (60.0,))
        patch.setattr(moves, "BACKOFF", 7200.0)
        patch.setattr(moves, "BACKOFF_AT_MOST", 7200.0)
        patch.setattr(leasing, "USE_WITHIN", 900.0)
        patch.setattr(refreshing, "PAUSE", 7200.0)
        patch.setattr(api.limits, "WINDOW", 86_400)
        yield


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture(scope="module")
def neighbours(servers, template, runner, ample) -> Iterator[Neighbours]:
    with registered(BAZAAR), installations(servers, template) as neighbours:
        runner.run(neighbours.open())
        yield neighbours
        runner.run(neighbours.close())


async def tour(world: Neighbours) -> None:
    """Past every check that keeps accounts apart. What the three do is alike, so that each could be taken for another's."""
    await world.begin()
    await world.submit("acme", ("profile", "ada"))
    await world.submit("globex", ("profile", "bob"))
    await world.submit("initech", ("profile", "ada"))
    await world.submit("acme", ("profile", "cyd"), key="one")
    await world.submit("globex", ("card", "bob"), key="one")
    await world.submit("acme", ("card", "ada"))
    for account in ("acme", "globex"):
        await world.add_webhook(account, "*")
    await world.revoke("initech", "store-c", at_once=True)
    await world.submit("initech", ("discover", "cyd"))
    await world.submit("acme", ("orders", "store-a"))
    await world.submit("globex", ("orders", "store-b"), ("insights", "store-b"))
    await world.submit("globex", ("orders", "store-a"))
    await world.read("initech", "/v1/stores/bazaar/store-a")
    await world.compare()
    await world.round()
    await world.deliver()
    await world.compare()
    await world.submit("acme", ("profile", "bob"))
    await world.cancel("acme", 0)
    await world.retry_matching("globex", "CANCELLED")
    for account in ("acme", "initech"):
        await world.read(account, "/v1/profiles/bazaar/ada")
    await world.grant("globex", "store-a")
    await world.submit("globex", ("orders", "store-a"))
    await world.round()
    await world.compare()
    await world.submit("globex", ("insights", "store-a"))
    await world.submit("globex", ("own", "store-a"))
    await world.cancel("globex", 0)
    await world.revoke("globex", "store-a", at_once=True)
    await world.compare()
    await world.retry("globex", 0)
    await world.round()
    await world.deliver()
    await world.compare()


@pytest.mark.exhaustive
def test_the_tour_shows_nothing_of_others(neighbours: Neighbours, runner: asyncio.Runner) -> None:
    runner.run(tour(neighbours))


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", MUTANTS)
def test_each_check_makes_a_difference(neighbours: Neighbours, runner: asyncio.Runner, monkeypatch, name: str) -> None:
    """Without this one, the tour shows something of others."""
    for made in (reading._find, reading._list):
        made.cache_clear()
    MUTANTS[name](monkeypatch)
    try:
        with pytest.raises(Leak):
            runner.run(tour(neighbours))
    finally:
        monkeypatch.undo()
        for made in (reading._find, reading._list):
            made.cache_clear()


class IsolationMachine(RuleBasedStateMachine):
    runner: asyncio.Runner
    neighbours: Neighbours
    steps = 0

    def __init__(self) -> None:
        super().__init__()
        self.runner.run(self.neighbours.begin())
        self.since = None

    @rule(account=ACCOUNT, wanted=WANTED, key=KEY, force=st.booleans(), max_age=st.sampled_from([0, 86_400]))
    def submit(self, account, wanted, key, force, max_age):
        self.runner.run(
            self.neighbours.submit(account, wanted, key=key, force=force, max_age=max_age, tags={"of": account})
        )

    @rule(account=ACCOUNT, wanted=st.lists(WANTED, min_size=2, max_size=4), key=KEY)
    def submit_many(self, account, wanted, key):
        self.runner.run(self.neighbours.submit(account, *wanted, key=key))

    @rule(account=ACCOUNT, handle=HANDLE, key=KEY)
    def refresh(self, account, handle, key):
        self.runner.run(self.neighbours.refresh(account, handle, key=key))

    @rule(account=ACCOUNT, nth=NTH)
    def cancel(self, account, nth):
        self.runner.run(self.neighbours.cancel(account, nth))

    @rule(account=ACCOUNT, nth=NTH)
    def retry(self, account, nth):
        self.runner.run(self.neighbours.retry(account, nth))

    @rule(account=ACCOUNT, status=st.sampled_from(["FAILED", "CANCELLED"]))
    def retry_matching(self, account, status):
        self.runner.run(self.neighbours.retry_matching(account, status))

    @rule(account=ACCOUNT, path=st.sampled_from(READABLE), stale=st.booleans())
    def read(self, account, path, stale):
        self.runner.run(self.neighbours.read(account, path, stale=stale))

    @rule(account=ACCOUNT, events=st.sampled_from(["*", "beat.scrape_request.complete"]))
    def add_webhook(self, account, events):
        self.runner.run(self.neighbours.add_webhook(account, events))

    @rule(account=ACCOUNT, nth=NTH)
    def drop_webhook(self, account, nth):
        self.runner.run(self.neighbours.drop_webhook(account, nth))

    @rule(account=ACCOUNT, nth=NTH)
    def resend(self, account, nth):
        self.runner.run(self.neighbours.resend(account, nth))

    @rule(account=ACCOUNT, store=STORE)
    def grant(self, account, store):
        self.runner.run(self.neighbours.grant(account, store))

    @rule(account=ACCOUNT, store=STORE)
    def revoke(self, account, store):
        self.runner.run(self.neighbours.revoke(account, store))

    @rule(store=STORE, shared=st.booleans())
    def share(self, store, shared):
        self.runner.run(self.neighbours.share(store, shared=shared))

    @rule()
    def change_the_numbers(self):
        self.neighbours.provider.version += 1

    @rule(mood=st.sampled_from(["ok", *MOODS]))
    def change_the_mood(self, mood):
        self.neighbours.provider.mood = mood

    @rule()
    def take_a_turn(self):
        self.runner.run(self.neighbours.turn())

    @rule(stage=st.sampled_from(["retrieve", "ingest", "process"]))
    def work_at_a_stage(self, stage):
        self.runner.run(self.neighbours.stage(stage))

    @rule()
    def work(self):
        self.runner.run(self.neighbours.work())

    @rule()
    def work_again(self):
        self.runner.run(self.neighbours.work())

    @rule()
    def deliver(self):
        self.runner.run(self.neighbours.deliver())

    @rule()
    def stop_waiting(self):
        self.runner.run(self.neighbours.stop_waiting())

    @invariant()
    def accounts_see_what_they_would_see_alone(self):
        if self.since is None:  # before the first step
            self.since = 0
            return
        type(self).steps += 1
        self.since += 1
        if self.since % COMPARED == 0:
            self.runner.run(self.neighbours.compare(ACCOUNTS[self.since // COMPARED % len(ACCOUNTS)]))

    def teardown(self):
        self.runner.run(self.neighbours.compare())


@pytest.mark.scaled
@pytest.mark.timeout(1800)
def test_accounts_learn_nothing_of_one_another(neighbours: Neighbours, runner: asyncio.Runner) -> None:
    IsolationMachine.runner, IsolationMachine.neighbours, IsolationMachine.steps = runner, neighbours, 0
    run_state_machine_as_test(
        IsolationMachine,
        settings=hypothesis_settings(
            max_examples=-(-5 * STEPS // (4 * PLANNED)),  # some are shorter than planned
            stateful_step_count=PLANNED,
            deadline=None,
            derandomize=True,  # the same steps wherever it runs
            suppress_health_check=list(HealthCheck),
            phases=(Phase.explicit, Phase.reuse, Phase.generate),
        ),
    )
    assert IsolationMachine.steps >= STEPS


def test_ten_checks_and_more_are_taken_out_by_name() -> None:
    assert len(MUTANTS) >= 10
