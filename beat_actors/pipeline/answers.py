"""The calls of leases: made, judged, and kept as far as their endpoints say."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from beat_actors.broker.windows import CUSTOMER
from beat_actors.credentials.health import verified
from beat_actors.engine import Engine
from beat_actors.errors import Malformed
from beat_actors.fetches.claims import Lease
from beat_actors.logger import get_logger
from beat_actors.pipeline import smaller, upkeep
from beat_actors.pipeline.call import (
    NO_EXCHANGE,
    Attempt,
    Standing,
    attempt,
    caused_by_process,
    echoed,
    not_made,
    unreadable,
    unused,
)
from beat_actors.pipeline.records import pack
from beat_actors.platforms.interface import Endpoint, FetchSpec, Health, Outcome, Source, Verdict
from beat_actors.platforms.registry import platforms

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Called:
    """A claimed fetch, how its call went, how that is judged, and what of the answer is this fetch's: `frame` is its packed body."""

    claim: Lease
    attempt: Attempt
    verdict: Verdict
    frame: bytes = b""
    next_cursor: str | None = None

    @property
    def is_head(self) -> bool:
        """Whether the call was leased to this fetch: it alone is charged and traced."""
        return self.claim.call_of is None


def is_urgent(claims: Sequence[Lease]) -> bool:
    """Whether somebody waits for one of these fetches."""
    return any(claim.priority == CUSTOMER for claim in claims)


async def make(engine: Engine, claims: Sequence[Lease], standing: Standing, started: float) -> list[Called]:
    """Make one call for these claims, the one to which it was leased first. Never raises for what happens to it."""
    head = claims[0]
    try:
        source = platforms()[head.platform].sources[head.source]
        endpoint = source.endpoints[head.operation]
        specs = [_spec(claim) for claim in claims]
        spec = specs[0] if endpoint.many is None else endpoint.many.join(specs)
        made = await attempt(
            engine,
            source,
            head,
            lambda secret: endpoint.build(spec, secret),
            started,
            standing,
            urgent=is_urgent(claims),
        )
    except Exception as error:  # noqa: BLE001 - the answers of its neighbours are paid for
        broken = caused_by_process(engine, error, begun=head.id in standing.begun)
        made = broken or Attempt(NO_EXCHANGE, not_made(error))
    answer = made.answer
    if answer is None:
        assert made.verdict is not None
        verdict = smaller.judged(made.verdict, endpoint, spec)
        return [Called(claim, made, verdict) for claim in claims]
    frames: Sequence[bytes] = [b""] * len(claims)
    cursor = None
    try:
        verdict = smaller.judged(source.classify(answer), endpoint, spec)
        if verdict.outcome is Outcome.OK:
            body, cursor = await made.kept(answer.body), source.next_cursor(answer)
            if body is None or (cursor is not None and made.redactor.holds(cursor)):
                verdict = echoed(answer.status)
            else:
                frames = [pack(body) for body in _kept(source, endpoint, _shares(endpoint, body, specs), verdict)]
    except Exception as error:  # noqa: BLE001
        broken = caused_by_process(engine, error, begun=True)
        verdict = unreadable(error) if broken is None or broken.verdict is None else broken.verdict
    verdict = made.judged(verdict)
    return [Called(claim, made, verdict, frame, cursor) for claim, frame in zip(claims, frames, strict=True)]


def unmade(claims: Sequence[Lease]) -> list[Called]:
    """For claims whose call was not begun: their leases are to be returned unused."""
    made = unused("it was broken off before the call")
    assert made.verdict is not None
    return [Called(claim, made, made.verdict) for claim in claims]


async def check(engine: Engine, claim: Lease) -> Mapping[tuple[int, int], Health]:
    """What the check of this claim's credential finds, by credential and generation. Nothing where it cannot be asked: an answer that waits
    for it was paid for."""
    try:
        return await upkeep.ask(engine, [claim])
    except Exception:
        log.exception("check_not_asked", credential=claim.credential_id)
        return {}


def decided(called: Sequence[Called], found: Mapping[tuple[int, int], Health]) -> list[Called]:
    """These with what the check of their credential `found`. One whose check could not be asked stays ambiguous."""

    def judged(item: Called) -> Called:
        endpoint = platforms()[item.claim.platform].sources[item.claim.source].endpoints[item.claim.operation]
        health = found.get((item.claim.credential_id, item.claim.generation))
        return replace(item, verdict=verified(item.verdict, health, endpoint.scopes))

    return [judged(item) if item.verdict.ambiguous else item for item in called]


def _spec(claim: Lease) -> FetchSpec:
    return FetchSpec(
        claim.operation, claim.params, claim.cursor, claim.source, claim.page, claim.owner, halvings=claim.halvings
    )


def _shares(endpoint: Endpoint, body: bytes, specs: Sequence[FetchSpec]) -> Sequence[bytes]:
    """Each fetch's part of a good answer. One that cannot be split goes to all as it is, for their parser to say what is wrong."""
    if endpoint.many is None:
        return [body] * len(specs)
    try:
        return endpoint.many.split(body, specs)
    except Malformed:
        return [body] * len(specs)


def _kept(source: Source, endpoint: Endpoint, bodies: Sequence[bytes], verdict: Verdict) -> Sequence[bytes]:
    """What may be stored of the bodies, by the declaration of the endpoint or of its source. Only a good answer is stored at all."""
    keep = endpoint.keeps or type(source).keeps
    if keep is None or verdict.outcome is not Outcome.OK:
        return bodies
    return [keep(body) for body in bodies]
