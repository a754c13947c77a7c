"""`beat simulator`: simulated providers and their faults."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Annotated, TypeVar

from cyclopts import App, Parameter

from beat_actors.cli.names import KindOfFault, SourceName
from beat_actors.cli.output import say, show_json, show_rows
from beat_actors.cli.session import settings_in_force
from beat_actors.errors import BadSettings, UnknownName
from beat_actors.simulator.client import SimulatorClient
from beat_actors.simulator.config import SimulatorConfig
from beat_actors.simulator.faults import FaultKind
from beat_actors.simulator.server import run as serve

T = TypeVar("T")
KINDS = ("malformed", *FaultKind)
app = App(name="simulator", help="Simulated providers: run them, read their ledger, inject faults.")


@app.command
def run(
    *,
    host: str = "127.0.0.1",
    port: int = 8090,
    profiles: int = 1000,
    seed: int = 1,
    latency_ms: float = 0.0,
    limits: bool = True,
) -> None:
    """Run a simulator in the foreground."""
    config = SimulatorConfig(profiles=profiles, seed=seed, latency_seconds=latency_ms / 1000, limits=limits)
    serve(config, host=host, port=port, ready=lambda url: say(f"the providers answer at {url}; Ctrl-C stops them"))


@app.command
def fault(
    kind: KindOfFault,
    source: SourceName,
    /,
    *,
    operation: str | None = None,
    credential: str | None = None,
    rate: float | None = None,
    seconds: float | None = None,
    status: int | None = None,
    delay: float | None = None,
    retry_after: float | None = None,
    body: str | None = None,
    days: float | None = None,
    seed: int | None = None,
) -> None:
    """Inject a fault into simulated providers.

    Parameters
    ----------
    kind
        outage, timeout, hang, reset, rate_limit, quota, revoked, slow, missing_key (or malformed), wrong_type, html, truncated, wrong_user,
        unstorable, huge, nested, corrupt, gigabyte, gzip_bomb, redirect, slow_loris
    source
        A source of any platform, such as graphapi, media for the hosts of pictures, or * for all; `beat sources` lists the sources.
    operation
        One operation of the source; of media: avatar, picture or video.
    credential
        Only this one, by its fingerprint in the ledger.
    rate
        The share of calls that suffer, 0 to 1.
    seconds
        How long it lasts; until cleared if not given.
    body
        Of corrupt: zero, negative, thousandfold, thousandth, digit, swapped, subset, int32, three, stale, other, identity. Of outage: html, json.
    days
        How old stale numbers are; 1 if not given.
    seed
        Whether a call suffers depends on this number and on what the call asks for. The same call is always answered in the same way.
    """
    if kind not in KINDS:
        raise UnknownName(f"no fault kind {kind!r}; there is: {', '.join(KINDS)}", field="kind")
    given = {
        "operation": operation,
        "credential": credential,
        "rate": rate,
        "seconds": seconds,
        "status": status,
        "delay": delay,
        "retry_after": retry_after,
        "body": body,
        "days": days,
        "seed": seed,
    }
    added = _ask(lambda client: client.add_fault(kind, source, **{k: v for k, v in given.items() if v is not None}))
    lasts = f"for {seconds:g} s" if seconds is not None else "until `beat simulator clear`"
    say(f"fault {added.id}: {kind} at {source} {lasts}")


@app.command
def faults(*, json: Annotated[bool, Parameter(negative="")] = False) -> None:
    """List the active faults."""
    found = _ask(lambda client: client.faults())
    if json:
        show_json(found)
        return
    rows = [(f.id, f.kind.value, f.fault.source, f.fault.operation, f.hits, f.expires_in) for f in found]
    show_rows(("id", "kind", "source", "operation", "hits", "seconds left"), rows, empty="every provider is healthy")


@app.command
def clear() -> None:
    """Remove all faults."""
    _ask(lambda client: client.clear_faults())
    say("every provider is healthy")


@app.command
def ledger(*, json: Annotated[bool, Parameter(negative="")] = False) -> None:
    """Show the calls that the simulator received, by source."""
    found = _ask(lambda client: client.ledger())
    if json:
        show_json(found)
        return
    rows = [(name, s["calls"], s["ok"], s["over_limit"]) for name, s in sorted(found["by_source"].items())]
    show_rows(("source", "calls", "ok", "over limit"), rows, empty="no call yet")


@app.command
def happen(
    kind: str,
    /,
    *,
    handle: str | None = None,
    share: float | None = None,
    size: float | None = None,
    to: str | None = None,
) -> None:
    """Let something true happen to the simulated people. It lasts until the simulator is reset or ends.

    Parameters
    ----------
    kind
        purge, viral, rename, recycle, hide_likes, unverify
    handle
        The one whom it happens to; a rename and a recycled handle need it.
    share
        The share of all people whom it happens to, if no handle is given; 1 if not given.
    size
        Of a purge the mean share of the followers that goes; of a viral day how many times as many there are.
    to
        The new handle after a rename.
    """
    given = {"share": share, "size": size, "to": to}
    _ask(lambda client: client.let_happen(kind, handle, **{k: v for k, v in given.items() if v is not None}))
    say(f"{kind}: {handle or 'a share of all'}")


@app.command
def media(
    *, life: float | None = None, ahead: float | None = None, json: Annotated[bool, Parameter(negative="")] = False
) -> None:
    """Show what the simulated hosts of pictures were asked for, and set when media URLs expire.

    Parameters
    ----------
    life
        Seconds for which media URLs are good from now on; 0 is some five days.
    ahead
        Seconds that the clock of these hosts is put on; URLs from before expire.
    """
    if life is not None or ahead is not None:
        _ask(lambda client: client.set_media(life=life, ahead=ahead))
    found = _ask(lambda client: client.media(pictures=json))
    if json:
        show_json(found)
        return
    rows = [(status, count) for status, count in sorted(found["statuses"].items())]
    show_rows(("status", "answers"), rows, empty="no picture was asked for yet")
    say(f"{found['fetches']} downloads of {found['pictures']} pictures, at most {found['most']} of one")


def _ask(question: Callable[[SimulatorClient], Awaitable[T]]) -> T:
    url = settings_in_force().simulator_url
    if url is None:
        raise BadSettings("BEAT_SIMULATOR_URL is not set: calls go to the real providers")

    async def ask() -> T:
        async with SimulatorClient(url) as client:
            return await question(client)

    answer: T = asyncio.run(ask())
    return answer
