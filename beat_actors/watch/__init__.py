"""What is watched, and which alerts stand because of it: one module for each family of rules.

Each alert gives its cause, its impact, what Beat does automatically, and one safe action.
"""

from beat_actors import running_code
from beat_actors.alerts import PLATFORM_RULE, SOURCE_RULE
from beat_actors.notify import alerts as notify
from beat_actors.process_alerts import processes_in_trouble
from beat_actors.quotas import foreseen
from beat_actors.restoring import checking
from beat_actors.watch.assets import uploads
from beat_actors.watch.assets import waiting as assets_waiting
from beat_actors.watch.by_hand import stopped_by_hand
from beat_actors.watch.credentials import credentials_in_trouble, credentials_out
from beat_actors.watch.database import connections, partitions, slow_database
from beat_actors.watch.events import unpublished
from beat_actors.watch.held import distrusted, waiting_for_a_person
from beat_actors.watch.payloads import unarchived
from beat_actors.watch.platforms import at_a_standstill
from beat_actors.watch.quarantine import quarantined
from beat_actors.watch.requests import late_sweeps, standstill, waiting
from beat_actors.watch.rule import InOrder, Watch
from beat_actors.watch.sources import owners_out, sources_down, unreadable
from beat_actors.watch.usage import limits, quotas
from beat_actors.webhooks import alerts as webhooks

WATCHES: tuple[Watch | InOrder, ...] = (
    InOrder(
        "situations",
        (
            Watch(PLATFORM_RULE, at_a_standstill),
            Watch(SOURCE_RULE, sources_down),
            Watch("parser", unreadable),
            Watch("quarantine", quarantined),
            Watch("credentials", credentials_out),
            Watch("waiting", waiting),
        ),
    ),
    Watch("owners", owners_out),
    Watch("credential", credentials_in_trouble, opened_elsewhere=True),
    Watch("quota", quotas, every=30),
    Watch("limit", limits),
    Watch("forecast", foreseen.alerts, every=300),
    Watch("backlog", assets_waiting),
    Watch("assets", uploads, every=60),
    Watch("sweep", late_sweeps),
    Watch("claims", standstill),
    Watch("database", slow_database, every=30),
    Watch("process", processes_in_trouble, every=30),
    Watch("code", running_code.alerts, every=30),
    Watch("connections", connections, every=30),
    Watch("held", waiting_for_a_person, every=60),
    Watch("data", distrusted),
    Watch("webhook", webhooks.in_trouble, every=30),
    Watch("notify", notify.in_trouble, every=30),
    Watch("events", unpublished, every=12),
    Watch("partition", partitions, every=60),
    Watch(checking.RULE, checking.drifted, every=300),
    Watch("hand", stopped_by_hand, every=300),
    Watch("payloads", unarchived, every=60),
)
