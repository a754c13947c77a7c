"""`python -m supply.dashboards` writes the dashboards for Grafana to deploy/grafana; `--check` fails where a file is another.

A dashboard is a list of rows of panels, a panel a list of queries. What else Grafana wants in its JSON is added here.
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from supply.lock import ROOT

FOLDER = ROOT / "deploy" / "grafana"
SOURCE = {"type": "prometheus", "uid": "${datasource}"}
WIDTH, HEIGHT, STAT_HEIGHT = 24, 8, 4


@dataclass(frozen=True, slots=True)
class Panel:
    """`queries`: (PromQL, legend). `kind`: `timeseries`, `stat` or `table`."""

    title: str
    queries: tuple[tuple[str, str], ...]
    unit: str = "short"
    kind: str = "timeseries"
    told: str = ""


@dataclass(frozen=True, slots=True)
class Dashboard:
    uid: str
    title: str
    rows: Sequence[Sequence[Panel]]


def _p(title: str, *queries: tuple[str, str], unit: str = "short", kind: str = "timeseries", told: str = "") -> Panel:
    return Panel(title, queries, unit, kind, told)


def _quantile(share: float, metric: str, *by: str) -> str:
    return f"histogram_quantile({share}, sum by ({', '.join((*by, 'le'))}) (rate({metric}_bucket[$__rate_interval])))"


OVERVIEW = Dashboard(
    "beat-overview",
    "Beat / Overview",
    (
        (
            _p("Open alerts", ("sum by (severity) (beat_alerts_open)", "{{severity}}"), kind="stat"),
            _p("Requests that wait", ("sum(beat_queue_depth)", "waiting"), kind="stat"),
            _p("Longest wait", ('max(beat_queue_oldest_age_seconds{priority!="batch"})', "without batch"), unit="s", kind="stat"),
            _p("Processes", ("sum by (process) (beat_processes)", "{{process}}"), kind="stat"),
            _p("Leader last seen", ("time() - max(beat_scheduler_leader_seen_timestamp_seconds)", "ago"), unit="s", kind="stat"),
        ),
        (
            _p(
                "Requests a second",
                ("sum(rate(beat_requests_accepted_total[$__rate_interval]))", "accepted"),
                ("sum by (status) (rate(beat_requests_total[$__rate_interval]))", "{{status}}"),
                unit="reqps",
                told="If more are accepted than end, the backlog grows.",
            ),
            _p("Requests that fail", ("beat:requests_failed:ratio_rate5m", "5 min"), ("beat:requests_failed:ratio_rate1h", "1 h"), unit="percentunit"),
        ),
        (
            _p("Duration of requests (95th percentile)", (_quantile(0.95, "beat_request_duration_seconds", "priority"), "{{priority}}"), unit="s"),
            _p("Calls to providers a second", ("sum by (source) (rate(beat_upstream_calls_total[$__rate_interval]))", "{{source}}"), unit="reqps"),
        ),
        (
            _p("Calls of the API a second", ("sum by (status) (rate(beat_api_requests_total[$__rate_interval]))", "{{status}}"), unit="reqps"),
            _p("Duration of calls of the API (99th percentile)", (_quantile(0.99, "beat_api_request_duration_seconds", "method"), "{{method}}"), unit="s"),
        ),
        (
            _p("Refused calls of the API a second", ("sum by (code) (rate(beat_api_refusals_total[$__rate_interval]))", "{{code}}"), unit="reqps"),
            _p("Versions", ("beat_build_info", "{{version}} (schema {{revision}})"), kind="stat"),
        ),
    ),
)  # fmt: skip

SOURCES = Dashboard(
    "beat-sources",
    "Beat / Sources and credentials",
    (
        (
            _p("Calls by outcome", ("sum by (outcome) (rate(beat_upstream_calls_total[$__rate_interval]))", "{{outcome}}"), unit="reqps"),
            _p("Calls that fail", ("beat:upstream_failures:increase1m / beat:upstream_attempts:increase1m", "{{source}}"), unit="percentunit"),
        ),
        (
            _p("Duration of calls (95th percentile)", (_quantile(0.95, "beat_upstream_call_duration_seconds", "source"), "{{source}}"), unit="s"),
            _p("Calls without a connection", ("sum by (source) (rate(beat_upstream_unreached_total[$__rate_interval]))", "{{source}}"), unit="reqps"),
        ),
        (
            _p("Credentials by state", ("sum by (source, state) (beat_credentials)", "{{source}} {{state}}")),
            _p("Open circuit breakers", ("beat_breaker_open == 1", "{{source}} {{operation}} {{kind}}"), ("beat_owner_breakers_open", "{{source}}, single owners")),
        ),
        (
            _p("Used share of limits", ("beat_limit_used_calls / beat_limit_calls", "{{source}} {{limit}}"), unit="percentunit"),
            _p("Calls that limits still allow", ("beat_limit_remaining_calls", "{{source}} {{limit}}")),
        ),
        (
            _p("Used share of on-demand limits", ("beat_on_demand_limit_used / beat_on_demand_limit_calls", "{{limit}}"), unit="percentunit"),
            _p("Fallbacks a second", ("sum by (source, reason) (rate(beat_fallbacks_total[$__rate_interval]))", "from {{source}}: {{reason}}"), unit="reqps"),
        ),
    ),
)  # fmt: skip

QUEUE = Dashboard(
    "beat-queue",
    "Beat / Queue and latency",
    (
        (
            _p("Fetches that wait", ("sum by (platform, flow, priority) (beat_queue_depth)", "{{platform}} {{flow}} {{priority}}")),
            _p("Oldest fetch", ("max by (platform, flow, priority) (beat_queue_oldest_age_seconds)", "{{platform}} {{flow}} {{priority}}"), unit="s"),
        ),
        (
            _p("Why dispatch groups are blocked", ("sum by (source, reason) (beat_dispatch_groups_blocked)", "{{source}} {{reason}}")),
            _p("Dispatch cycles that could lease nothing of a group", ("sum by (source, reason) (rate(beat_lease_waits_total[$__rate_interval]))", "{{source}} {{reason}}"), unit="ops"),
        ),
        (
            _p("Leases a second", ("sum by (platform) (rate(beat_leases_total[$__rate_interval]))", "{{platform}}"), unit="ops"),
            _p("Fetches in progress", ("sum by (platform, stage) (beat_fetches_in_progress)", "{{platform}} {{stage}}"), ("sum by (platform) (beat_queue_delayed)", "{{platform}} later")),
        ),
        (
            _p("Time until a claim (90th percentile)", (_quantile(0.9, "beat_claim_interval_seconds", "stage"), "{{stage}}"), unit="s"),
            _p("Duration of stages (95th percentile)", (_quantile(0.95, "beat_stage_duration_seconds", "stage"), "{{stage}}"), unit="s"),
        ),
        (
            _p("Items of a batch (mean)", ("sum by (stage) (rate(beat_stage_batch_size_sum[$__rate_interval])) / sum by (stage) (rate(beat_stage_batch_size_count[$__rate_interval]))", "{{stage}}")),
            _p("Rejected writes and messages sent again", ("sum by (stage) (rate(beat_fenced_writes_total[$__rate_interval]))", "fenced, {{stage}}"), ("sum by (queue) (rate(beat_messages_resent_total[$__rate_interval]))", "sent again, {{queue}}"), unit="ops"),
        ),
        (
            _p("What the sweeps find", ("sum by (sweep) (rate(beat_swept_total[$__rate_interval]))", "{{sweep}}"), unit="ops"),
            _p("Quarantine", ("sum by (kind, platform) (beat_quarantine_items)", "{{platform}} {{kind}}"), ("sum by (source, state) (beat_held_records)", "held: {{source}} {{state}}"), ("beat_data_breaker_open", "data breaker: {{source}} {{operation}}")),
        ),
    ),
)  # fmt: skip

DATABASE = Dashboard(
    "beat-database",
    "Beat / Database and processes",
    (
        (
            _p("Statements (99th percentile)", ("beat_database_statement_p99_seconds", "{{process}}, slowest process"), (_quantile(0.99, "beat_database_statement_duration_seconds", "process"), "{{process}}, all"), unit="s"),
            _p("Statements a second", ("sum by (process) (rate(beat_database_statement_duration_seconds_count[$__rate_interval]))", "{{process}}"), unit="ops"),
        ),
        (
            _p("Used share of the pools", ("beat_database_pool_used / beat_database_pool_limit", "{{process}}"), unit="percentunit"),
            _p("No connection in time", ("sum by (process) (increase(beat_database_pool_exhausted_total[$__rate_interval]))", "{{process}}")),
        ),
        (
            _p("Connections of PostgreSQL", ("beat_database_connections", "used"), ("beat_database_connections_limit", "limit")),
            _p("Dead rows", ("topk(10, beat_database_table_dead_rows)", "{{table}}")),
        ),
        (
            _p("Share of dead rows", ("beat_database_table_dead_rows / (beat_database_table_dead_rows + beat_database_table_live_rows)", "{{table}}"), unit="percentunit"),
            _p("Event loops", ("beat_event_loop_lag_seconds", "{{process}}"), unit="s"),
        ),
        (
            _p("Late sweeps", ("beat_sweep_lateness_seconds > 5", "{{sweep}}"), unit="s"),
            _p("Duration of sweeps", ("topk(10, beat_sweep_last_duration_seconds)", "{{sweep}}"), unit="s"),
        ),
        (
            _p("Since the last success of a sweep", ("topk(10, time() - beat_sweep_last_success_timestamp_seconds)", "{{sweep}}"), unit="s"),
            _p("Workers that ended, terms of leaders", ("beat_worker_restarts", "workers, last hour"), ("changes(beat_scheduler_leader_epoch[1h])", "elections, last hour")),
        ),
        (
            _p("Age of the gauges", ("time() - beat_state_timestamp_seconds", "measured"), ("time() - beat_events_counted_timestamp_seconds", "last event counted"), unit="s"),
        ),
    ),
)  # fmt: skip

EVENTS = Dashboard(
    "beat-events",
    "Beat / Events and assets",
    (
        (
            _p("Events a second", ("sum by (type) (rate(beat_events_total[$__rate_interval]))", "{{type}}"), unit="ops"),
            _p("Events without a place in the log", ("beat_events_pending", "pending")),
        ),
        (
            _p("How far sinks are behind", ("beat_event_sink_lag_seconds", "{{sink}}"), unit="s"),
            _p("Events that sinks have not got", ("beat_event_sink_lag_events", "{{sink}}"), ("beat_event_sink_parked", "{{sink}}, parked")),
        ),
        (
            _p("Webhooks", ("beat_webhook_lag_events", "events behind"), ("beat_webhook_deliveries_due", "deliveries that wait")),
            _p("Assets that wait", ("sum by (class) (beat_assets_pending)", "{{class}}")),
        ),
        (
            _p("Assets by state", ("sum by (status) (beat_assets)", "{{status}}")),
            _p("Assets stored and lost a second", ('sum by (type) (rate(beat_events_total{type=~"beat.asset.*"}[$__rate_interval]))', "{{type}}"), unit="ops"),
        ),
        (
            _p("How far the export of traces is behind", ("beat_trace_lag_events", "events behind"), told="Events that the exporter has not looked at. Ten seconds' worth are normal."),
            _p("Spans and traces a second", ("sum by (outcome) (rate(beat_trace_spans_total[$__rate_interval]))", "spans, {{outcome}}"), ("sum by (reason) (rate(beat_traces_exported_total[$__rate_interval]))", "traces, {{reason}}"), ("rate(beat_trace_events_lost_total[$__rate_interval])", "events lost"), unit="ops"),
        ),
    ),
)  # fmt: skip

DASHBOARDS = (OVERVIEW, SOURCES, QUEUE, DATABASE, EVENTS)


def built(dashboard: Dashboard) -> dict[str, Any]:
    """The JSON of a dashboard, as Grafana imports it."""
    panels: list[dict[str, Any]] = []
    top = 0
    for row in dashboard.rows:
        height = STAT_HEIGHT if all(panel.kind == "stat" for panel in row) else HEIGHT
        width = WIDTH // len(row)
        for column, panel in enumerate(row):
            place = {"h": height, "w": width, "x": column * width, "y": top}
            panels.append(_built(len(panels) + 1, panel, place))
        top += height
    return {
        "uid": dashboard.uid,
        "title": dashboard.title,
        "tags": ["beat"],
        "schemaVersion": 39,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-3h", "to": "now"},
        "timezone": "utc",
        "templating": {"list": [{"name": "datasource", "type": "datasource", "query": "prometheus", "label": "Prometheus"}]},
        "panels": panels,
    }  # fmt: skip


def _built(number: int, panel: Panel, place: dict[str, int]) -> dict[str, Any]:
    return {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.told,
        "datasource": SOURCE,
        "gridPos": place,
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "targets": [
            {"refId": chr(ord("A") + i), "datasource": SOURCE, "expr": expr, "legendFormat": legend, "instant": panel.kind == "stat"}
            for i, (expr, legend) in enumerate(panel.queries)
        ],
    }  # fmt: skip


def files() -> dict[Path, str]:
    """The text of each file."""
    return {FOLDER / f"{one.uid}.json": json.dumps(built(one), indent=2) + "\n" for one in DASHBOARDS}


def main() -> int:
    made = files()
    if "--check" not in sys.argv:
        FOLDER.mkdir(parents=True, exist_ok=True)
        for path, text in made.items():
            path.write_text(text)
        return 0
    known = {path: path.read_text() for path in FOLDER.glob("*.json")}
    if known != made:
        print("deploy/grafana is not what supply/dashboards.py builds: python -m supply.dashboards", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
