"""`beat try`: one call to a provider, outside of any request and inside of all limits."""

import random
from collections.abc import Sequence
from typing import Annotated

from cyclopts import Parameter

from beat_actors.cli.connect import describe_limit
from beat_actors.cli.output import FAILED, UNAVAILABLE, printable, say, show_document, show_json, show_rows, tell
from beat_actors.cli.session import Session, run
from beat_actors.credentials.info import CredentialInfo
from beat_actors.errors import BadInput, UnknownName
from beat_actors.pipeline.trial import CANDIDATES, Trial, check_params, try_once, wanted_params
from beat_actors.platforms.interface import FetchSpec, Limit, Outcome, Source
from beat_actors.platforms.registry import platforms, source_named

MOST_SHOWN = 3
"""Records that are shown without --json."""
MOST_BODY = 2000


def try_(
    source: str,
    operation: str | None = None,
    /,
    *params: str,
    credential: int | None = None,
    body: Annotated[bool, Parameter(negative="")] = False,
    json: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Make one call to a provider, and show the request without its secret, the answer, the verdict, what is read of it, and what it cost.

    The call goes out of this process, takes room from the credential's limits and is charged as every other call; nothing of its answer is
    stored. Exits with 1 if it did not go well, and with 3 if no credential has room for it.

    Parameters
    ----------
    source
        A source of any platform, such as graphapi.
    operation
        What is asked of it; without one, its operations are listed with their parameters.
    params
        NAME=VALUE, such as handle=creator_000007.
    credential
        The credential by its id; one that has room if not given.
    body
        Show the answer's body too, without the secret.
    """
    platform, declared = source_named(source)
    if operation is None:
        _list(declared, json)
        return 0
    if operation not in declared.endpoints:
        raise UnknownName(
            f"{source} has no operation {operation!r}; it has: {', '.join(declared.endpoints)}", field="operation"
        )
    given = dict(_pair(text) for text in params)
    check_params(declared.endpoints[operation], operation, given)

    async def work(session: Session) -> Trial | None:
        candidates = await _candidates(session, source, credential)
        owner = candidates[0].owner if credential is not None else None
        spec = FetchSpec(operation, given, source=source, owner=owner)
        ids = [one.id for one in candidates]
        trial = await try_once(session.engine, platforms()[platform], declared, spec, ids)
        await session.wake(platform)
        return trial

    trial = run(work)
    if trial is None:
        tell(
            f"no credential of {source} has room for {operation} now, so no call was made: `beat credentials list {source}`"
        )
        return UNAVAILABLE
    limits = [limit for limit in declared.limits if limit.operations is None or operation in limit.operations]
    if json:
        show_json(_as_json(trial, limits, body))
    else:
        _show(trial, limits, body)
    return 0 if trial.verdict.outcome is Outcome.OK else FAILED


async def _candidates(session: Session, source: str, credential: int | None) -> Sequence[CredentialInfo]:
    if credential is not None:
        found = await session.credentials.info(credential)
        if found.source != source:
            raise BadInput(f"credential {credential} is of {found.source}, not of {source}", field="credential")
        return [found]
    ready = [one for one in await session.credentials.overview(source) if one.state == "ready" and one.shared]
    if not ready:
        raise BadInput(f"no credential of {source} is ready; add one: `beat connect {source}`", field="credential")
    return random.sample(ready, min(len(ready), CANDIDATES))


def _pair(text: str) -> tuple[str, str]:
    name, sign, value = text.partition("=")
    if not sign or not name:
        raise BadInput(f"a parameter is NAME=VALUE, such as handle=creator_000007, not {text[:80]!r}", field="params")
    return name, value


def _list(source: Source, json: bool) -> None:
    operations = {name: wanted_params(endpoint, name) for name, endpoint in source.endpoints.items()}
    if json:
        show_json([{"operation": name, "params": params} for name, params in operations.items()])
        return
    rows = [(name, " ".join(f"{param}=..." for param in params)) for name, params in operations.items()]
    show_rows(("operation", "parameters"), rows)
    say(f"one call: `beat try {source.name} OPERATION NAME=VALUE`")


def _cost(trial: Trial, limits: Sequence[Limit]) -> str:
    if not trial.attempt.made:
        return "nothing: no call was made"
    reported = trial.verdict.reported
    left = f"; the provider says that {reported.remaining:,} are left" if reported is not None else ""
    charged = "; ".join(describe_limit(limit) for limit in limits) or "no limit"
    return f"1 call of credential {trial.credential_id}, charged to: {charged}{left}"


def _as_json(trial: Trial, limits: Sequence[Limit], body: bool) -> dict[str, object]:
    exchange, answer = trial.attempt.exchange, trial.attempt.answer
    shown: dict[str, object] = {
        "credential": trial.credential_id,
        "request": {"method": exchange.method, "url": exchange.url, "headers": trial.headers},
        "status": None if answer is None else answer.status,
        "ms": round(exchange.ms),
        "outcome": trial.verdict.outcome,
        "code": trial.verdict.code,
        "detail": trial.verdict.detail,
        "cost": _cost(trial, limits),
        "records": [] if trial.parsed is None else trial.parsed.records,
        "next_cursor": None if trial.parsed is None else trial.parsed.next_cursor,
    }
    return shown | ({"body": _text(trial)} if body else {})


def _show(trial: Trial, limits: Sequence[Limit], body: bool) -> None:
    exchange, answer = trial.attempt.exchange, trial.attempt.answer
    lines: list[tuple[str, str]] = []
    if trial.attempt.made:
        lines.append(("request", f"{exchange.method} {exchange.url}"))
        lines += [("", f"{name}: {value}") for name, value in trial.headers.items()]
        lines.append(
            (
                "answer",
                "none" if answer is None else f"HTTP {answer.status}, {len(answer.body):,} bytes, {exchange.ms:.0f} ms",
            )
        )
    said = f" ({trial.verdict.code})" if trial.verdict.code else ""
    lines.append(("verdict", f"{trial.verdict.outcome}{said} {trial.verdict.detail}".rstrip()))
    if trial.parsed is not None:
        more = "" if trial.parsed.next_cursor is None else ", and there is another page"
        lines.append(("read", f"{len(trial.parsed.records)} records{more}"))
    lines.append(("cost", _cost(trial, limits)))
    for name, value in lines:
        say(printable(f"{name:<8} {value}"), whole=True)
    if trial.parsed is not None and trial.parsed.records:
        show_json(trial.parsed.records[:MOST_SHOWN])
    if body:
        show_document((_text(trial) or "")[:MOST_BODY])


def _text(trial: Trial) -> str | None:
    return None if trial.body is None else trial.body.decode("utf-8", "replace")
