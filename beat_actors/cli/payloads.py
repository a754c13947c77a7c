"""`beat payloads`: where raw payloads are, what was answered to a fetch, and erasing what a request's fetches were answered."""

from cyclopts import App

from beat_actors.cli.output import TABLE, Shape, say, show_document, show_list
from beat_actors.cli.session import Session, run, who
from beat_actors.payloads.erasure import Erased, erase_of_requests
from beat_actors.payloads.reading import Where, overview, packed
from beat_actors.pipeline.records import unpack

app = App(name="payloads", help="Raw payloads: where they are stored; show one, erase those of requests.")


@app.default
def list_days(*, shape: Shape = TABLE) -> None:
    """List the days of raw payloads, the newest first, with their sizes in PostgreSQL and in the bucket."""

    async def work(session: Session) -> list[Where]:
        return await overview(session.database)

    show_list(
        run(work),
        ("day", "PostgreSQL MB", "objects", "payloads in objects", "bucket MB"),
        lambda w: (f"{w.day}", f"{w.database_bytes / 1e6:.1f}", w.objects, w.payloads, f"{w.object_bytes / 1e6:.1f}"),
        shape,
        empty="no raw payload is stored",
    )


@app.command
def show(fetch: int, /) -> None:
    """Print the last answer to a fetch as it was stored, from PostgreSQL or from the bucket.

    Parameters
    ----------
    fetch
        Its id, as `beat quarantine show` has it.
    """

    async def work(session: Session) -> bytes:
        return await packed(session.database, fetch)

    show_document(unpack(run(work)).decode(errors="backslashreplace"))


@app.command
def erase(*request: int, reason: str) -> None:
    """Erase all answers to the fetches of requests, from PostgreSQL and from the bucket, for good.

    What was read of an answer stays. A request whose answers are erased cannot be read again. If the command fails, run it again.

    Parameters
    ----------
    request
        Their ids, at most 1,000.
    reason
        Why, for the audit log.
    """

    async def work(session: Session) -> Erased:
        return await erase_of_requests(session.database, request, actor=who(), reason=reason)

    done = run(work)
    say(f"{done.payloads} payloads erased; {done.objects} objects rewritten or deleted")
    for key in done.left:
        say(f"not deleted, because another database stored it: {key}")
