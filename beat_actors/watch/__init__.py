"""What is watched, and which alerts stand because of it: one module for each family of rules.

Each alert names its cause, whom it touches, what Beat does by itself, and one thing that is safe to do.
"""

from beat_actors import running_code
from beat_actors.alerts import SOURCE_RULE
from beat_actors.process_alerts import processes_in_trouble
from beat_actors.watch.credentials import credentials_in_trouble, credentials_out
from beat_actors.watch.database import connections, partitions, slow_database
from beat_actors.watch.quarantine import quarantined
from beat_actors.watch.requests import backlog, late_sweeps, standstill, waiting
from beat_actors.watch.rule import Watch
from beat_actors.watch.sources import owners_out, sources_down, unreadable
from beat_actors.watch.usage import limits, quotas
from beat_actors.webhooks import alerts as webhooks

WATCHES = (
    Watch(SOURCE_RULE, sources_down),
    Watch("parser", unreadable),
    Watch("owners", owners_out),
    Watch("credential", credentials_in_trouble),
    Watch("credentials", credentials_out),
    Watch("quota", quotas, every=60),
    Watch("limit", limits, every=60),
    Watch("backlog", backlog),
    Watch("sweep", late_sweeps),
    Watch("claims", standstill),
    Watch("waiting", waiting),
    Watch("database", slow_database, every=30),
    Watch("process", processes_in_trouble, every=45),
    Watch("code", running_code.alerts, every=30),
    Watch("connections", connections),
    Watch("quarantine", quarantined),
    Watch("webhook", webhooks.in_trouble, every=30),
    Watch("partition", partitions, every=60),
)
