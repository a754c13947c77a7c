"""Every event that Beat writes while the tests run has the data that its schema describes.

A test's database is looked at when the test is over. Events are told apart by their type and by the types of their fields, and each such form is
validated once in a process, so the cost does not grow with the tests. Tests that write events themselves give them no data (`{}`) or subjects
without a slash; those are not looked at.
"""

import json
from collections.abc import Iterator
from copy import deepcopy
from functools import cache

import jsonschema
import psycopg

from beat_actors.events import envelope
from beat_actors.events.catalog import EVENTS
from beat_actors.events.schemas import schema
from beat_actors.events.sink import Event, Place

# A form: the fields of the data with their types, those of the fields inside of them as well. Tables of a hundred thousand events are not read to the end.
FORMS = """
SELECT DISTINCT ON (type, form) type || ' ' || form, event_id::text, type, subject, version, account_id,
       to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), data::text
FROM (SELECT * FROM event WHERE subject LIKE '%%/%%' AND data <> '{}' LIMIT 20000) e, LATERAL (
    SELECT coalesce(string_agg(f.key || ' ' || jsonb_typeof(f.value) || coalesce(i.inner, ''), ', ' ORDER BY f.key), '') AS form
    FROM jsonb_each(e.data) f LEFT JOIN LATERAL (
        SELECT ' {' || string_agg(key || ' ' || jsonb_typeof(value), ', ' ORDER BY key) || '}' AS inner
        FROM jsonb_each(CASE WHEN jsonb_typeof(f.value) = 'object' AND f.key <> ALL (%(free)s) THEN f.value ELSE '{}' END)) i ON true) s
WHERE NOT (type || ' ' || form = ANY (%(seen)s))
"""
FREE = ["params", "data", "tags"]
"""Fields whose own fields differ from event to event."""


class WrittenEvents:
    """The forms that were seen in this process."""

    def __init__(self) -> None:
        self.seen: set[str] = set()

    def look(self, connection: psycopg.Connection) -> list[str]:
        """What is wrong with the events of a database, of the forms that were not seen before; nothing in a database without the table."""
        if not _has_log(connection):
            return []
        values = {"free": FREE, "seen": sorted(self.seen)}
        wrong: list[str] = []
        for form, *row in connection.execute(FORMS, values).fetchall():
            self.seen.add(form)
            wrong += complaints(Event(1, *row))
        return wrong


def _has_log(connection: psycopg.Connection) -> bool:
    found = connection.execute("SELECT to_regclass('public.event') IS NOT NULL").fetchone()
    return bool(found and found[0])


def complaints(event: Event) -> Iterator[str]:
    """Why an event is not as the catalogue and the schema describe it, in sentences."""
    known = EVENTS.get(event.type)
    if known is None:
        yield f"{event.type} is not in the catalogue"
        return
    if event.subject.partition("/")[0] != known.subject.partition("/")[0]:
        yield f"{event.type} has the subject {event.subject}"
    try:
        envelope.attributes(event, Place("test", ""))
    except ValueError as error:
        yield f"{event.type}: {error}"
    data = json.loads(event.data)
    yield from (
        f"{event.type}{error.json_path[1:]}: {error.message}" for error in _validator(event.type).iter_errors(data)
    )


@cache
def _validator(event_type: str) -> jsonschema.Draft202012Validator:
    """The published schema, and no field that it does not name."""
    strict = deepcopy(schema(EVENTS[event_type], EVENTS[event_type].major))
    for part in (strict, *strict.get("$defs", {}).values()):
        part.setdefault("additionalProperties", False)
    return jsonschema.Draft202012Validator(strict, format_checker=jsonschema.FormatChecker(["date-time"]))
