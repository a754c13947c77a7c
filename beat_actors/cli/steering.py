"""`beat sources` and `beat flows`: circuit breakers and concurrency."""

from cyclopts import App
from msgspec import UNSET

from beat_actors.broker.flows import FlowView, Number
from beat_actors.broker.sources import SourceView
from beat_actors.cli.names import AnyPlatform, AnySource, FlowName, SourceName
from beat_actors.cli.operators import ask, steering
from beat_actors.cli.output import TABLE, Shape, say, show_list, since
from beat_actors.moments import moment

sources = App(name="sources", help="List providers and their circuit breakers; pause or resume their calls.")
flows = App(name="flows", help="List flows and their concurrency limits; change, pause, resume.")


@sources.default
def list_sources(source: AnySource = None, *, shape: Shape = TABLE) -> None:
    """List providers: usable credentials, calls in flight, circuit breakers that are not closed.

    Parameters
    ----------
    source
        Only this one.
    """
    found = ask(steering.There, lambda beat: beat.sources(source))
    show_list(
        found,
        ("platform", "source", "usable", "total", "dead", "in flight", "breakers"),
        lambda s: (s.platform, s.source, s.usable, s.credentials, s.dead, s.in_flight, _breakers(s)),
        shape,
        prose=("breakers",),
        spare=("dead", "in flight"),
    )


@sources.command(name=["pause", "open"])
def pause_source(source: SourceName, /, *, reason: str, operation: str | None = None, seconds: float = 3600.0) -> None:
    """Pause a provider: open its circuit breaker, so that no more calls are sent. Calls in flight finish; work goes to the next source.

    Parameters
    ----------
    reason
        Kept in the audit log.
    operation
        Only this one of its operations.
    seconds
        How long, up to a week; then one probe call decides.
    """
    paused = ask(steering.There, lambda beat: beat.open_breaker(source, operation, seconds, reason=reason))
    say(f"{source} is paused for {seconds:,.0f} s: {', '.join(paused)}")


@sources.command(name=["resume", "close"])
def resume_source(source: SourceName, /, *, reason: str, operation: str | None = None) -> None:
    """Resume a provider: close its circuit breaker, so that calls are sent again at once.

    Parameters
    ----------
    reason
        Kept in the audit log.
    operation
        Only this one of its operations.
    """
    resumed = ask(steering.There, lambda beat: beat.close_breaker(source, operation, reason=reason))
    say(f"{source} is called again: {', '.join(resumed)}")


@sources.command
def distrust(
    source: SourceName, /, *, reason: str, operation: str | None = None, parser_version: int | None = None
) -> None:
    """Use the answers of a provider no more, because they are wrong: open its data breaker. No calls are sent; work goes to the next source.

    It lasts until `beat sources trust`, or until another version of the parser is used.

    Parameters
    ----------
    reason
        Kept in the audit log.
    operation
        Only this one of its operations.
    parser_version
        Only answers that this version of the operation's parser reads; the one in use if not given.
    """
    stopped = ask(steering.There, lambda beat: beat.open_data_breaker(source, operation, parser_version, reason=reason))
    say(f"the answers of {source} are not used: {', '.join(stopped)}")


@sources.command
def trust(
    source: SourceName, /, *, reason: str, operation: str | None = None, parser_version: int | None = None
) -> None:
    """Use the answers of a provider again: close its data breakers. Those that Beat opened are closed too.

    Parameters
    ----------
    reason
        Kept in the audit log.
    operation
        Only this one of its operations.
    parser_version
        Only answers that this version of the operation's parser reads; all versions if not given.
    """
    trusted = ask(
        steering.There, lambda beat: beat.close_data_breaker(source, operation, parser_version, reason=reason)
    )
    say(f"the answers of {source} are used again: {', '.join(trusted)}")


@flows.default
def list_flows(*, platform: AnyPlatform = None, shape: Shape = TABLE) -> None:
    """List flows: calls in flight, their limit, fetches that are ready and wait.

    Parameters
    ----------
    platform
        Only those of this platform.
    """
    if platform is not None:
        _check_platform(platform)
    show_list(
        ask(steering.There, lambda beat: beat.flows(platform)),
        ("platform", "flow", "in flight", "limit", "workers", "concurrency", "waiting", "for", "state"),
        lambda f: (f.platform, f.flow, f.out, f.limit, f.workers, f.concurrency, f.waiting, since(f.waiting_for), _state(f)),
        shape,
        spare=("workers", "concurrency", "for"),
    )  # fmt: skip


@flows.command(name="set")
def set_flow(
    flow: FlowName,
    /,
    *,
    reason: str,
    workers: int | None = None,
    concurrency: int | None = None,
    platform: AnyPlatform = None,
) -> None:
    """Set the limit of a flow: workers x concurrency calls may be in flight at once. Calls in flight finish.

    Parameters
    ----------
    reason
        Kept in the audit log.
    platform
        Needed where several platforms have a flow of that name.
    """
    _change(
        flow,
        platform,
        reason,
        workers=UNSET if workers is None else workers,
        concurrency=UNSET if concurrency is None else concurrency,
    )


@flows.command(name="reset")
def reset_flow(flow: FlowName, /, *, reason: str, platform: AnyPlatform = None) -> None:
    """Go back to the workers and the concurrency that a flow declares.

    Parameters
    ----------
    platform
        Needed where several platforms have a flow of that name.
    """
    _change(flow, platform, reason, workers=None, concurrency=None)


@flows.command
def pause(flow: FlowName, /, *, reason: str, platform: AnyPlatform = None) -> None:
    """Pause a flow: no more of its calls are sent until it is resumed. Calls in flight finish.

    Parameters
    ----------
    platform
        Needed where several platforms have a flow of that name.
    """
    _change(flow, platform, reason, paused=True)


@flows.command
def resume(flow: FlowName, /, *, reason: str, platform: AnyPlatform = None) -> None:
    """Resume a paused flow.

    Parameters
    ----------
    platform
        Needed where several platforms have a flow of that name.
    """
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
    view = ask(
        steering.There,
        lambda beat: beat.change_flow(
            flow, platform, workers=workers, concurrency=concurrency, paused=paused, reason=reason
        ),
    )
    product = f"{view.workers} x {view.concurrency} = {view.limit} concurrent calls"
    state = f"paused (limit when resumed: {product})" if view.paused else f"running, limit {product}"
    say(f"{view.platform} {view.flow}: {state}")


def _check_platform(platform: str) -> None:
    """Raises `UnknownPlatform`."""
    from beat_actors.broker.flows import check_platform

    check_platform(platform)


def _breakers(source: SourceView) -> str:
    """Those that are not closed, in groups of one state."""
    found: dict[str, list[str]] = {}
    for one in source.breakers:
        if one.state != "closed":
            until = f" until {moment(one.open_until)}" if one.open_until else ""
            state = f"{one.state}{' by hand' if one.by_hand else ''}{until}"
            of = f" of {one.owner}" if one.owner else ""
            data = f" (data, parser version {one.parser_version})" if one.kind == "data" else ""
            found.setdefault(state, []).append(f"{one.operation}{of}{data}")
    return "; ".join(f"{state}: {', '.join(operations)}" for state, operations in found.items())


def _state(flow: FlowView) -> str:
    if flow.paused:
        return "paused"
    declared = (flow.declared_workers, flow.declared_concurrency)
    return "" if (flow.workers, flow.concurrency) == declared else f"declared {declared[0]} x {declared[1]}"
