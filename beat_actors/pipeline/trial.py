"""A call that a person wants to see: leased, made, judged and charged as any other call, and shown as it went.

Its lease is a row of `credential_call`, as that of a check. Its answer is shown and not kept: no request asked for it.
"""

import dataclasses
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from beat_actors.credentials.upkeep import LeasedCall, finish, lease_trial
from beat_actors.engine import Engine
from beat_actors.errors import BadInput, Malformed, Missing, Private
from beat_actors.pipeline.call import (
    NO_EXCHANGE,
    Attempt,
    Standing,
    attempt,
    caused_by_process,
    not_made,
    reported,
    traced,
    unreadable,
)
from beat_actors.platforms.interface import (
    Call,
    Endpoint,
    FetchSpec,
    Outcome,
    Parsed,
    Platform,
    Secret,
    Source,
    Verdict,
)
from beat_actors.redaction import HIDDEN

MOST_PARAMS = 8
CANDIDATES = 20
"""Credentials that are looked at for room."""


class Blank(dict[str, str]):
    """A secret that opens nothing, with every field."""

    def __missing__(self, _name: str) -> str:
        return "x"


@dataclass(frozen=True, slots=True)
class Trial:
    """How the call went. `headers`: of the request, without what is secret. `body`: of the answer, as it may be shown; `None` where it repeats
    the secret in a way that cannot be taken out."""

    credential_id: int
    attempt: Attempt
    verdict: Verdict
    headers: dict[str, str] = field(default_factory=dict)
    parsed: Parsed | None = None
    body: bytes | None = None


def wanted_params(endpoint: Endpoint, operation: str) -> list[str]:
    """The parameters without which the endpoint builds no call, found by building one without them."""
    params: dict[str, object] = {}
    secret = Blank()
    while len(params) < MOST_PARAMS:
        try:
            endpoint.build(FetchSpec(operation, params), secret)
        except KeyError as error:
            name = error.args[0] if error.args else None
            if not isinstance(name, str) or name in params:
                break
            params[name] = "x"
        except Exception:  # noqa: BLE001 - such as a store's name that is none: what is missing is known by then
            break
        else:
            break
    return list(params)


def check_params(endpoint: Endpoint, operation: str, given: dict[str, str]) -> None:
    """Raises `BadInput` where the call cannot be built for want of a parameter, before anything is leased."""
    lacking = [name for name in wanted_params(endpoint, operation) if name not in given]
    if lacking:
        raise BadInput(f"{operation} needs {' '.join(f'{name}=...' for name in lacking)}", field=lacking[0])


async def try_once(
    engine: Engine, platform: Platform, source: Source, spec: FetchSpec, credential_ids: Sequence[int]
) -> Trial | None:
    """One call with the first of these credentials that has room for it; `None`: none has, and no call is made. The caller wakes the
    platform's broker, which charges it."""
    endpoint, started = source.endpoints[spec.operation], time.monotonic()
    call = await lease_trial(engine.database, platform, spec.operation, credential_ids[:CANDIDATES])
    if call is None:
        return None
    standing = Standing(engine.database, [call], started)
    headers: dict[str, str] = {}

    def build(secret: Secret) -> Call:
        made = endpoint.build(spec if endpoint.many is None else endpoint.many.join([spec]), secret)
        headers.update(_headers(source, secret, made))
        return made

    try:
        made = await attempt(engine, source, call, build, started, standing, urgent=True)
    except Exception as error:  # noqa: BLE001 - its words may hold the secret
        broken = caused_by_process(engine, error, begun=call.id in standing.begun)
        made = broken or Attempt(NO_EXCHANGE, not_made(error))
    trial = await _judged(source, endpoint, spec, call, made, headers)
    await _finish(engine, call, trial)
    return trial


async def _judged(
    source: Source, endpoint: Endpoint, spec: FetchSpec, call: LeasedCall, made: Attempt, headers: dict[str, str]
) -> Trial:
    answer = made.answer
    if answer is None:
        assert made.verdict is not None
        return Trial(call.credential_id, made, made.verdict, headers)
    body, parsed = await made.kept(answer.body), None
    try:
        verdict = source.classify(answer)
        if verdict.outcome is Outcome.OK and body is not None:
            parsed, verdict = _parsed(source, endpoint, spec, body, verdict)
    except Exception as error:  # noqa: BLE001 - whatever was sent
        verdict = unreadable(error)
    return Trial(call.credential_id, made, made.judged(verdict), headers, parsed, body)


def _parsed(
    source: Source, endpoint: Endpoint, spec: FetchSpec, body: bytes, verdict: Verdict
) -> tuple[Parsed | None, Verdict]:
    """What the parser reads, and what the answer comes to by that."""
    try:
        if endpoint.many is not None:
            (body,) = endpoint.many.split(body, [spec])
        keep = endpoint.keeps or type(source).keeps
        if keep is not None:
            body = keep(body)
        return endpoint.parse(body, spec), verdict
    except Missing as error:
        outcome, said = Outcome.MISSING, str(error)
    except Private as error:
        outcome, said = Outcome.PRIVATE, str(error)
    except Malformed as error:
        outcome, said = Outcome.MALFORMED, str(error)
    return None, dataclasses.replace(verdict, outcome=outcome, detail=said)


def _headers(source: Source, secret: Secret, call: Call) -> dict[str, str]:
    """The headers of a call, without any that holds a secret field, however short it is."""
    redactor = source.redactor(secret)
    hidden = [value for name, value in secret.items() if name not in source.public_fields]
    return {
        name: HIDDEN if redactor.holds(value) or any(one in value for one in hidden) else value
        for name, value in call.headers.items()
    }


async def _finish(engine: Engine, call: LeasedCall, trial: Trial) -> None:
    """Trace the call, and leave what came of it to the broker, which charges it."""
    row = {
        "id": call.id,
        "generation": call.generation,
        "retry_after": trial.verdict.retry_after,
        "at": trial.attempt.at,
        "began": trial.attempt.began,
        "process": trial.attempt.process,
        "facts": None,
    }
    row |= traced(trial.attempt, _settled(trial.verdict)) | reported(trial.verdict)

    async def commit() -> None:
        async with engine.database.transaction() as transaction:
            await finish(transaction, [row])

    await engine.database.again(commit)


def _settled(verdict: Verdict) -> Verdict:
    """What the broker is told: an ambiguous answer stays one, since no check was asked."""
    return dataclasses.replace(verdict, outcome=Outcome.AMBIGUOUS) if verdict.ambiguous else verdict
