"""`beat sources`, `beat flows` and `beat alerts`: circuit breakers, concurrency, open alerts."""

from typing import Annotated

from cyclopts import App, Parameter
from msgspec import UNSET

from beat_actors import alerts as alert_rows
from beat_actors.alerts import AlertView
from beat_actors.broker import flows as flow_rows
from beat_actors.broker import sources as source_rows
from beat_actors.broker.flows import FlowView, Number
from beat_actors.broker.sources import SourceView
from beat_actors.cli.output import say, show_json, show_rows
from beat_actors.cli.session import Session, run, who
from beat_actors.credentials.manager import source_named

Json = Annotated[bool, Parameter(negative="")]

sources = App(name="sources", help="Sources and their breakers: who is out, and hands to open and close.")
flows = App(
    name="flows", help="Flows: how many of their calls may be out at once; hands to change that, to pause and resume."
)
alerts = App(name="alerts", help="What somebody should know, and the one safe thing to do.")


@sources.default
def list_sources(source: str | None = None, *, json: Json = False) -> None:
    """List sources: usable credentials, calls in flight, breakers that are not closed.

    Parameters
    ----------
    source
        Only this one.
    """

    async def work(session: Session) -> list[SourceView]:
        return await source_rows.overview(session.engine.database, source)

    found = run(work)
    if json:
        show_json(found)
        return
    show_rows(
        ("platform", "source", "usable", "of", "dead", "out", "breakers"),
        [(s.platform, s.source, s.usable, s.credentials, s.dead, s.in_flight, _breakers(s)) for s in found],
    )


@sources.command(name="open")
def open_(source: str, /, *, reason: str, operation: str | None = None, seconds: float = 3600.0) -> None:
    """Send nothing more to a source for so long; calls that are out end, and its work goes to the next source.

    Parameters
    ----------
    operation
        Only this one of its operations.
    seconds
        Up to a week; then one probe decides.
    """

    async def work(session: Session) -> list[str]:
        database = session.engine.database
        return await source_rows.open_breaker(database, source, operation, seconds=seconds, actor=who(), reason=reason)

    say(f"{source} is left alone for {seconds:,.0f} s: {', '.join(run(work))}")


@sources.command
def close(source: str, /, *, reason: str, operation: str | None = None) -> None:
    """Ask a source again at once, as if nothing had been."""

    async def work(session: Session) -> list[str]:
        closed = await source_rows.close_breaker(session.engine.database, source, operation, actor=who(), reason=reason)
        await session.wake(source_named(source)[0])
        return closed

    say(f"{source} is asked again: {', '.join(run(work))}")


@flows.default
def list_flows(*, platform: str | None = None, json: Json = False) -> None:
    """List every flow: calls that are out, how many may be, fetches that are ready and wait."""

    async def work(session: Session) -> list[FlowView]:
        return await flow_rows.overview(session.engine.database, platform=platform)

    found = run(work)
    if json:
        show_json(found)
        return
    show_rows(
        ("platform", "flow", "out", "of", "workers", "concurrency", "waiting", "for", "state"),
        [
            (f.platform, f.flow, f.out, f.limit, f.workers, f.concurrency, f.waiting, _since(f.waiting_for), _state(f))
            for f in found
        ],
    )


@flows.command(name="set")
def set_flow(
    flow: str,
    /,
    *,
    reason: str,
    workers: int | None = None,
    concurrency: int | None = None,
    platform: str | None = None,
) -> None:
    """Let workers x concurrency calls of a flow be out at once, from now on; calls that are out end.

    Parameters
    ----------
    platform
        Needed where several have a flow of that name.
    """
    _change(
        flow,
        platform,
        reason,
        workers=UNSET if workers is None else workers,
        concurrency=UNSET if concurrency is None else concurrency,
    )


@flows.command(name="reset")
def reset_flow(flow: str, /, *, reason: str, platform: str | None = None) -> None:
    """Go back to the workers and the concurrency that a flow declares."""
    _change(flow, platform, reason, workers=None, concurrency=None)


@flows.command
def pause(flow: str, /, *, reason: str, platform: str | None = None) -> None:
    """Let a flow wait: nothing more of it is called until it is resumed; calls that are out end."""
    _change(flow, platform, reason, paused=True)


@flows.command
def resume(flow: str, /, *, reason: str, platform: str | None = None) -> None:
    """Let a paused flow go on."""
    _change(flow, platform, reason, paused=False)


def _change(
    flow: str,
    platform: str | None,
    reason: str,
    *,
    workers: Number = UNSET,
    concurrency: Number = UNSET,
    paused: bool | None = None,
) -> None:
    async def work(session: Session) -> FlowView:
        view = await flow_rows.change(
            session.engine.database,
            flow,
            platform,
            workers=workers,
            concurrency=concurrency,
            paused=paused,
            actor=who(),
            reason=reason,
        )
        await session.wake(view.platform)
        return view

    view = run(work)
    runs = "is paused" if view.paused else "runs"
    say(
        f"{view.platform} {view.flow} {runs}: {view.workers} x {view.concurrency} = {view.limit} calls may be out at once"
    )


def _since(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def _state(flow: FlowView) -> str:
    if flow.paused:
        return "paused"
    declared = (flow.declared_workers, flow.declared_concurrency)
    return "" if (flow.workers, flow.concurrency) == declared else f"declared {declared[0]} x {declared[1]}"


@alerts.default
def list_alerts(*, resolved: bool = False, json: Json = False) -> None:
    """List the open alerts, the gravest first: what is wrong, whom it touches, what happens by itself, what to do.

    Parameters
    ----------
    resolved
        Those that are over, too.
    """

    async def work(session: Session) -> list[AlertView]:
        async with session.engine.database.transaction() as transaction:
            return await alert_rows.list_alerts(transaction, resolved=resolved)

    found = run(work)
    if json:
        show_json(found)
        return
    show_rows(
        ("id", "severity", "since (UTC)", "what", "whom it touches", "by itself", "what to do"),
        [
            (a.id, _severity(a), f"{a.opened_at:%Y-%m-%d %H:%M:%S}", a.cause, a.impact, a.automatic, a.action)
            for a in found
        ],
        empty="nothing is wrong",
    )


@alerts.command
def silence(alert: int, /, *, reason: str, undo: Annotated[bool, Parameter(negative="")] = False) -> None:
    """Tell nobody of an alert any more; it stays on the list until its cause is gone.

    Parameters
    ----------
    undo
        Tell of it again.
    """

    async def work(session: Session) -> str:
        async with session.engine.database.transaction() as transaction:
            return await alert_rows.silence(transaction, alert, silenced=not undo, actor=who(), reason=reason)

    say(f"{run(work)} is {'told of again' if undo else 'silenced'}")


def _breakers(source: SourceView) -> str:
    told = (
        f"{b.operation}{f' of {b.owner}' if b.owner else ''} {b.state}"
        + (f" until {b.open_until:%H:%M:%S}" if b.open_until else "")
        for b in source.breakers
        if b.state != "closed"
    )
    return ", ".join(told)


def _severity(alert: AlertView) -> str:
    over = "over" if alert.resolved_at else alert.severity
    return f"{over}, silenced" if alert.silenced else over
