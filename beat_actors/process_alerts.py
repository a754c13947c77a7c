"""Alerts about single processes: work that one cannot do, log lines that it lost, Redis keys that it recreated, and workers that crash."""

from collections.abc import Iterable

from beat_actors.alerts import Alert
from beat_actors.database import Database, Statements
from beat_actors.database.processes import Process, processes
from beat_actors.own_trouble import BUCKET, CLOCK, CRASHES, DESCRIPTORS, LOGS, REDIS_KEYS, VAULT_KEY

SEALED_WITH = Statements(__file__)("sealed_with", str)
NAMED = 4
"""Processes that an alert names."""

WORDS = {
    LOGS: (
        "these lines are missing from the log; no work is lost or delayed",
        "the processes continue, and write again when the log stream accepts lines; the alert is resolved 10 min after the last loss",
        "check the free disk space (df) and the log collector of that host",
    ),
    CLOCK: (
        "deadlines, token expiry, calendar days and observation times follow the new clock; no limit is exceeded",
        "Beat moved cooldowns and charges by the step; leases and waits keep their length; after a step forward nothing is deleted for an hour; the alert is resolved after an hour",
        "check the clock of the database's host (chronyc tracking), or whether another server took over; let NTP slew the clock, not step it",
    ),
    CRASHES: (
        "work that a dying worker held is done again after its lease; no request is lost",
        "the parent replaces each worker, after growing pauses; a payload that kills workers is isolated and put into quarantine",
        "read the log lines worker_died and worker_not_started of that host; `beat quarantine` lists payloads that killed workers",
    ),
    DESCRIPTORS: (
        "pictures are stored more slowly; none is lost, unless its URL dies before its turn",
        "the process has as many uploads in flight as its descriptors suffice for",
        "raise `ulimit -n` of that process (`ulimits` in docker-compose.yml, LimitNOFILE of systemd), or lower BEAT_ASSET_UPLOADS",
    ),
    BUCKET: (
        "no picture is stored; none is lost, unless its URL dies meanwhile",
        "the process fetches nothing and probes the bucket every 15 s; the alert is resolved when it takes an object",
        "`beat doctor` shows what the bucket lacks: its endpoint, its name, or a key that may store objects",
    ),
    REDIS_KEYS: (
        "messages, wake-ups or counters under these keys are gone; no request is lost",
        "Beat deleted and recreated the keys, and continues from the rows; the alert is resolved 10 min after the last such key",
        "find out who else writes to this Redis; give Beat its own Redis, or its own namespace and users (docs/security.md)",
    ),
}
"""Impact, what Beat does, and what to do, of troubles that keep no process from its work."""
OWN = (
    "other processes make its calls; if there is none, the calls wait",
    "the process takes no such work and tries again after pauses of 10 s to 5 min; no call is charged, no credential blamed",
    "`beat db processes` shows it; check that host's network, limits and BEAT_VAULT_KEYS",
)
"""The same of what a process cannot do."""


async def processes_in_trouble(database: Database) -> list[Alert]:
    """What single processes report about themselves, one alert for each kind: no provider, credential or request is at fault."""
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


def _lacking(process: Process, sealed: list[str]) -> dict[str, str]:
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
