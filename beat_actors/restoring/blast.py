"""What wrong observations have reached: how many entities, which fields, since when, and which consumers were sent them.

Everything is counted by PostgreSQL, so memory does not grow with the selection. Which fields are wrong is known by comparing entities with the
fold of their log without these observations; that is done for the first `COMPARED` entities of each kind.
"""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from functools import cache
from typing import Any, NamedTuple, TypeAlias

import msgspec

from beat_actors.database import Composed, Database, Statement, Statements, Transaction
from beat_actors.events.catalog import matches
from beat_actors.platforms.interface import Entity
from beat_actors.restoring.change import change_of, logged_names
from beat_actors.restoring.fold import NULL, Folded
from beat_actors.restoring.reading import Choice, Key, folds
from beat_actors.restoring.selection import (
    OF_DEPLOY,
    Selection,
    Target,
    conditions,
    deploy_values,
    keys_of,
    not_folded,
    settled,
    targets,
)

COMPARED = 2_000
CHUNK = 500
EXAMPLES = 5
MOST_PARTS = 50
CHANGED = "beat.data.changed"
Json: TypeAlias = bool | int | float | str | list[Any] | dict[str, Any] | None
"""A value of a field."""


class WrongField(msgspec.Struct, frozen=True, kw_only=True):
    """A field, and how many of the compared entities have another value of it than without these observations."""

    field: str
    entities: int


class WrongEntity(msgspec.Struct, frozen=True, kw_only=True):
    """An entity with a field that has another value than without these observations."""

    key: str
    account_id: str
    field: str
    now: Json
    without: Json


class KindBlast(msgspec.Struct, frozen=True, kw_only=True):
    """The entities of a kind. `observations`: those that are selected, of `entities`; the first and the last of them. `served`: entities whose present
    state comes from one of them. `compared`: entities of which `fields` and `examples` speak. `restorable`: their log can be folded; if not,
    `entities` counts those whose present state comes from a selected observation."""

    platform: str
    kind: str
    entities: int
    observations: int
    accounts: int
    first_at: datetime | None
    last_at: datetime | None
    compared: int
    wrong: int
    fields: list[WrongField]
    examples: list[WrongEntity]
    restorable: bool


class BlastPart(msgspec.Struct, frozen=True, kw_only=True):
    """Observations by a parser version of a source."""

    platform: str
    kind: str
    source: str
    parser_version: int
    observations: int


class Consumer(msgspec.Struct, frozen=True, kw_only=True):
    """Who was sent events about these observations. `what`: `webhook` or `sink`. `events`: how many; `pending` of them are not sent yet."""

    what: str
    name: str
    account_id: str | None
    events: int
    pending: int


class Blast(msgspec.Struct, frozen=True, kw_only=True):
    """What a selection has reached.

    `events`: changes of data that were published because of it, which readers of `/v1/changes` may have read. Reads of the API are not logged per
    entity, so who has read a value is not known.
    """

    selection: Selection
    entities: int
    observations: int
    kinds: list[KindBlast]
    parts: list[BlastPart]
    events: int
    consumers: list[Consumer]


class Counted(NamedTuple):
    """Selected observations of a kind. `observations`: of all its entities."""

    entities: int
    observations: int
    accounts: int
    first_at: datetime | None
    last_at: datetime | None


class By(NamedTuple):
    """Selected observations by source and parser version."""

    source: str
    parser_version: int
    observations: int


class RowOf(NamedTuple):
    """An entity of which an observation is selected, with its row as JSON text."""

    key: str
    account_id: str
    owner: str
    row: str


class Sent(NamedTuple):
    """Events that were published because of the selected observations, by where they went. `kind`: event, webhook, or sink."""

    kind: str
    name: str
    account_id: str | None
    wanted: dict[str, Any]
    events: int
    pending: int


SQL = Statements(__file__)
PATIENT, HASHED = SQL("patient"), SQL("hashed", str)
_DECODER = msgspec.json.Decoder(dict[str, msgspec.Raw])


async def blast(database: Database, selection: Selection) -> Blast:
    """Writes nothing. Raises `BadInput`, `NotFound`, `UnknownName`, `UnknownPlatform`."""
    async with database.transaction() as transaction:
        await transaction.run(PATIENT)
        selection = await settled(transaction, selection)
    kinds, parts, sent = [], [], Counter[tuple[str, str, str | None]]()
    pending: Counter[tuple[str, str, str | None]] = Counter()
    for target in targets(selection):
        async with database.transaction() as transaction:
            await transaction.run(PATIENT)
            keys = await keys_of(transaction, selection, target)
            choice = Choice(*conditions(selection, target, keys))
            counted = await transaction.only(_counted(target, choice.condition), choice.values)
            if not counted.observations:
                continue
            parts += [
                BlastPart(platform=target.platform, kind=target.entity.kind, **one._asdict())
                for one in await transaction.rows(_by(target, choice.condition), choice.values)
            ]
            await transaction.rows(HASHED)
            for one in await transaction.rows(_sent(target, choice.condition), choice.values):
                if one.kind == "sink" and not any(
                    matches(pattern, CHANGED) for pattern in one.wanted.get("types", ["*"])
                ):
                    continue
                sent[one.kind, one.name, one.account_id] += one.events
                pending[one.kind, one.name, one.account_id] += one.pending
        kinds.append(await _compare(database, selection, target, choice, counted))
    for platform, entity in not_folded(selection):
        async with database.transaction() as transaction:
            await transaction.run(PATIENT)
            count = await transaction.only(_rows_of(entity), _row_values(selection))
        if count.entities:
            kinds.append(_without_log(platform, entity, count))
    return Blast(
        selection=selection,
        entities=sum(one.entities for one in kinds),
        observations=sum(one.observations for one in kinds),
        kinds=kinds,
        parts=sorted(parts, key=lambda one: -one.observations),
        events=sum(count for (kind, *_), count in sent.items() if kind == "event"),
        consumers=[
            Consumer(what=kind, name=name, account_id=account, events=count, pending=pending[kind, name, account])
            for (kind, name, account), count in sent.most_common()
            if kind != "event" and count
        ],
    )


async def _compare(
    database: Database, selection: Selection, target: Target, choice: Choice, counted: Counted
) -> KindBlast:
    """Compare the first entities with their fold without the selected observations."""
    fields: Counter[str] = Counter()
    examples: list[WrongEntity] = []
    compared = wrong = 0
    after = Key("", "", "")
    while compared < COMPARED:
        async with database.transaction() as transaction:
            await transaction.run(PATIENT)
            rows = await _page(transaction, target, choice, after)
            if not rows:
                break
            keys = {Key(*row[:3]): _DECODER.decode(row.row) for row in rows}
            assert selection.since is not None
            folded = await folds(transaction, target, dict.fromkeys(keys), begins=selection.since, choice=choice)
        for key, row in keys.items():
            differs = _differs(target.entity, row, folded[key])
            fields.update(name for name, *_ in differs)
            wrong += bool(differs)
            examples += [
                WrongEntity(key=key.key, account_id=key.account_id, field=name, now=now, without=without)
                for name, now, without in differs
                if len(examples) < EXAMPLES
            ][: EXAMPLES - len(examples)]
        compared += len(rows)
        after = Key(*rows[-1][:3])
    return KindBlast(
        platform=target.platform,
        kind=target.entity.kind,
        **counted._asdict(),
        compared=compared,
        wrong=wrong,
        fields=[WrongField(field=name, entities=count) for name, count in fields.most_common()],
        examples=examples,
        restorable=True,
    )


def _differs(entity: Entity, row: dict[str, msgspec.Raw], folded: Folded) -> list[tuple[str, Json, Json]]:
    change = change_of(entity, row, folded, folded.affected)
    found = []
    for name in sorted(logged_names(entity) & folded.affected):
        now, without = bytes(row.get(name, NULL)), NULL if change.removed else change.values.get(name, NULL)
        if now != without:
            found.append((name, msgspec.json.decode(now), msgspec.json.decode(without)))
    return found


async def _page(transaction: Transaction, target: Target, choice: Choice, after: Key) -> Sequence[RowOf]:
    place = {"key": after.key, "account": after.account_id, "owner": after.owner, "limit": CHUNK}
    return await transaction.rows(_selected(target, choice.condition), {**choice.values, **place})


def _without_log(platform: str, entity: Entity, counted: Counted) -> KindBlast:
    return KindBlast(
        platform=platform,
        kind=entity.kind,
        **counted._asdict(),
        compared=0,
        wrong=0,
        fields=[],
        examples=[],
        restorable=False,
    )


@cache
def _counted(target: Target, condition: str) -> Statement[Counted]:
    """One pass over the selected rows, found through the days and the summaries of their pages. Entities that are no longer kept are left out."""
    text = f"""
SELECT count(*) AS entities, coalesce(sum(n), 0)::bigint AS observations, count(DISTINCT s.account_id) AS accounts, min(first_at) AS first_at,
    max(last_at) AS last_at
FROM (SELECT l.{target.subject} AS key, l.account_id, l.owner, count(*) AS n, min(l.observed_at) AS first_at, max(l.observed_at) AS last_at
      FROM {target.log} l WHERE {condition} GROUP BY 1, 2, 3) s
JOIN "{target.entity.table}" t ON t.{target.entity.key} = s.key AND t.account_id = s.account_id AND t.owner = s.owner"""  # noqa: S608 - declared
    return Composed("restoring/blast.counted", text, Counted)


@cache
def _by(target: Target, condition: str) -> Statement[By]:
    text = f"""
SELECT l.source, l.parser_version, count(*) AS observations FROM {target.log} l WHERE {condition} AND EXISTS (
    SELECT FROM "{target.entity.table}" t WHERE t.{target.entity.key} = l.{target.subject} AND t.account_id = l.account_id AND t.owner = l.owner)
GROUP BY 1, 2 ORDER BY 3 DESC LIMIT {MOST_PARTS}"""  # noqa: S608 - declared
    return Composed("restoring/blast.by", text, By)


@cache
def _selected(target: Target, condition: str) -> Statement[RowOf]:
    """A page of the entities of which an observation is selected, in the order of their keys."""
    entity = target.entity
    text = f"""
SELECT t.{entity.key} AS key, t.account_id, t.owner, to_jsonb(t)::text AS row FROM "{entity.table}" t
WHERE (t.{entity.key}, t.account_id, t.owner) IN (
    SELECT l.{target.subject}, l.account_id, l.owner FROM {target.log} l WHERE {condition}
        AND (l.{target.subject}, l.account_id, l.owner) > (%(key)s, %(account)s, %(owner)s)
    GROUP BY 1, 2, 3 ORDER BY 1, 2, 3 LIMIT %(limit)s)
ORDER BY 1, 2, 3"""  # noqa: S608 - declared
    return Composed("restoring/blast.selected", text, RowOf)


@cache
def _sent(target: Target, condition: str) -> Statement[Sent]:
    """Changes of data that were published because of the selected observations, and the webhooks and sinks that they went to."""
    text = f"""
WITH requests AS MATERIALIZED (
    SELECT DISTINCT l.request_id FROM {target.log} l WHERE {condition}
), e AS MATERIALIZED (
    SELECT e.event_id, e.id FROM event e JOIN requests r ON e.subject = 'scrape_request/' || r.request_id
    WHERE e.type = '{CHANGED}' AND e.at >= %(chosen_since)s AND e.data->>'kind' = '{target.entity.kind}'
)
SELECT 'event' AS kind, '' AS name, NULL AS account_id, '{{}}'::jsonb AS wanted, count(*) AS events, 0::bigint AS pending FROM e
UNION ALL
SELECT 'webhook', w.id::text, w.account_id, '{{}}', count(*), count(*) FILTER (WHERE d.state = 'pending')
FROM e JOIN webhook_delivery d ON d.event_id = e.event_id JOIN webhook_endpoint w ON w.id = d.endpoint_id GROUP BY w.id, w.account_id
UNION ALL
SELECT 'sink', s.name, NULL, s.wanted, count(*) FILTER (WHERE l.seq <= s.seq), count(*) FILTER (WHERE l.seq > s.seq)
FROM e JOIN event_log l ON l.id = e.id CROSS JOIN event_sink s GROUP BY s.name, s.wanted"""  # noqa: S608 - declared
    return Composed("restoring/blast.sent", text, Sent)


@cache
def _rows_of(entity: Entity) -> Statement[Counted]:
    """Entities without a log whose present state comes from a selected observation. One pass over the table."""
    text = f"""
SELECT count(*) AS entities, count(*) AS observations, count(DISTINCT account_id) AS accounts, min(observed_at) AS first_at, max(observed_at) AS last_at
FROM "{entity.table}" WHERE observed_at >= %(since)s AND observed_at < %(until)s AND source = coalesce(%(source)s, source)
    AND parser_version = coalesce(%(version)s, parser_version) AND {entity.key} = coalesce(%(handle)s, {entity.key}) AND %(fetch)s::bigint IS NULL
    AND (%(chosen_deploy)s::text IS NULL OR build_id IN (SELECT id FROM parser_build b WHERE {OF_DEPLOY}))"""  # noqa: S608 - declared
    return Composed("restoring/blast.rows", text, Counted)


def _row_values(selection: Selection) -> dict[str, Any]:
    return {
        "since": selection.since,
        "until": selection.until,
        "source": selection.source,
        "version": selection.parser_version,
        "handle": selection.handle,
        "fetch": selection.fetch,
        **deploy_values(selection.deploy),
    }
