"""Writes stored answers without personal data into a file: gzip, one JSON object a line.

Only answers that the installed parser reads after they were anonymised are written, with the records that it reads. So the file holds nothing that a record or a
payload of production had, except what `anonymising` keeps. Answers to owners' credentials are left out.
"""

import gzip
import secrets
from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from beat_actors.database import Database, Statements
from beat_actors.errors import BadInput, BeatError
from beat_actors.pipeline.holes import read
from beat_actors.pipeline.records import unpack
from beat_actors.platforms.interface import FetchSpec, Platform
from beat_actors.platforms.registry import platforms
from beat_actors.snapshots.anonymising import Anonymiser, words_of_source

FORM = 1
"""The version of the form of the file."""
CHUNK = 200
WINDOW = 100_000
"""Ids of fetches that one statement walks over."""
MOST_WINDOWS = 1_000


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """The first line of a file."""

    beat_snapshot: int
    made_at: datetime


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """An answer. `body`: the anonymised answer as text; `records`: by table, what the parser of this version reads of it."""

    platform: str
    source: str
    operation: str
    params: dict[str, Any]
    cursor: str | None
    page: int
    payload_at: datetime
    version: int
    body: str
    records: dict[str, list[msgspec.Raw]]


class Answered(NamedTuple):
    """A fetch with its packed payload."""

    id: int
    payload_at: datetime
    parser_version: int
    params: dict[str, Any]
    cursor: str | None
    page: int
    body: bytes


class Exported(msgspec.Struct, frozen=True, kw_only=True):
    """How many answers of an operation were written; `left_out`: those that the parser does not read without what was replaced."""

    source: str
    operation: str
    answers: int
    left_out: int


SQL = Statements(__file__)
PATIENT, NEWEST, PAGE = SQL("patient"), SQL("newest", int), SQL("page", Answered)


async def export(
    database: Database, path: Path, *, last: int, source: str | None = None, now: datetime
) -> list[Exported]:
    """The newest `last` answers of each operation of each source, or of one source. Raises `BadInput` where the file exists."""
    found: list[Exported] = []
    key = secrets.token_bytes(32)
    try:
        opened = gzip.open(path, "xb")  # noqa: SIM115 - closed below, after the answers were read one by one
    except FileExistsError:
        raise BadInput(f"{path} exists; name a file that does not", field="path") from None
    with opened as file:
        file.write(msgspec.json.encode(Header(beat_snapshot=FORM, made_at=now)) + b"\n")
        for platform in platforms().values():
            anonymiser = Anonymiser(key, words_of_source(_package(platform)))
            for declared in platform.sources.values():
                for operation in declared.endpoints if source in (None, declared.name) else ():
                    written = left = 0
                    async for answered in _answers(database, platform.name, declared.name, operation, last):
                        line = anonymised(platform, declared.name, operation, answered, anonymiser)
                        written, left = written + (line is not None), left + (line is None)
                        if line is not None:
                            file.write(msgspec.json.encode(line) + b"\n")
                    if written or left:
                        found.append(
                            Exported(source=declared.name, operation=operation, answers=written, left_out=left)
                        )
    return found


def anonymised(
    platform: Platform, source: str, operation: str, answered: Answered, anonymiser: Anonymiser
) -> Line | None:
    """An answer as it goes into the file; None where the parser does not read it then, or where it was no JSON."""
    endpoint = platform.sources[source].endpoints[operation]
    params = anonymiser.params(answered.params)
    try:
        body = msgspec.json.encode(anonymiser.value(msgspec.json.decode(unpack(answered.body))))
        spec = FetchSpec(operation, params, source=source, page=answered.page)
        parsed, holes = read(lambda some: endpoint.parse(some, spec), body, platform.record_lists)
    except (BeatError, ValueError):
        return None
    if holes:
        return None
    records: dict[str, list[msgspec.Raw]] = {}
    for record in parsed.records:
        records.setdefault(platform.entity_of(record).table, []).append(msgspec.Raw(msgspec.json.encode(record)))
    return Line(
        platform=platform.name,
        source=source,
        operation=operation,
        params=params,
        cursor=None,
        page=answered.page,
        payload_at=answered.payload_at,
        version=endpoint.version,
        body=body.decode(),
        records=records,
    )


async def _answers(
    database: Database, platform: str, source: str, operation: str, last: int
) -> AsyncIterator[Answered]:
    """The newest payloads of an operation, some at a time."""
    async with database.transaction() as transaction:
        before, count = await transaction.only(NEWEST) + 1, 0
    for _ in range(MOST_WINDOWS):
        low = max(before - WINDOW, 0)
        page: Sequence[Answered] = [None] * CHUNK  # type: ignore[list-item]
        while len(page) == CHUNK and count < last:
            async with database.transaction() as transaction:
                await transaction.run(PATIENT)
                values = {"platform": platform, "source": source, "operation": operation, "low": low, "before": before}
                page = await transaction.rows(PAGE, {**values, "limit": min(CHUNK, last - count)}, binary=True)
            for one in page:
                yield one
            count += len(page)
            before = page[-1].id if page else before
        before = low
        if count >= last or low == 0:
            return


def _package(platform: Platform) -> str:
    """The package that a platform's source lies in."""
    source = next(iter(platform.sources.values()))
    return type(source).__module__.partition(".sources")[0]
