"""`beat parsers`: the versions of parsers, and what the parser of this checkout would read differently."""

from cyclopts import App

from beat_actors.cli.names import SourceName
from beat_actors.cli.output import FAILED, TABLE, Flag, Shape, say, show_json, show_list, show_rows, tell
from beat_actors.cli.session import Session, run
from beat_actors.moments import moment
from beat_actors.parsers.comparison import BEYOND, Change
from beat_actors.parsers.diff import Difference
from beat_actors.parsers.diff import diff as difference
from beat_actors.parsers.shadow import Shadow, follow
from beat_actors.parsers.versions import ParserVersions, versions

MOST_WIDE = 60
"""Characters of a value in an example."""
app = App(
    name="parsers",
    help="Parsers: list their versions; show what this checkout reads differently of what is stored, or of what comes.",
)


@app.default
@app.command(name="list")
def list_parsers(*, shape: Shape = TABLE) -> None:
    """List the parsers of this checkout with their versions, and the versions that read what was stored within a day.

    `next`: the version of the next parser, which reads the share of the answers that BEAT_PARSER_CANARY says, or since when it is stopped and why.
    """

    async def work(session: Session) -> list[ParserVersions]:
        return await versions(session.database)

    show_list(
        run(work, sends=False),
        ("platform", "source", "operation", "version", "next", "stored within a day"),
        lambda p: (
            p.platform,
            p.source,
            p.operation,
            p.version if p.version is not None else "none",
            _next(p),
            _stored(p),
        ),
        shape,
        prose=("next", "stored within a day"),
        spare=("platform",),
    )


@app.command
def diff(
    source: SourceName,
    operation: str,
    /,
    *,
    last: int = 1_000,
    threshold: float = 0.005,
    examples: bool = True,
    json: Flag = False,
) -> int:
    """Read stored payloads with the parser of this checkout, and show what differs from what was stored of them.

    No provider is called, and nothing is written. Exits with 1 if a record is lost, or if more records than the threshold allows change a metric
    by more than 1 % or lose one. Reads the database and the bucket itself, so it does not work over the API.

    Parameters
    ----------
    source
        A source of any platform, such as graphapi.
    operation
        An operation of the source, as `beat parsers` lists it.
    last
        How many payloads, the newest first; at most 1,000,000.
    threshold
        The share of records, from 0 to 1.
    examples
        Show values and keys of records; these may be personal data.
    json
        As a JSON object.
    """

    async def work(session: Session) -> Difference:
        return await difference(session.database, source, operation, last=last, threshold=threshold)

    return _told(run(work, sends=False), examples=examples, json=json)


@app.command(name="shadow")
def run_shadow(
    source: SourceName,
    operation: str,
    /,
    *,
    minutes: float = 60.0,
    every: float = 60.0,
    most: int = 1_000,
    threshold: float = 0.005,
    examples: bool = True,
    json: Flag = False,
) -> int:
    """Read what providers answer now with the parser of this checkout, beside the deployed one, and show what differs at the end.

    Workers are not involved. No provider is called, and nothing is written. Ctrl-C ends it early and shows what was found. Exit codes are those of
    `beat parsers diff`. Reads the database itself, so it does not work over the API.

    Parameters
    ----------
    source
        A source of any platform, such as graphapi.
    operation
        An operation of the source, as `beat parsers` lists it.
    minutes
        How long, up to a week.
    every
        Seconds between two looks, 1 to 3,600. A look reads the log rows of the day, so a short interval costs PostgreSQL more.
    most
        How many payloads are compared in one look, the newest first; at most 20,000.
    threshold
        The share of records, from 0 to 1.
    examples
        Show values and keys of records; these may be personal data.
    json
        As a JSON object.
    """

    async def work(session: Session) -> Difference:
        beside = Shadow(session.database, source, operation, most=most)
        return await follow(beside, seconds=60 * minutes, every=every, threshold=threshold, told=_progress)

    return _told(run(work, sends=False), examples=examples, json=json)


def _told(found: Difference, *, examples: bool, json: bool) -> int:
    """Show what differs; the exit code."""
    if not examples:
        found = without_examples(found)
    if json:
        show_json(found)
    else:
        _show(found)
    return FAILED if found.exceeded else 0


def _progress(beside: Shadow) -> None:
    trouble = "" if beside.trouble is None else f"; the last look failed: {beside.trouble}"
    tell(f"{beside.payloads:,} payloads compared{trouble}")


def without_examples(found: Difference) -> Difference:
    """The same without values and keys of records."""
    from msgspec.structs import replace

    fields = [replace(change, examples=[]) for change in found.fields]
    return replace(found, fields=fields, lost_examples=[], gained_examples=[])


def _show(found: Difference) -> None:
    stored_by = ", ".join(f"{'none' if by.version is None else by.version} ({by.payloads:,})" for by in found.stored_by)
    period = f"from {moment(found.since)} to {moment(found.until)}" if found.since and found.until else ""
    say(f"{found.source} {found.operation}: version {found.version} of this checkout reads {found.payloads:,} payloads")
    say(f"{period}; stored by version {stored_by or 'none'}")
    say(f"records: {found.equal:,} equal, {found.changed:,} changed, {found.lost:,} lost, {found.gained:,} gained")
    if found.not_logged:
        say(f"{found.not_logged:,} records have no log and are not compared")
    if found.failed_before:
        say(f"{found.readable_now:,} of {found.failed_before:,} payloads of failed fetches can be read")
    if found.unreadable:
        say(f"{found.unreadable:,} payloads cannot be read any more")
    if found.unavailable:
        say(f"{found.unavailable:,} payloads could not be had and are not compared")
    if found.fields:
        show_rows(
            ("field", "changed", "added", "removed", "share", "largest"),
            [(c.field, c.changed, c.added, c.removed, f"{c.share:.2%}", _largest(c)) for c in found.fields],
            header=True,
        )
    examples = [(c.field, e.key, _brief(e.before), _brief(e.after)) for c in found.fields for e in c.examples]
    examples += [("lost", key, "", "") for key in found.lost_examples]
    examples += [("gained", key, "", "") for key in found.gained_examples]
    if examples:
        show_rows(("example", "key", "before", "after"), examples, prose=("before", "after"), header=True)
    if found.reasons:
        show_rows(
            ("count", "fetch", "not read because"),
            [(why.count, str(why.fetch), why.reason) for why in found.reasons],
            prose=("not read because",),
            header=True,
        )
    say(_verdict(found))


def _verdict(found: Difference) -> str:
    share = f"{found.beyond:,} of {found.records:,} stored records ({found.share_beyond:.2%}) change a metric by more than {BEYOND:.0%} or lose one"
    allowed = f"the threshold is {found.threshold:.2%}"
    if found.exceeded:
        lost = f"{found.lost:,} stored records are lost; " if found.lost else ""
        return f"NOT PASSED: {lost}{share}; {allowed}"
    if not (found.changed or found.lost or found.gained):
        return "passed: no record differs"
    return f"passed: no stored record is lost; {share}; {allowed}"


def _largest(change: Change) -> str:
    return "" if change.largest is None else f"{change.largest:,.2%}"


def _brief(value: object) -> str:
    text = "unknown" if value is None else str(value)
    return text if len(text) <= MOST_WIDE else f"{text[:MOST_WIDE]}…"


def _next(parser: ParserVersions) -> str:
    """The version of the next parser, and since when and why it reads nothing more."""
    if parser.following is None:
        return ""
    if parser.stopped_since is None:
        return str(parser.following)
    return f"{parser.following}, stopped {moment(parser.stopped_since)}: {parser.stopped_why}"


def _stored(parser: ParserVersions) -> str:
    return ", ".join(f"{'none' if seen.version is None else seen.version} ({seen.answers:,})" for seen in parser.stored)
