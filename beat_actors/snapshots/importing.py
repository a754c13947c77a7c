"""Fills an empty installation from a file of `exporting`: requests, fetches and payloads, entities and their logs, as the stages write them."""

import gzip
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec

from beat_actors.database import Database, Statements, Transaction
from beat_actors.errors import BadInput, Conflict
from beat_actors.fetches import imported as fetched
from beat_actors.fetches.lanes import LaneKey, lane_ids
from beat_actors.pipeline.records import pack
from beat_actors.pipeline.writing import write_entities
from beat_actors.platforms.registry import platforms
from beat_actors.requests import imported
from beat_actors.requests.states import Priority
from beat_actors.snapshots.exporting import FORM, Header, Line

LONGEST = 64_000_000
"""Bytes of a line."""
TOGETHER = 50
"""Answers of one transaction."""


class Imported(msgspec.Struct, frozen=True, kw_only=True):
    """What was written. `unknown`: answers of platforms or operations that are not installed here."""

    answers: int
    records: int
    unknown: int


SQL = Statements(__file__)
FILLED, PAYLOAD = SQL("filled", bool), SQL("payload")


async def import_(database: Database, path: Path) -> Imported:
    """Raises `BadInput` for a file that is no snapshot, `Conflict` where the installation has fetches already."""
    async with database.transaction() as transaction:
        if await transaction.only(FILLED):
            raise Conflict(
                "this installation has fetches already; import into one that was just migrated, so that nothing is mixed"
            )
    answers = records = unknown = 0
    with closing(_opened(path)) as file:
        _check(file, path)
        batch: list[Line] = []
        for line in _lines(file, path):
            if not _is_known(line):
                unknown += 1
                continue
            batch.append(line)
            if len(batch) == TOGETHER:
                records, answers, batch = records + await _write(database, batch), answers + len(batch), []
        records, answers = records + await _write(database, batch), answers + len(batch)
    return Imported(answers=answers, records=records, unknown=unknown)


def _opened(path: Path) -> gzip.GzipFile:
    try:
        return gzip.open(path, "rb")
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error.strerror or error}", field="path") from None


def _check(file: gzip.GzipFile, path: Path) -> None:
    try:
        header = msgspec.json.decode(file.readline(LONGEST), type=Header)
    except (OSError, EOFError, ValueError):
        raise BadInput(f"{path} is no snapshot; `beat snapshot export FILE` writes one", field="path") from None
    if header.beat_snapshot != FORM:
        raise BadInput(f"{path} has the form {header.beat_snapshot}; this version of Beat reads {FORM}", field="path")


def _lines(file: gzip.GzipFile, path: Path) -> Iterator[Line]:
    decoder = msgspec.json.Decoder(Line)
    number = 1
    while text := file.readline(LONGEST):
        number += 1
        try:
            yield decoder.decode(text)
        except ValueError as error:
            raise BadInput(f"line {number} of {path} is damaged: {error}", field="path") from None


def _is_known(line: Line) -> bool:
    platform = platforms().get(line.platform)
    source = platform.sources.get(line.source) if platform is not None else None
    return source is not None and line.operation in source.endpoints


async def _write(database: Database, lines: list[Line]) -> int:
    count = 0
    async with database.transaction() as transaction:
        for line in lines:
            count += await _write_one(transaction, line)
    return count


async def _write_one(transaction: Transaction, line: Line) -> int:
    key = LaneKey(line.platform, "snapshot", line.operation, Priority.BATCH, (line.source,))
    lane = (await lane_ids(transaction, [key]))[key]
    count = sum(map(len, line.records.values()))
    request = await imported.complete(transaction, line.platform, line.params, items=count, at=line.payload_at)
    fetch = await fetched.done(
        transaction,
        request,
        lane,
        line.platform,
        line.operation,
        line.params,
        page=line.page,
        source=line.source,
        at=line.payload_at,
        version=line.version,
    )
    body = {"fetch": fetch, "at": line.payload_at, "source": line.source, "body": pack(line.body.encode())}
    await transaction.run(PAYLOAD, body)
    platform = platforms()[line.platform]
    for table, records in sorted(line.records.items()):
        values: dict[str, list[Any]] = {
            "fetches": [fetch],
            "requests": [request],
            "accounts": [""],
            "owners": [""],
            "observed": [line.payload_at],
            "sources": [line.source],
            "versions": [line.version],
            "builds": [None],
            "records": [msgspec.json.encode(records).decode()],
        }
        await write_entities(transaction, line.platform, platform.entity_in(table), values)
    return count
