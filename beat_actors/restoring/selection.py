"""Which observations a question is about: those of a time, a source, a parser version, a fetch or an entity."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

import msgspec

from beat_actors.database import Composed, Statements, Transaction
from beat_actors.errors import BadInput, NotFound
from beat_actors.moments import in_utc
from beat_actors.pipeline.entities import SUBJECTS
from beat_actors.platforms.interface import Entity
from beat_actors.platforms.reading import name as bare_name
from beat_actors.platforms.registry import platform as platform_named
from beat_actors.platforms.registry import platforms, source_named
from beat_actors.text import check_text


class Selection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Observations from `since` until before `until`, and of these the ones to which all that is given applies.

    `since`, `until`: times at which answers began; `since` may be left out with `fetch`, and `until` is now if it is not given. `handle`: the key or
    a name of an entity; it needs `platform`. `kind`: such as profiles. `deploy`: what read the answers, as `BEAT_DEPLOY` named it (or how that begins, from 7
    characters on), or a version of Beat.
    """

    since: datetime | None = None
    until: datetime | None = None
    platform: str | None = None
    kind: str | None = None
    source: str | None = None
    parser_version: int | None = None
    handle: str | None = None
    fetch: int | None = None
    deploy: str | None = None


class Target(NamedTuple):
    """Entities of a kind whose observations are logged each by itself, so that their log can be folded."""

    platform: str
    entity: Entity

    @property
    def log(self) -> str:
        assert self.entity.log is not None
        return self.entity.log

    @property
    def subject(self) -> str:
        return SUBJECTS[self.log]


class Clock(NamedTuple):
    """The database's time; `payload_at`: when the answer of a fetch began."""

    now: datetime
    payload_at: datetime | None


SQL = Statements(__file__)
CLOCK, DEPLOYS = SQL("clock", Clock), SQL("deploys", str)
SHORTEST_DEPLOY = 7
"""Characters from which on the name of a deploy need not be whole, as with commits."""
OF_DEPLOY = SQL.fragment("of_deploy")


def targets(selection: Selection | None = None) -> list[Target]:
    """What a selection can be about, always in the same order; with none, all."""
    return [
        Target(name, entity)
        for name, platform in sorted(platforms().items())
        for entity in platform.entities
        if entity.log is not None and entity.subject is None and _meant(selection, name, entity)
    ]


def not_folded(selection: Selection) -> list[tuple[str, Entity]]:
    """The kinds that a selection can be about and whose log cannot be folded: they have none, or several share a subject."""
    return [
        (name, entity)
        for name, platform in sorted(platforms().items())
        for entity in platform.entities
        if (entity.log is None or entity.subject is not None) and _meant(selection, name, entity)
    ]


def target_of(table: str) -> Target:
    """Raises `NotFound` where no installed platform has the table."""
    for target in targets():
        if target.entity.table == table:
            return target
    raise NotFound(f"no installed platform has the table {table}; install the platform whose entities are restored")


async def settled(transaction: Transaction, selection: Selection) -> Selection:
    """The same selection with both times, in UTC. Raises `BadInput`, `NotFound`, `UnknownName`, `UnknownPlatform`."""
    check(selection)
    clock = await transaction.only(CLOCK, {"fetch": selection.fetch})
    since, until = selection.since, selection.until
    if since is None:
        if clock.payload_at is None:
            raise NotFound(
                f"fetch {selection.fetch} is not kept or brought nothing; give the time from which it is searched (since)"
            )
        since = clock.payload_at
    if selection.deploy is not None:
        await _check_deploy(transaction, selection.deploy)
    since, until = in_utc(since, "since"), clock.now if until is None else min(in_utc(until, "until"), clock.now)
    if since >= until:
        raise BadInput(
            "the selection ends before it begins: since must be earlier than until and than now", field="since"
        )
    return msgspec.structs.replace(selection, since=since, until=until)


async def _check_deploy(transaction: Transaction, deploy: str) -> None:
    check_text(deploy, "deploy", longest=100)
    found = await transaction.rows(DEPLOYS, deploy_values(deploy))
    if not found:
        raise NotFound(
            f"no answer was read by the deploy {deploy}; it is named as BEAT_DEPLOY was set, and `beat provenance PLATFORM NAME` shows it as software"
        )
    if len(found) > 1:
        raise BadInput(f"{deploy} is how several deploys begin: {', '.join(found)}", field="deploy")


def deploy_values(deploy: str | None) -> dict[str, Any]:
    """The parameters of the fragment `of_deploy`. A name that is too short to be the beginning of one has to be the whole."""
    begins = deploy if deploy is not None and len(deploy) >= SHORTEST_DEPLOY else None
    return {"chosen_deploy": deploy, "chosen_deploy_begins": begins}


def check(selection: Selection) -> None:
    """Raises `BadInput`, and `UnknownName` or `UnknownPlatform` for what no installed platform has."""
    if selection.since is None and selection.fetch is None:
        raise BadInput("give the time from which observations are wrong (since), or a fetch", field="since")
    if selection.platform is not None:
        platform_named(selection.platform)
    if selection.source is not None:
        of = source_named(selection.source)[0]
        if selection.platform not in (None, of):
            raise BadInput(f"the source {selection.source} is of the platform {of}", field="source")
    if selection.handle is not None and selection.platform is None:
        raise BadInput("a handle needs its platform", field="platform")
    if not targets(selection) and not not_folded(selection):
        raise BadInput(f"no platform has entities of the kind {selection.kind}", field="kind")


def conditions(selection: Selection, target: Target, keys: Sequence[str] | None) -> tuple[str, dict[str, Any]]:
    """The SQL condition of rows `l` of the target's log that are selected and not excluded yet, and its parameters.

    `keys`: of the entities that `handle` names."""
    assert selection.since is not None, "`settled` gives both times"
    assert selection.until is not None
    found = [
        "l.platform = %(platform)s AND l.observed_at >= %(chosen_since)s AND l.observed_at < %(chosen_until)s AND l.excluded_by IS NULL"
    ]
    values: dict[str, Any] = {
        "platform": target.platform,
        "chosen_since": selection.since,
        "chosen_until": selection.until,
    }
    for column, value in (
        ("source", selection.source),
        ("parser_version", selection.parser_version),
        ("fetch_id", selection.fetch),
    ):
        if value is not None:
            found.append(f"l.{column} = %(chosen_{column})s")
            values[f"chosen_{column}"] = value
    if selection.deploy is not None:
        found.append(f"l.build_id IN (SELECT id FROM parser_build b WHERE {OF_DEPLOY})")  # noqa: S608 - a fragment
        values |= deploy_values(selection.deploy)
    if keys is not None:
        found.append(f"l.{target.subject} = ANY(%(chosen_keys)s)")
        values["chosen_keys"] = list(keys)
    return " AND ".join(found), values


async def keys_of(transaction: Transaction, selection: Selection, target: Target) -> list[str] | None:
    """The keys of the entities that `handle` names; None where the selection has no handle."""
    if selection.handle is None:
        return None
    entity, given = target.entity, selection.handle
    ways = [f"{entity.key} = %(name)s", *(f"{name} IN (%(name)s, %(bare)s)" for name in entity.names)]
    text = " UNION ".join(f'SELECT {entity.key} AS key FROM "{entity.table}" WHERE {way}' for way in ways)  # noqa: S608 - declared
    values = {"name": given, "bare": bare_name(given.removeprefix("@"))}
    return await transaction.rows(Composed("restoring/selection.keys", text, str), values)


def _meant(selection: Selection | None, platform: str, entity: Entity) -> bool:
    if selection is None:
        return True
    wanted = selection.platform or (source_named(selection.source)[0] if selection.source else None)
    return wanted in (None, platform) and selection.kind in (None, entity.kind)
