"""`beat brief`: what is wrong now and why, on one page, or the timeline of a span of time."""

import re
import sys
from datetime import UTC, datetime

from beat_actors.cli.operators import ask, is_remote, watching
from beat_actors.cli.output import UNAVAILABLE, Flag, Lines, out, say, show_json
from beat_actors.errors import BadInput
from beat_actors.observe.markdown import markdown
from beat_actors.observe.page import Affected, Brief, Trouble
from beat_actors.observe.words import command_in

SIGN = re.compile(r"#+ |- |\d+\. ")
"""What a heading or an item of a list begins with."""
OF_THE_API = "ask on a host of the installation: `beat doctor` checks every dependency"
OF_POSTGRESQL = "start PostgreSQL, or check that BEAT_DATABASE_URL reaches it: `beat doctor`"


def brief(*, since: datetime | None = None, until: datetime | None = None, json: Flag = False) -> int:
    """Tell what is wrong now, as Markdown on one page: since when, why, who is affected, what Beat does, what happens next, the safe action.

    The root cause comes first. If nothing is wrong, it is one line. Exits with 3 where Beat cannot be asked; the page then says so.

    Parameters
    ----------
    since
        The timeline from this time on instead: alerts, breakers, deployments, operators' actions, throughput. In UTC where it names no zone.
    until
        The end of the timeline; now if it is not given.
    json
        As one JSON document.
    """
    if until is not None and since is None:
        raise BadInput("--until needs --since", field="since")
    code = 0
    try:
        page = ask(watching.There, lambda beat: beat.brief(_utc(since), _utc(until)))
    except Exception as error:
        from beat_actors.cli import failures  # imports every driver

        if failures.exit_code(error) != UNAVAILABLE:
            raise
        page, code = unasked(failures.sentence(error), over_api=is_remote()), UNAVAILABLE
    if json:
        show_json(page)
    else:
        _show(markdown(page))
    return code


def _show(page: str) -> None:
    """As it stands where it is piped, so that it can be pasted. On a terminal lines end between words, and commands stay whole."""
    if not sys.stdout.isatty():
        sys.stdout.write(page)
        return
    for line in page.splitlines():
        sign = SIGN.match(line)
        say("\n".join(Lines(out.width, len(sign[0]) if sign else 0).wrap(line)), whole=True)


def unasked(said: str, *, over_api: bool) -> Brief:
    """The page where nobody can be asked: that is the first problem, and what else is wrong is not known."""
    what = "the API" if over_api else "PostgreSQL"
    action = OF_THE_API if over_api else OF_POSTGRESQL
    problem = Trouble(
        key="api:away" if over_api else "database:away",
        severity="critical",
        since=None,
        silenced=False,
        cause=said,
        impact="whether other things are wrong is not known"
        if over_api
        else "requests are not accepted (503) and no work is done; nothing that was accepted is lost",
        affected=Affected(counted=False, sentence="everybody, if this host is not the only one that has no connection"),
        automatic="nothing is known" if over_api else "every process connects again by itself, and the work continues",
        next="no time is known",
        next_at=None,
        action=action,
        command=command_in(action),
        parts=[],
    )
    return Brief(at=datetime.now(UTC), status="blind", sentence=f"{what} does not answer", problems=[problem])


def _utc(at: datetime | None) -> datetime | None:
    return at if at is None or at.tzinfo else at.replace(tzinfo=UTC)
