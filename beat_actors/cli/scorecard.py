"""`beat scorecard`: how well each source serves each operation."""

from beat_actors.cli.names import AnyPlatform
from beat_actors.cli.operators import ask
from beat_actors.cli.operators.scorecard import There
from beat_actors.cli.output import Flag, say, show_json, show_rows


def scorecard(*, weeks: int = 1, platform: AnyPlatform = None, json: Flag = False) -> None:
    """Show how well each source served each operation, by week, and in which order a chain would cost fewer calls.

    success: calls that were answered, or that said that there is nothing. filled: optional fields of records that were told. unread: answers that no parser
    could read. refuted: records of which another source said what was known before. calls/1000: calls for a thousand records.

    Parameters
    ----------
    weeks
        How many weeks, this one included; at most 53.
    """
    found = ask(There, lambda beat: beat.scorecard(weeks, platform))
    if json:
        show_json(found)
        return
    show_rows(
        ("week", "operation", "source", "calls", "success", "unread", "filled", "refuted", "p95 ms", "calls/1000"),
        [
            (
                f"{one.week}",
                one.operation,
                one.source,
                one.calls,
                _share(one.success),
                _share(one.malformed),
                _share(one.completeness),
                _share(one.disagreement),
                "" if one.p95_ms is None else f"{one.p95_ms:.0f}",
                "" if one.calls_per_1000_records is None else f"{one.calls_per_1000_records:.0f}",
            )
            for one in found.scores
        ],
        spare=("week", "calls/1000", "unread", "refuted"),
        empty="no source was called in these weeks",
    )
    for one in found.advice:
        if one.suggested is not None and one.gain is not None:
            order = ", ".join(one.suggested)
            say(
                f"{one.platform} {one.operation}: the order {order} would take {one.gain:.0%} fewer calls than {', '.join(one.chain)}"
            )


def _share(part: float | None) -> str:
    return "" if part is None else f"{part:.1%}"
