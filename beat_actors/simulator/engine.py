"""A call from its arrival to its answer: route, key, limits, faults, ledger. Decided at once; only then is there any waiting."""

import asyncio
import random
import time
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from functools import partial
from urllib.parse import parse_qsl, unquote

from aiohttp import web

from beat_actors.simulator.bodies import Bodies
from beat_actors.simulator.config import SimulatorConfig
from beat_actors.simulator.corruption import OF_OTHER_ANSWERS, WHOLE
from beat_actors.simulator.credentials import Keys
from beat_actors.simulator.damage import PAGE, damaged
from beat_actors.simulator.expiry import MediaClock
from beat_actors.simulator.faults import Fault, FaultBoard, FaultKind
from beat_actors.simulator.hostile import NO_ANSWER, ON_THE_WIRE, on_the_wire, redirect_status
from beat_actors.simulator.ledger import Ledger, fingerprint
from beat_actors.simulator.media import Media
from beat_actors.simulator.population import Population
from beat_actors.simulator.provider import HTML, Asked, Grant, Operation, Reply, Routes, SimulatedProvider, Usage, World
from beat_actors.simulator.quotas import Quotas
from beat_actors.simulator.registry import simulated_providers

DAY = 86_400.0


@dataclass(frozen=True, slots=True)
class _Call:
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes
    base: str


@dataclass(frozen=True, slots=True)
class Decision:
    """What a call gets. `delay` in seconds comes before it; a hostile `kind` replaces the plain reply on the wire."""

    reply: Reply
    delay: float = 0.0
    kind: FaultKind | None = None
    fault: Fault | None = None


class Simulator:
    """The state of one simulator. The admin routes read and change it while it runs."""

    def __init__(self, config: SimulatorConfig, declared: Mapping[str, SimulatedProvider] | None = None) -> None:
        self.config = config
        self.providers = dict(simulated_providers() if declared is None else declared)
        self.people = Population(
            config.profiles,
            config.seed,
            missing_every=config.missing_every,
            private_every=config.private_every,
            drift_seconds=config.drift_seconds,
            daily_growth=config.daily_growth,
            media=MediaClock(life=config.media_seconds, stands=not config.drift_seconds),
        )
        self.world = World(self.people, config.cdn_url)
        self.mixed_up = World(self.people.mixed_up(), config.cdn_url)
        self.ledger = Ledger()
        self.faults = FaultBoard(config.seed)
        self.media = Media(self.people.media, self.faults)
        self.keys = Keys(accept_any=config.accept_any)
        self.quotas = Quotas(enabled=config.limits, slack=config.slack_seconds)
        self.latency = config.latency_seconds
        self.jitter = config.jitter_seconds
        self.started = time.monotonic()
        self._routes = {name: Routes(provider) for name, provider in self.providers.items()}
        self._bodies = Bodies(config.cache_bytes)
        self._chance = random.Random(config.seed)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """The one handler of all providers' paths."""
        path, _, query = request.raw_path.partition("?")
        _, source, rest = (*unquote(path).split("/", 2), "", "")[:3]
        provider = self.providers.get(source)
        if provider is None:
            known = ", ".join(sorted(self.providers))
            return web.Response(status=404, text=f"There is no simulated provider {source!r}. There is: {known}\n")
        body = await request.read() if request.body_exists else b""
        if self.config.line_seconds or self.config.line_jitter_seconds:
            await asyncio.sleep(self.config.line_seconds + self._chance.random() * self.config.line_jitter_seconds)
        call = _Call(f"/{rest}", query, request.headers, body, f"http://{request.host}/{source}")
        decision = self._decide(provider, call)
        delay = decision.delay
        if self.latency or self.jitter:
            delay += self.latency + self._chance.random() * self.jitter
        if delay:
            await asyncio.sleep(delay)
        if decision.kind is not None and decision.fault is not None:
            return await on_the_wire(request, decision.kind, decision.fault, decision.reply)
        reply = decision.reply
        return web.Response(
            body=reply.body, status=reply.status, headers={"Content-Type": reply.content_type, **reply.headers}
        )

    def _decide(self, provider: SimulatedProvider, call: _Call) -> Decision:
        """Everything about a call, at one instant. It is in the ledger when this returns."""
        query = dict(parse_qsl(call.query, keep_blank_values=True))
        found = self._routes[provider.name].find(call.path, query)
        operation = found[0].name if found else "unknown"
        key_field = found[0].key_field if found else None
        form = dict(parse_qsl(call.body.decode("utf-8", "replace"))) if key_field else {}
        secret, place = provider.credential(call.headers, query, form, key_field)
        brought = fingerprint(secret)
        credential = self.keys.holder(provider.name, brought)
        usage = Usage()
        over_limit = False
        hit: tuple[FaultKind, Fault] | None = None
        other: Reply | None = None
        refusals = provider.refusals
        revoked = refusals.revoked_in.get(place, refusals.revoked)
        if not secret:
            reply = refusals.no_credential
        elif self.keys.grant(provider.name, brought).revoked:
            reply = revoked
        elif found is None:
            reply = refusals.unknown_path(call.path)
        else:
            usage = self.quotas.charge(provider, credential, operation=operation, free=found[0].free)
            over_limit = usage.refused_by is not None
            if usage.refused_by is not None:  # the gateway stands before whatever is broken behind it
                usual = refusals.over_quota if usage.refused_by.quota else refusals.over_limit
                reply = (usage.refused_by.refusal or usual)(usage.wait)
            else:
                hit = self.faults.hit(provider.name, operation, credential, _asked_for(provider, found[1], query, call))
                if refusals.out_of_scope is None or self.keys.reaches(provider.name, credential, found[0].scope):
                    told = partial(self._reply, provider, found, call, query, usage, secret)
                    reply = told(self.mixed_up if hit is not None and _is_about_another(*hit) else self.world)
                    if hit is not None and (world := self._world_of_numbers(*hit)) is not None:
                        other = told(world)
                else:
                    reply = refusals.out_of_scope(found[1])
        reply = _with_headers(reply, provider.usage_headers(usage))
        decision = _faulted(provider, reply, revoked, other, *hit) if hit else Decision(reply)
        status = 0 if hit and hit[0] in NO_ANSWER else decision.reply.status
        corruption = hit[1].corruption if hit is not None and hit[0] is FaultKind.CORRUPT and status == 200 else None
        self.ledger.record(
            provider.name,
            operation,
            credential,
            status,
            over_limit=over_limit,
            faulted=hit is not None,
            corruption=corruption,
        )
        return decision

    def _reply(
        self,
        provider: SimulatedProvider,
        found: tuple[Operation, Mapping[str, str]],
        call: _Call,
        query: Mapping[str, str],
        usage: Usage,
        secret: str,
        world: World,
    ) -> Reply:
        operation, params = found
        if not operation.cached:
            grant = partial(self._grant, provider.name)
            issue = partial(self.keys.issue, provider.name, fingerprint(secret))
            return operation.answer(Asked(params, query, call.body, call.base, usage, grant, secret, issue), world)
        about: Hashable = call.query
        if provider.credential_query in query:  # the same answer for every key
            about = tuple(item for item in query.items() if item[0] != provider.credential_query)
        key = (
            call.base,
            operation.name,
            *params.values(),
            about,
            call.body,
            world.people.version,
            world.people.media_expiry,
        )
        reply = self._bodies.get(key)
        if reply is None:
            reply = operation.answer(Asked(params, query, call.body, call.base), world)
            self._bodies.put(key, reply)
        return reply

    def _world_of_numbers(self, kind: FaultKind, fault: Fault) -> World | None:
        """Where a false answer takes its numbers from, if it takes them from another one."""
        if kind is not FaultKind.CORRUPT or fault.corruption not in OF_OTHER_ANSWERS:
            return None
        if fault.corruption == "other":
            return self.mixed_up
        return World(self.people.past(fault.days * DAY), self.config.cdn_url)

    def _grant(self, source: str, secret: str) -> Grant:
        return self.keys.grant(source, fingerprint(secret))


def _is_about_another(kind: FaultKind, fault: Fault) -> bool:
    """Whether the whole answer is the one about another account."""
    return kind is FaultKind.WRONG_USER or (kind is FaultKind.CORRUPT and fault.corruption == WHOLE)


def _asked_for(
    provider: SimulatedProvider, params: Mapping[str, str], query: Mapping[str, str], call: _Call
) -> tuple[object, ...]:
    """What a call asks for, whichever key it has."""
    own = sorted(item for item in query.items() if item[0] != provider.credential_query)
    return sorted(params.items()), own, call.body


def _with_headers(reply: Reply, usual: Mapping[str, str]) -> Reply:
    """What the reply says of itself wins over what every answer carries."""
    return Reply(reply.status, reply.body, reply.content_type, {**usual, **reply.headers})


def _faulted(
    provider: SimulatedProvider, whole: Reply, revoked: Reply, other: Reply | None, kind: FaultKind, fault: Fault
) -> Decision:
    refusals = provider.refusals
    if kind is FaultKind.OUTAGE:
        status = fault.status or 503
        down = refusals.outage
        reply = (
            Reply(status, down.body, down.content_type, down.headers)
            if fault.body == "json"
            else Reply(status, PAGE, HTML)
        )
    elif kind is FaultKind.RATE_LIMIT:
        reply = refusals.over_limit(fault.retry_after or 0.0)
        if fault.retry_after is not None:
            reply = _with_headers(reply, {"Retry-After": f"{fault.retry_after:g}"})
    elif kind is FaultKind.QUOTA:
        reply = refusals.over_quota(DAY if fault.retry_after is None else fault.retry_after)
    elif kind is FaultKind.REVOKED:
        reply = revoked
    elif kind is FaultKind.SLOW:
        return Decision(whole, delay=fault.delay)
    elif kind is FaultKind.REDIRECT:
        return Decision(Reply(redirect_status(fault), b""), kind=kind, fault=fault)
    elif kind in ON_THE_WIRE:
        return Decision(whole, kind=kind, fault=fault)
    else:
        reply = damaged(kind, fault, whole, provider.words, other)
    if kind in (FaultKind.RATE_LIMIT, FaultKind.QUOTA, FaultKind.REVOKED) and fault.status is not None:
        reply = Reply(fault.status, reply.body, reply.content_type, reply.headers)
    return Decision(reply)
