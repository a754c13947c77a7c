"""The one list of metrics: each with its kind, its labels and where its value comes from. Pure.

No label holds a handle, an id, a key or a text of a provider: `labels` are names that the code or the installation declares.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Kind = Literal["counter", "gauge", "histogram"]
Origin = Literal["processes", "cycles", "events", "traces", "state", "rows"]
ORIGINS: Mapping[Origin, str] = {
    "processes": "Each process adds its sums to the row that it writes every ten seconds. A process that is killed loses at most what it had not written yet.",
    "cycles": "Written by the dispatch cycle in its own transaction. The count is exact, whichever processes die.",
    "events": "Counted from the log of events every 30 seconds. The count is exact, whichever processes die.",
    "traces": "Counted by the leading scheduler in the transaction that writes down how far traces were exported.",
    "state": "Measured by the leading scheduler every 30 seconds, with bounded queries.",
    "rows": "Read from rows when the metrics are read.",
}
"""Where a value comes from, and what that means for it."""


@dataclass(frozen=True, slots=True)
class Family:
    """A metric. `bounds`: upper bounds of a histogram's buckets. `by_process`: the first label is the kind of process, which the process's row
    says. `told`: what it means, in a sentence, with its unit."""

    name: str
    kind: Kind
    origin: Origin
    told: str
    labels: tuple[str, ...] = ()
    bounds: tuple[float, ...] = ()

    @property
    def by_process(self) -> bool:
        return self.origin == "processes" and self.labels[:1] == ("process",)


FAMILIES: dict[str, Family] = {}
"""By name."""


def _family(name: str, kind: Kind, origin: Origin, told: str, *labels: str, bounds: tuple[float, ...] = ()) -> Family:
    family = Family(f"beat_{name}", kind, origin, told, labels, bounds)
    FAMILIES[family.name] = family
    return family


QUICK = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
CALL = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0)
STAGE = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
WAIT = (0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
SIZE = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0)
END_TO_END = (0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0, 21600.0)

# Requests and the queue.
REQUESTS_ACCEPTED = _family(
    "requests_accepted_total", "counter", "events", "Requests that were accepted, or run again.", "platform", "flow", "priority"
)  # fmt: skip
REQUESTS = _family(
    "requests_total", "counter", "events", "Requests that have ended, by their last status.", "platform", "flow", "status", "priority"
)  # fmt: skip
REQUEST_SECONDS = _family(
    "request_duration_seconds", "histogram", "events",
    "Seconds from the acceptance of a request to its end. Cancelled requests are left out.", "priority", bounds=END_TO_END,
)  # fmt: skip
EVENTS = _family("events_total", "counter", "events", "Events in the log of events.", "type")
QUEUE_DEPTH = _family(
    "queue_depth", "gauge", "state",
    "Fetches that wait for a lease. At most 10,000 are counted for each dispatch group.", "platform", "flow", "priority",
)  # fmt: skip
QUEUE_DELAYED = _family(
    "queue_delayed", "gauge", "state", "Fetches that are made again later, 100,000 at most.", "platform"
)
QUEUE_AGE = _family(
    "queue_oldest_age_seconds", "gauge", "state", "Age of the fetch that has waited longest for a lease.", "platform", "flow", "priority"
)  # fmt: skip
FETCHES = _family(
    "fetches_in_progress", "gauge", "state", "Fetches that are leased or in a stage.", "platform", "stage"
)
GROUPS_BLOCKED = _family(
    "dispatch_groups_blocked", "gauge", "state",
    "Dispatch groups with work that cannot be leased now, by source and reason. A group that waits for several reasons counts for each.",
    "platform", "source", "reason",
)  # fmt: skip

# Dispatch cycles and stages.
LEASES = _family("leases_total", "counter", "processes", "Leases that dispatch cycles gave.", "platform")
LEASE_WAITS = _family(
    "lease_waits_total", "counter", "processes",
    "How often a dispatch cycle could lease nothing of a dispatch group, by source and reason.", "platform", "source", "reason",
)  # fmt: skip
FALLBACKS = _family(
    "fallbacks_total", "counter", "processes", "Fetches that left a source of their chain for the next one, by the source that they left and why.",
    "platform", "source", "reason",
)  # fmt: skip
CLAIM_INTERVAL = _family(
    "claim_interval_seconds", "histogram", "processes", "Seconds from the moment at which work was handed over until a stage claimed it.",
    "stage", bounds=WAIT,
)  # fmt: skip
STAGE_SECONDS = _family(
    "stage_duration_seconds", "histogram", "processes",
    "Seconds that a stage took for a batch: a dispatch cycle, the commit of answers, the reading and writing of payloads, the stage process.",
    "stage", bounds=STAGE,
)  # fmt: skip
STAGE_BATCH = _family("stage_batch_size", "histogram", "processes", "Items of such a batch.", "stage", bounds=SIZE)
FENCED_WRITES = _family(
    "fenced_writes_total", "counter", "processes", "Writes that were rejected because another worker had taken the fetch over.", "stage"
)  # fmt: skip
RESENT = _family(
    "messages_resent_total",
    "counter",
    "processes",
    "Fetches whose message was lost and was sent again, by queue.",
    "queue",
)
SWEPT = _family(
    "swept_total", "counter", "processes", "What the sweeps found, such as leases of dead workers (orphaned).", "sweep"
)

# Calls to providers.
CALLS = _family(
    "upstream_calls_total", "counter", "cycles", "Calls that were sent to a provider, by outcome. They equal the calls that are charged.",
    "platform", "source", "operation", "outcome",
)  # fmt: skip
UNREACHED = _family(
    "upstream_unreached_total", "counter", "cycles", "Calls that came to no connection. They are neither sent nor charged.",
    "platform", "source", "operation",
)  # fmt: skip
CALL_SECONDS = _family(
    "upstream_call_duration_seconds", "histogram", "processes", "Seconds of a call to a provider for a request.", "source", bounds=CALL
)  # fmt: skip
CREDENTIALS = _family("credentials", "gauge", "state", "Credentials by state.", "platform", "source", "state")
LIMIT_USED = _family(
    "limit_used_calls", "gauge", "state",
    "Calls that count against a limit now: the sum over the credentials of the source that have made calls.", "source", "limit",
)  # fmt: skip
LIMIT_CALLS = _family(
    "limit_calls",
    "gauge",
    "state",
    "Calls that the limit allows in its window: the sum over the enabled credentials.",
    "source",
    "limit",
)
LIMIT_REMAINING = _family(
    "limit_remaining_calls", "gauge", "state", "Calls that the limit still allows now: the sum over the enabled credentials.", "source", "limit"
)  # fmt: skip
BREAKER_OPEN = _family(
    "breaker_open",
    "gauge",
    "rows",
    "1 if the circuit breaker of an operation is open, else 0.",
    "source",
    "operation",
    "kind",
)
OWNER_BREAKERS = _family("owner_breakers_open", "gauge", "rows", "Open circuit breakers of single owners.", "source")
ON_DEMAND_USED = _family(
    "on_demand_limit_used", "gauge", "state", "Requests that count against a limit on on-demand requests.", "limit"
)
ON_DEMAND_CALLS = _family(
    "on_demand_limit_calls", "gauge", "state", "Requests that this limit allows in its window.", "limit"
)

# The API.
API_REQUESTS = _family("api_requests_total", "counter", "processes", "Calls of the API.", "route", "method", "status")
API_SECONDS = _family(
    "api_request_duration_seconds", "histogram", "processes", "Seconds of a call of the API.", "method", bounds=QUICK
)
REFUSED = _family(
    "api_refusals_total", "counter", "processes", "Calls of the API that were refused for want of budget or room, by the code of the problem.",
    "code",
)  # fmt: skip

# The database.
STATEMENT_SECONDS = _family(
    "database_statement_duration_seconds", "histogram", "processes", "Seconds of a statement, or of statements that were sent together.",
    "process", bounds=QUICK,
)  # fmt: skip
STATEMENT_P99 = _family(
    "database_statement_p99_seconds", "gauge", "rows", "The 99th percentile of the last minute of the process in which it is highest.", "process"
)  # fmt: skip
POOL_USED = _family("database_pool_used", "gauge", "rows", "Connections of the pools that are taken.", "process")
POOL_MOST = _family("database_pool_limit", "gauge", "rows", "Connections that the pools may have.", "process")
POOL_EXHAUSTED = _family(
    "database_pool_exhausted_total",
    "counter",
    "processes",
    "How often no connection of the pool came free in time.",
    "process",
)
CONNECTIONS = _family("database_connections", "gauge", "state", "Connections of the PostgreSQL server.")
CONNECTIONS_MOST = _family(
    "database_connections_limit", "gauge", "state", "Connections that the PostgreSQL server allows."
)
DEAD_ROWS = _family(
    "database_table_dead_rows",
    "gauge",
    "state",
    "Dead rows of the 20 tables that have most; partitions of a table are added up.",
    "table",
)
LIVE_ROWS = _family(
    "database_table_live_rows", "gauge", "state", "Live rows of the same tables, as PostgreSQL estimates them.", "table"
)

# Events, webhooks, quarantine, assets.
SINK_LAG_EVENTS = _family("event_sink_lag_events", "gauge", "state", "Events that a sink has not got yet.", "sink")
SINK_LAG_SECONDS = _family(
    "event_sink_lag_seconds", "gauge", "state", "Age of the oldest event that a sink has not got yet.", "sink"
)
SINK_PARKED = _family(
    "event_sink_parked", "gauge", "state", "Events that a sink refused and that are sent again.", "sink"
)
EVENTS_PENDING = _family(
    "events_pending", "gauge", "state", "Events that have no place in the log yet, 100,000 at most."
)
WEBHOOK_LAG = _family(
    "webhook_lag_events", "gauge", "state", "Events of which no deliveries to webhooks were made yet."
)
WEBHOOK_DUE = _family("webhook_deliveries_due", "gauge", "state", "Webhook deliveries that wait, 100,000 at most.")
QUARANTINE = _family(
    "quarantine_items", "gauge", "state", "Unresolved items in quarantine. At most 1,000 are counted for each kind, platform, source and operation.",
    "kind", "platform",
)  # fmt: skip
HELD = _family(
    "held_records",
    "gauge",
    "state",
    "Records that the gate holds because they are not plausible, 20,000 at most.",
    "platform",
    "source",
    "state",
)
DATA_BREAKERS = _family(
    "data_breaker_open",
    "gauge",
    "state",
    "Parsers whose answers are not used because too many of their records are held.",
    "platform",
    "source",
    "operation",
)
ASSETS_PENDING = _family(
    "assets_pending", "gauge", "state", "Assets that wait to be stored, 200,000 at most of each class.", "class"
)
ASSETS = _family("assets", "gauge", "state", "Assets in other states, 100,000 at most of each.", "status")

# Traces.
TRACES = _family(
    "traces_exported_total", "counter", "traces", "Traces that were exported, by why: failed, slow, asked or sampled.", "reason"
)  # fmt: skip
TRACE_SPANS = _family(
    "trace_spans_total", "counter", "traces", "Spans that the collector took (exported) or did not (refused), and traces that could not be made (not_made) or that callers asked for beyond what a run exports (left_out).", "outcome"
)  # fmt: skip
TRACE_EVENTS_LOST = _family(
    "trace_events_lost_total", "counter", "traces", "Events that were not kept until they were looked at, so that traces may be missing."
)  # fmt: skip
TRACE_LAG = _family(
    "trace_lag_events", "gauge", "rows", "Events of the log that the exporter of traces has not looked at yet."
)

# Processes and the scheduler.
PROCESSES = _family("processes", "gauge", "rows", "Processes that have reported within 30 seconds.", "process")
LOOP_LAG = _family(
    "event_loop_lag_seconds", "gauge", "rows", "The longest delay of the event loop in the last report of the process in which it is longest.", "process"
)  # fmt: skip
RESTARTS = _family("worker_restarts", "gauge", "rows", "Workers that ended unexpectedly within the last hour.")
SWEEP_ENDED = _family("sweep_last_success_timestamp_seconds", "gauge", "rows", "When a sweep last succeeded.", "sweep")
SWEEP_SECONDS = _family(
    "sweep_last_duration_seconds", "gauge", "rows", "Seconds that the last run of a sweep took.", "sweep"
)
SWEEP_LATE = _family(
    "sweep_lateness_seconds", "gauge", "rows", "Seconds since a run of a sweep was due that has not succeeded.", "sweep"
)
LEADER_SEEN = _family(
    "scheduler_leader_seen_timestamp_seconds", "gauge", "rows", "When the leading scheduler last reported."
)
LEADER_EPOCH = _family("scheduler_leader_epoch", "gauge", "rows", "The number of the leading scheduler's term.")
ALERTS = _family("alerts_open", "gauge", "rows", "Open alerts of Beat itself that are not silenced.", "severity")
MEASURED = _family(
    "state_timestamp_seconds",
    "gauge",
    "rows",
    "When the gauges of the leading scheduler were measured. After five minutes they are left out.",
)
COUNTED = _family(
    "events_counted_timestamp_seconds", "gauge", "rows", "When the log of events last had something to count."
)
BUILD = _family(
    "build_info",
    "gauge",
    "rows",
    "1 for each version and schema revision that a living process has.",
    "version",
    "revision",
)
