"""`beat held`: records that have to be confirmed before they are written."""

from collections.abc import Mapping
from typing import Any

from cyclopts import App

from beat_actors.cli.names import AnyPlatform
from beat_actors.cli.operators import ask
from beat_actors.cli.operators.held import There
from beat_actors.cli.output import TABLE, Flag, Shape, say, show_json, show_list
from beat_actors.holds.operators import HeldView

app = App(name="held", help="List records that have to be confirmed before they are written; accept or reject one.")


@app.default
def list_held(*, state: str | None = None, platform: AnyPlatform = None, limit: int = 50, shape: Shape = TABLE) -> None:
    """List held records, those that wait for a person first.

    Parameters
    ----------
    state
        asking, waiting, person, accepted or rejected. The default is all that are not decided.
    limit
        How many, at most 1,000.
    """
    show_list(
        ask(There, lambda beat: beat.held(state, platform, limit)),
        ("id", "state", "what", "source", "served", "held", "since", "next", "why"),
        lambda one: (
            one.id,
            one.state,
            f"{one.platform} {one.kind} {one.key}",
            one.source,
            values(one.known),
            values(one.says),
            one.held_at,
            one.next_at or "",
            one.why or ", ".join(str(reason.get("rule")) for reason in one.reasons),
        ),
        shape,
        prose=("what", "why"),
        empty="no record is held",
    )


app.command(list_held, name="list")


@app.command
def show(held: int, /) -> None:
    """Show one held record with the served values, the held ones, and what other sources say, as JSON.

    Parameters
    ----------
    held
        Its id, as the list has it.
    """
    show_json(ask(There, lambda beat: beat.one(held)))


@app.command
def accept(held: int, /, *, reason: str, json: Flag = False) -> None:
    """Accept a held record: it is written, with the time of its answer.

    Parameters
    ----------
    held
        Its id, as the list has it.
    json
        Print the record as JSON.
    """
    _decided(ask(There, lambda beat: beat.decide(held, accept=True, reason=reason)), json=json)


@app.command
def reject(held: int, /, *, reason: str, json: Flag = False) -> None:
    """Reject a held record: the values that are served stay.

    Parameters
    ----------
    held
        Its id, as the list has it.
    json
        Print the record as JSON.
    """
    _decided(ask(There, lambda beat: beat.decide(held, accept=False, reason=reason)), json=json)


def _decided(one: HeldView, *, json: bool) -> None:
    if json:
        show_json(one)
    else:
        say(f"{one.platform} {one.kind} {one.key}: {one.state}; {values(one.says)} instead of {values(one.known)}")


def values(told: Mapping[str, Any]) -> str:
    """The values of the held fields."""
    return " ".join(f"{name}={told[name]}" for name in sorted(told)) or "-"
