"""What the gate catches, what it lets through, and what it costs: `make trust`.

A made-up world of profiles with sizes, growth and history as they are known from public numbers. Each kind of corruption is applied to each
profile once. Then a normal day, the day of a purge, and deploys of a broken parser run through gate, witnesses, cohort and breaker. Calls are
simulated: a second source answers with the truth after some seconds, or not at all. Nothing is stored. `--only gate` measures what the gate costs a worker
(`bench.gate`).
"""

import argparse
import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple

import msgspec

from beat_actors.platforms.instagram.entities import InstagramPost
from beat_actors.platforms.registry import platforms
from beat_actors.trust.facts import facts
from beat_actors.trust.gate import Asked, Gate
from beat_actors.trust.judgement import Ruling
from beat_actors.trust.memory import DAY, NOTHING, Memory, decode, encode
from bench import gate
from bench.trust_days import Day, Deploy, run
from bench.trust_world import NOW, Profile, World, account, posts

INSTAGRAM = platforms()["instagram"].trust
ACCOUNTS = Gate(INSTAGRAM.entities[0], INSTAGRAM.since)
POSTS = Gate(INSTAGRAM.entities[1], INSTAGRAM.since)


class Corruption(NamedTuple):
    """`change`: the false number of followers. `goal`: the least share that is to be held or rejected. `unknowable`: why the rest passes."""

    name: str
    change: Callable[[Profile, World], int]
    goal: float | None
    unknowable: str


CORRUPTIONS = (
    Corruption("zero", lambda profile, _: 0, 1.0, ""),
    Corruption("negative", lambda profile, _: -profile.followers, 1.0, ""),
    Corruption("times 1000", lambda profile, _: profile.followers * 1000, 0.97, ""),
    Corruption("suffix lost (12.3K -> 12)", lambda profile, _: suffix_lost(profile.followers), 0.97, ""),
    Corruption("last digit lost", lambda profile, _: profile.followers // 10, 0.97, ""),
    Corruption(
        "somebody else's number",
        lambda profile, world: world.other(profile).followers,
        0.97,
        "the other profile is about as large, so the number is within the range",
    ),
    Corruption(
        "following for followers",
        lambda profile, _: profile.following,
        0.97,
        "the profile follows about as many as follow it",
    ),
    Corruption("times 1000, cut to int32", lambda profile, _: int32(profile.followers * 1000), 0.97, "the false number is within the range by chance"),
    Corruption(
        "15 % too few",
        lambda profile, _: round(profile.followers * 0.85),
        0.80,
        "profiles of a few hundred, and those that move by this much within days: a true change looks the same",
    ),
    Corruption(
        "30 days old",
        lambda profile, _: profile.month_ago,
        None,
        "an old value is a true value of the profile; only its source's own time, or another source, tells its age",
    ),
)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--profiles", type=int, default=10_000, help="profiles for each kind of corruption")
    parser.add_argument("--refreshes", type=int, default=100_000, help="refreshes of the normal day")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", choices=("gate",), help="gate: what the gate costs, beside the same work without it")
    parser.add_argument("--pairs", type=int, default=40, help="rounds with and without the gate")
    options = parser.parse_args()
    if options.only == "gate":
        sys.exit(int(not gate.run(options.pairs)))
    world = World(options.profiles, options.seed)
    memories = [remembered(profile) for profile in world.profiles]
    missed = corruptions(world, memories)
    missed += likes_of_three(world)
    missed += days(world, memories, options.refreshes, options.seed)
    cost(world, memories)
    if missed:
        print("\nmissed: " + "; ".join(missed))
        sys.exit(1)


def suffix_lost(number: int) -> int:
    for unit in (1_000_000, 1000):
        if number >= unit:
            return number // unit
    return number


def int32(number: int) -> int:
    return (number + 2**31) % 2**32 - 2**31


def remembered(profile: Profile) -> Memory:
    memory = NOTHING
    for days, followers in enumerate(profile.history):
        at = NOW - (len(profile.history) - days) * DAY
        memory = ACCOUNTS.learn(memory, account(profile, followers), ACCOUNTS.accepted, at=at)
    return memory


def corruptions(world: World, memories: Sequence[Memory]) -> list[str]:
    missed = []
    print(f"{'corruption':28} {'profiles':>8} {'rejected':>9} {'held':>8} {'served':>7}  {'caught':>8}  {'goal':>7}")
    rows: list[tuple[Corruption, Counter[Ruling]]] = []
    for kind in CORRUPTIONS:
        found: Counter[Ruling] = Counter()
        for profile, memory in zip(world.profiles, memories, strict=True):
            false = kind.change(profile, world)
            if abs(false - profile.followers) > 0.01 * profile.followers:
                found[judged(profile, memory, false)] += 1
        rows.append((kind, found))
    stranger: Counter[Ruling] = Counter()
    for profile, memory in zip(world.profiles, memories, strict=True):
        answer = account(world.other(profile), world.other(profile).followers)
        asked = Asked("profile_by_handle", {"handle": profile.handle})
        stranger[ACCOUNTS.judge(answer, memory, at=NOW, asked=asked).ruling] += 1
    rows.append((Corruption("somebody else's answer", lambda *_: 0, 1.0, ""), stranger))
    for kind, found in rows:
        caught = 1 - served(found) / found.total()
        goal = "" if kind.goal is None else f"{100 * kind.goal:.0f} %"
        print(
            f"{kind.name:28} {found.total():8} {found[Ruling.REJECT]:9} {found[Ruling.HOLD]:8} {served(found):7}"
            f"  {100 * caught:6.2f} %  {goal:>7}"
        )
        if kind.goal is not None and caught < kind.goal:
            missed.append(kind.name)
    print("\nWhat no rule can know:")
    for kind, found in rows:
        if kind.unknowable and served(found):
            print(f"  {kind.name}: {100 * served(found) / found.total():.1f} % pass: {kind.unknowable}")
    return missed


def served(found: Counter[Ruling]) -> int:
    return found[Ruling.ACCEPT] + found[Ruling.NOTE]


def judged(profile: Profile, memory: Memory, followers: int) -> Ruling:
    asked = Asked("profile_by_handle", {"handle": profile.handle})
    return ACCOUNTS.judge(account(profile, followers), memory, at=NOW, asked=asked).ruling


def likes_of_three(world: World) -> list[str]:
    """A page of twelve posts that all say three likes, as hidden likes do; half of the posts are known."""
    caught = passed = quiet = 0
    for profile in world.profiles:
        page = posts(profile)
        known = [
            POSTS.learn(NOTHING, post, POSTS.accepted, at=NOW - DAY) if place % 2 else NOTHING
            for place, post in enumerate(page)
        ]
        said = [InstagramPost(shortcode=post.shortcode, likes=3, taken_at=post.taken_at) for post in page]
        for true, verdict in zip(page, POSTS.judge_answer(said, known, at=NOW), strict=True):
            if true.likes == 3:
                quiet += 1
            elif verdict.is_written:
                passed += 1
            else:
                caught += 1
    share = caught / (caught + passed)
    print(
        f"\nlikes = 3 on pages of 12 posts: {100 * share:.2f} % of the false likes held, {passed} served; {quiet} posts have 3 likes in truth"
    )
    return ["likes = 3"] if share < 0.97 else []


def days(world: World, memories: Sequence[Memory], refreshes: int, seed: int) -> list[str]:
    missed = []
    print(
        f"\n{'day':34} {'refreshes':>9} {'held':>6} {'per 10,000':>10} {'calls':>6} {'share':>7} {'by a person':>11} {'99 % decided in':>15} {'wrong served':>12}"
    )
    normal = Day("a normal day", refreshes)
    purge = Day("a purge day", len(world.profiles), purge=True)
    for day in (normal, purge):
        result = run(ACCOUNTS, INSTAGRAM, world, memories, day, random.Random(seed))
        print(result.line())
        if day is normal:
            missed += ["holds of a normal day"] if result.held * 10_000 > 25 * result.refreshes else []
            missed += ["calls of a normal day"] if result.calls > 0.005 * result.refreshes else []
            missed += ["holds decided in 5 minutes"] if result.decided_within(0.99) > 300 else []
        else:
            missed += ["calls of a purge day"] if result.calls > 60 else []
            missed += ["publishing on a purge day"] if result.slowest() > 600 or result.by_person else []
    print(
        f"\n{'deploy of a broken parser':34} {'noticed after':>13} {'breaker open after':>18} {'calls':>6} {'wrong served':>12}"
    )
    for deploy in DEPLOYS:
        result = run(ACCOUNTS, INSTAGRAM, world, memories, Day(deploy.name, 2000, deploy=deploy), random.Random(seed))
        print(
            f"{deploy.name:34} {result.noticed_after:13} {result.opened_after:18} {result.calls:6} {result.wrong_served:12}"
        )
        missed += [f"{deploy.name}: not noticed"] if not 0 < result.noticed_after <= 200 else []
        missed += [f"{deploy.name}: breaker"] if result.opened_after <= 0 else []
    return missed


DEPLOYS = (
    Deploy("followers are always zero", lambda _profile, _followers: 0),
    Deploy("following for followers", lambda profile, _followers: profile.following),
    Deploy("12.3K is read as 12", lambda _profile, followers: suffix_lost(followers)),
    Deploy("the last digit is lost", lambda _profile, followers: followers // 10),
    Deploy("a subset is counted (-15 %)", lambda _profile, followers: round(followers * 0.85)),
    Deploy("negative", lambda _profile, followers: -followers),
)


def cost(world: World, memories: Sequence[Memory]) -> None:
    """Per record, in processor time: judging; learning; reading the record as the stages hand it on; reading and writing the memory."""
    packed = [encode(memory) for memory in memories]
    answers = [msgspec.json.encode([account(profile, profile.followers)]) for profile in world.profiles]
    read = [facts(ACCOUNTS.rules, answer)[0] for answer in answers]
    steps: dict[str, Callable[[], object]] = {
        "to judge": lambda: [ACCOUNTS.judge(one, memory, at=NOW) for one, memory in zip(read, memories, strict=True)],
        "to learn": lambda: [
            ACCOUNTS.learn(memory, one, ACCOUNTS.accepted, at=NOW) for one, memory in zip(read, memories, strict=True)
        ],
        "to read the record": lambda: [facts(ACCOUNTS.rules, answer) for answer in answers],
        "to read and write the memory": lambda: [encode(decode(frame)) for frame in packed],
    }
    took = {name: min(timed(step) for _ in range(5)) / len(read) * 1e6 for name, step in steps.items()}
    print(
        f"\none record: {sum(took.values()):.1f} us: " + ", ".join(f"{each:.1f} {name}" for name, each in took.items())
    )
    print(f"a memory: {sum(map(len, packed)) / len(packed):.0f} bytes in the mean, {max(map(len, packed))} at most")


def timed(step: Callable[[], object]) -> float:
    began = time.process_time()
    step()
    return time.process_time() - began


if __name__ == "__main__":
    main()
