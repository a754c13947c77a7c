"""`beat snapshot`: stored answers without personal data, from production to staging."""

from datetime import UTC, datetime
from pathlib import Path

from cyclopts import App

from beat_actors.cli.names import AnySource
from beat_actors.cli.output import Flag, say, show_json, show_rows
from beat_actors.cli.session import Session, run
from beat_actors.snapshots.exporting import Exported, export
from beat_actors.snapshots.importing import Imported, import_

app = App(name="snapshot", help="Export stored answers without personal data; import them into an empty installation.")


@app.command(name="export")
def export_answers(path: Path, /, *, last: int = 100, source: AnySource = None, json: Flag = False) -> None:
    """Write the newest stored answers into a file, with words and ids replaced, so that another installation can read them.

    Counts, times and the form of texts stay. An answer that the parser does not read any more after that is left out, and so are answers to
    owners' credentials. It reads the database itself, so it does not work over the API.

    Parameters
    ----------
    path
        The file, which must not exist.
    last
        How many answers of each operation of each source.
    source
        Only those of this source.
    json
        As a JSON array.
    """

    async def work(session: Session) -> list[Exported]:
        return await export(session.database, path, last=last, source=source, now=datetime.now(UTC))

    found = run(work, sends=False)
    if json:
        show_json(found)
        return
    if found:
        rows = [(e.source, e.operation, e.answers, e.left_out) for e in found]
        show_rows(("source", "operation", "answers", "left out"), rows, header=True)
    say(f"{sum(e.answers for e in found):,} answers are in {path}")


@app.command(name="import")
def import_answers(path: Path, /, *, json: Flag = False) -> None:
    """Fill an installation that has no fetches yet from such a file, for example to run `beat parsers diff` there.

    Parameters
    ----------
    path
        The file.
    json
        As a JSON object.
    """

    async def work(session: Session) -> Imported:
        return await import_(session.database, path)

    found = run(work, sends=False)
    if json:
        show_json(found)
        return
    say(f"{found.answers:,} answers with {found.records:,} records were written")
    if found.unknown:
        say(f"{found.unknown:,} answers are of platforms or operations that are not installed here, and were left out")
