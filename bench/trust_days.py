"""Days of `bench.trust`: refreshes that arrive one after another, and second sources that answer some seconds later."""

import heapq
import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import msgspec

from beat_actors.platforms.instagram.entities import InstagramAccount
from beat_actors.platforms.interface import Trust
from beat_actors.trust.breaker import DataBreaker
from beat_actors.trust.cohort import Cause, Cohort
from beat_actors.trust.gate import Gate
from beat_actors.trust.judgement import Judgement, Ruling
from beat_actors.trust.memory import DAY, Memory
from beat_actors.trust.witnesses import Held, State, Witnesses, reported
from bench.trust_world import CLEANED, NOW, Profile, World, account, change, shown

PER_SECOND = 20.0
"""Refreshes of the source. A purge of 10,000 profiles is over in some eight minutes."""
CHAIN = ("arraybobo", "jotucker", "lama", "bestsolutions")
SOURCE = CHAIN[0]
DOWN = 0.02
"""The share of calls to a second source without an answer."""


class Deploy(NamedTuple):
    """A parser that turns the true followers into others."""

    name: str
    breaks: Callable[[Profile, int], int]


class Day(NamedTuple):
    name: str
    refreshes: int
    purge: bool = False
    deploy: Deploy | None = None


@dataclass(slots=True)
class Result:
    """`noticed_after`, `opened_after`: records of the broken parser until the cohort, or the breaker, says so; 0 for never."""

    name: str
    refreshes: int = 0
    held: int = 0
    calls: int = 0
    by_person: int = 0
    wrong_served: int = 0
    noticed_after: int = 0
    opened_after: int = 0
    took: list[float] = field(default_factory=list)

    def decided_within(self, share: float) -> float:
        """Seconds within which this share of the held records was decided."""
        times = sorted(self.took) + [math.inf] * self.by_person
        return times[min(len(times) - 1, math.ceil(share * len(times)) - 1)] if times else 0.0

    def slowest(self) -> float:
        return max(self.took, default=0.0)

    def line(self) -> str:
        per = self.held * 10_000 / self.refreshes
        return (
            f"{self.name:34} {self.refreshes:9} {self.held:6} {per:10.1f} {self.calls:6} {100 * self.calls / self.refreshes:6.2f}% "
            f"{self.by_person:11} {self.decided_within(0.99):13.0f} s {self.wrong_served:12}"
        )


class _Waiting(msgspec.Struct):
    """A held record. `was_asked`: it has or had a witness."""

    profile: int
    record: InstagramAccount
    judgement: Judgement
    truth: int
    held: Held
    was_asked: bool = False


class _Running:
    def __init__(
        self, gate: Gate, trust: Trust, world: World, memories: Sequence[Memory], day: Day, chance: random.Random
    ) -> None:
        self.gate, self.day, self.chance = gate, day, chance
        self.profiles = [replace(profile) for profile in world.profiles]
        self.witnesses = Witnesses(trust, gate.rules)
        self.memories = list(memories)
        self.levels = [float(profile.followers) for profile in self.profiles]
        self.cohort, self.breaker = Cohort(), DataBreaker()
        self.result = Result(day.name)
        self.open: dict[int, _Waiting] = {}
        self.answers: list[tuple[float, int, str]] = []

    def run(self) -> Result:
        size = len(self.profiles)
        for number in range(self.day.refreshes):
            # A profile is refreshed once a day; while one round lasts, its second sources answer.
            day, index = divmod(number, size)
            now = NOW + day * DAY + index / PER_SECOND
            self._answer(until=now)
            self._refresh(self.profiles[index], now)
        self._answer(until=math.inf)
        self.result.by_person += len(self.open)
        return self.result

    def _refresh(self, profile: Profile, now: float) -> None:
        index = profile.index
        if index in self.open:
            return
        self.levels[index] *= math.exp(self._change(profile))
        truth = shown(profile, self.levels[index])
        told = truth if self.day.deploy is None else self.day.deploy.breaks(profile, truth)
        if self.day.deploy is not None and not self.breaker.asks(self.result.refreshes):
            self.result.refreshes += 1
            return
        self.result.refreshes += 1
        record = account(profile, told)
        memory = self.memories[index]
        judgement = self.gate.judge(record, memory, at=now, source=SOURCE, widened=self.cohort.widened(now))
        if self.breaker.is_open:
            self.breaker = self.breaker.sampled(good=judgement.is_written)
            return
        self.memories[index] = self.gate.learn(memory, record, judgement, at=now)
        falls = any(
            reason.before is not None and reason.now is not None and reason.now < reason.before
            for reason in judgement.reasons
        )
        held = judgement.ruling is Ruling.HOLD
        self.cohort = self.cohort.counted(
            1, int(judgement.is_odd), now, falls=int(held and falls), rises=int(held and not falls)
        )
        self.breaker = self.breaker.counted(1, int(judgement.ruling is Ruling.REJECT), now)
        self._note(now)
        if judgement.is_written:
            self.result.wrong_served += abs(told - truth) > max(1, 0.01 * truth)
        elif held:
            self._hold(_Waiting(index, record, judgement, truth, self._held(record, judgement, memory, now)), now)
        self._sample(now)

    def _held(self, record: InstagramAccount, judgement: Judgement, memory: Memory, now: float) -> Held:
        said = reported(self.gate.rules, record, judgement, source=SOURCE, at=now)
        return self.witnesses.hold(said, memory, CHAIN, now)

    def _hold(self, waiting: _Waiting, now: float) -> None:
        self.result.held += 1
        self.open[waiting.profile] = waiting
        if self.cohort.may_ask_alone:
            self.cohort = self.cohort.asked()
            waiting.was_asked = True
            self._ask(waiting, now)

    def _sample(self, now: float) -> None:
        wanted = self.cohort.wanted
        if not wanted:
            return
        for waiting in [one for one in self.open.values() if not one.was_asked][:wanted]:
            self.cohort = self.cohort.asked()
            waiting.was_asked = True
            self._ask(waiting, now)

    def _ask(self, waiting: _Waiting, now: float) -> None:
        self.result.calls += 1
        heapq.heappush(self.answers, (now + self.chance.uniform(0.5, 20.0), waiting.profile, waiting.held.asks))

    def _answer(self, *, until: float) -> None:
        while self.answers and self.answers[0][0] <= until:
            now, index, source = heapq.heappop(self.answers)
            waiting = self.open.get(index)
            if waiting is None or waiting.held.asks != source:
                continue
            if self.chance.random() < DOWN:
                waiting.held = self.witnesses.failed(waiting.held, source, CHAIN, now)
            else:
                true = account(self.profiles[index], waiting.truth)
                told = reported(self.gate.rules, true, waiting.judgement, source=source, at=now)
                waiting.held = self.witnesses.answered(waiting.held, told, CHAIN, now)
            decided = {State.ACCEPTED: True, State.REJECTED: False}.get(waiting.held.state)
            self.cohort = self.cohort.witnessed(now, confirms=decided)
            if waiting.held.state is State.ASKING and self.cohort.may_ask_alone:
                self.cohort = self.cohort.asked()
                self._ask(waiting, now)
            elif waiting.held.state is State.REJECTED and not self.cohort.is_sampling:
                self.breaker = self.breaker.counted(0, 1, now)
            if waiting.held.is_decided:
                self._end(waiting, now, accept=waiting.held.state is State.ACCEPTED)
            self._note(now)
            self._sample(now)

    def _note(self, now: float) -> None:
        """What the cohort or the breaker has found."""
        result, incident = self.result, self.cohort.incident
        if self.day.deploy is not None and (incident is not None or self.breaker.is_open) and not result.noticed_after:
            result.noticed_after = result.refreshes
        if incident is not None and incident.cause is not None:
            moved = incident.cause is Cause.WORLD_MOVED
            if incident.cause is Cause.SOURCE_BROKE:
                self.breaker = self.breaker.broke(now, "the cohort's sample was refuted")
            if incident.cause is not Cause.UNCLEAR:
                self.cohort = self.cohort.closed()
                for waiting in list(self.open.values()):
                    self._end(waiting, now, accept=moved)
        if self.day.deploy is not None and self.breaker.is_open and not result.opened_after:
            result.opened_after = result.refreshes
            for waiting in list(self.open.values()):
                self._end(waiting, now, accept=False)

    def _end(self, waiting: _Waiting, now: float, *, accept: bool) -> None:
        del self.open[waiting.profile]
        self.result.took.append(now - waiting.held.since)
        memory = self.memories[waiting.profile].released()
        if accept:
            memory = self.gate.learn(memory, waiting.record, self.gate.accepted, at=waiting.held.said.at)
            self.result.wrong_served += abs((waiting.record.followers or 0) - waiting.truth) > max(
                1, 0.01 * waiting.truth
            )
        self.memories[waiting.profile] = memory

    def _change(self, profile: Profile) -> float:
        chance = self.chance
        if chance.random() < CLEANED:
            profile.following = max(1, profile.following // 2)
        profile.media_count += chance.random() < 0.3
        profile.following = max(1, profile.following + chance.choice((-2, -1, 0, 0, 0, 1, 2)))
        daily = change(profile, chance)
        return daily + purged(chance) if self.day.purge else daily


def purged(chance: random.Random) -> float:
    """What a purge takes, as a log change: 7.6 % in the mean, more than a third of some, and nearly all of a few."""
    drawn = chance.random()
    if drawn < 0.001:
        share = 0.999
    elif drawn < 0.01:
        share = chance.uniform(0.35, 0.60)
    else:
        share = min(0.33, chance.gammavariate(2.0, 0.035))
    return math.log(1 - share)


def run(gate: Gate, trust: Trust, world: World, memories: Sequence[Memory], day: Day, chance: random.Random) -> Result:
    return _Running(gate, trust, world, memories, day, chance).run()
