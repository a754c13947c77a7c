"""Alerts about single processes: what one cannot do, log lines that it lost, and keys of Redis that it had to make anew."""

from collections.abc import Iterable

from beat_actors.alerts import Alert
from beat_actors.database import Database, Statements
from beat_actors.database.vitals import Vitals, processes
from beat_actors.own_trouble import CLOCK, LOGS, REDIS_KEYS, VAULT_KEY

SEALED_WITH = Statements(__file__)("sealed_with", str)
NAMED = 4
"""Processes that an alert names."""

WORDS = {
    LOGS: (
        "their lines are missing from the log; no work is lost or held up",
        "the processes go on, and write again as soon as the stream takes lines; this alert ends 10 min after the last loss",
        "free the device to which the log goes, or see that its collector reads; look at that host's df and its log collector",
    ),
    CLOCK: (
        "deadlines, ends of tokens, days and the dates of what is observed go by the clock as it is; no limit gives anything out twice",
        "rests and charges are moved by it; leases and waits last no longer than they were to last; after a step forth nothing is forgotten for an hour; this alert ends after an hour",
        "look at the clock of the database's host: chronyc tracking, or whether another server took over; let NTP slew and not step it",
    ),
    REDIS_KEYS: (
        "messages, wake-ups or counts that lay under these keys are gone; no request is lost",
        "the keys were deleted and made anew, and work goes on from the rows; this alert ends 10 min after the last such key",
        "find out who else writes to this Redis: give Beat a Redis, or a namespace and users, of its own (docs/security.md)",
    ),
}
"""Impact, what Beat does, and what to do, of troubles that keep no process from its work."""
OWN = (
    "its part of the calls is made by other processes; where there are none, they wait",
    "it takes no such work and tries again after rests of 10 s to 5 min; nothing is charged or blamed",
    "`beat db processes` shows it; check that host's network, limits and BEAT_VAULT_KEYS",
)
"""The same of what a process cannot do."""


async def processes_in_trouble(database: Database) -> list[Alert]:
    """What single processes report of themselves, each kind once: it is no provider's, credential's or request's fault."""
    found: dict[str, dict[str, list[str]]] = {}
    living = await processes(database)
    async with database.statements() as alone:
        sealed = await alone.rows(SEALED_WITH)
    for each in living:
        for kind, said in (dict(each.troubles) | _lacking(each, sealed)).items():
            found.setdefault(kind, {}).setdefault(said, []).append(f"{each.name} {each.host}:{each.pid}")
    return [_alert(kind, by_words) for kind, by_words in sorted(found.items())]


def actions(kinds: Iterable[str]) -> list[str]:
    """What to do about troubles of these kinds, each thing once."""
    return list(dict.fromkeys(WORDS.get(kind, OWN)[2] for kind in kinds))


def _lacking(process: Vitals, sealed: list[str]) -> dict[str, str]:
    """The keys of the vault that a worker lacks and that credentials are sealed with."""
    if process.name != "worker" or process.vault_keys is None:
        return {}
    held = {key.rpartition(":")[0] for key in process.vault_keys}
    lacks = "it does not hold key {!r} of the vault, with which credentials are sealed"
    return {f"{VAULT_KEY} {key_id}": lacks.format(key_id) for key_id in sealed if key_id not in held}


def _alert(kind: str, by_words: dict[str, list[str]]) -> Alert:
    """`by_words`: processes by the sentence that they say."""
    impact, automatic, action = WORDS.get(kind, OWN)
    said = [f"{_named(names)}: {words}" for words, names in sorted(by_words.items())]
    return Alert(
        key=f"process:{kind}",
        severity="warning",
        cause="; ".join(said[:NAMED]) + (f"; and {len(said) - NAMED} more" if len(said) > NAMED else ""),
        impact=impact,
        automatic=automatic,
        action=action,
    )


def _named(names: list[str]) -> str:
    return ", ".join(names[:NAMED]) + (f" and {len(names) - NAMED} more" if len(names) > NAMED else "")
