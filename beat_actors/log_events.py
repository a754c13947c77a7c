"""The events that Beat logs, by their names, which do not change. `docs/logs.md` has the table that `table()` makes of this list.

A test holds the list against the code: a name that is logged and not listed fails, as do a level or a field that is not the list's.
"""

from typing import NamedTuple

LEVELS = {
    "debug": "each step of each request; for the time of an investigation",
    "info": "a process, a sweep or a sink begins, ends or has done something; nothing is wrong",
    "warning": "something failed, and Beat makes it good by itself, without loss",
    "error": "something failed that somebody should look at, because it will not become good by itself, or because it should not happen",
    "critical": "the process ends, or cannot start",
}
"""What each level means."""


class Event(NamedTuple):
    """`levels`: one, or two where it depends on how it failed. `fields`: those that a line may have besides those that every line has."""

    name: str
    levels: str
    fields: str
    meaning: str


EVENTS = (
    # The way of a request.
    Event("request.accepted", "debug", "requests platforms traces", "requests were committed; `traces` has the ids of traces that their callers sent"),
    Event("turn.leased", "debug", "platform leased settled blocked", "a dispatch cycle gave out leases, or applied outcomes of calls"),
    Event("fetch.claimed", "debug", "fetches requests sources", "a worker took leases and makes their calls (older systems said 'Found Work')"),
    Event("call.finished", "debug", "fetches outcomes", "the outcomes of calls were committed"),
    # Processes.
    Event("worker_ready", "info", "ms", "a worker takes messages"),
    Event("worker_died", "error", "pid code again_in_s meaning", "a worker ended unexpectedly; its parent starts another one"),
    Event("worker_not_started", "error", "code why again_in_s meaning", "a worker ended before it was ready; its parent tries again"),
    Event("worker_cannot_start", "critical", "code why meaning", "no worker can start; its parent ends"),
    Event("worker_not_whole", "critical", "meaning", "a part of a worker ended by itself, so the whole worker ends"),
    Event("process_not_whole", "critical", "error meaning", "a part of a process ended by itself, so the whole process ends"),
    Event("unhealthy", "error", "wrong at strike of", "a worker does not do its work; after some strikes it is replaced. `at`: the calls in which its event loop is, where that does not answer"),
    Event("master_gone", "warning", "meaning", "the parent of a worker is gone, so the worker ends"),
    Event("not_closed_in_time", "warning", "meaning", "a worker that ends gave up waiting for its work"),
    Event("uncaught", "critical", "error", "an error that nothing caught"),
    Event("unexpected", "error", "incident method route", "a call of the API failed for a reason that is none of Beat's; the answer names the incident"),
    Event("own_trouble", "error", "kind said cooldown", "the process's own host is in trouble; the process takes no work for a while"),
    Event("own_trouble_over", "info", "kind", "that trouble is over"),
    Event("not_reported", "warning error", "error", "the process could not write its row"),
    # The scheduler.
    Event("scheduler_started", "info", "jobs", "the scheduler stands for election"),
    Event("leading", "info", "holder epoch", "this scheduler leads"),
    Event("not_leading", "warning", "epoch because", "this scheduler leads no more; another one takes over"),
    Event("campaign_failed", "error", "", "the election failed; it is tried again"),
    Event("swept", "info", "sweep count", "a sweep changed rows"),
    Event("sweep_late", "error", "sweep deadline", "a sweep did not end within its deadline; it runs again at its next time"),
    Event("sweep_skipped", "warning", "sweep error", "a store did not answer a sweep; it runs again at its next time"),
    Event("sweep_failed", "error", "sweep", "a sweep failed; it runs again at its next time"),
    Event("metrics_listening", "info", "address", "the scheduler serves metrics at the address of BEAT_METRICS_LISTEN"),
    Event("metrics_not_listening", "error", "address meaning", "the scheduler could not take that address"),
    Event("trace_events_lost", "warning", "events after", "events were deleted before the exporter of traces had looked at them, so traces may be missing"),
    Event("trace_spans_refused", "warning", "spans said", "the collector does not take these spans; they are not sent again"),
    Event("trace_not_made", "error", "request", "no trace could be made of the rows of a request; the others are exported"),
    Event("incident_ended", "warning", "cause source operation", "many records of a source were out of range at once, and it was found out why"),
    Event("replay_stopped", "warning", "replay failed read stop_at left", "a replay of the quarantine stopped, because too many payloads still cannot be read"),
    Event("restore_ended", "info", "restore state changed removed", "a restore, or what undoes one, has come to its end"),
    Event("sweeps_not_recorded", "warning", "error", "the ends of sweeps could not be written down"),
    Event("set_right_after_step_back", "warning", "seconds rows", "times that lay ahead after the database's clock stepped back were corrected"),
    Event("database_clock_stepped", "error", "seconds", "the database's clock stepped"),
    Event("retention_batch_smaller", "warning", "table batch", "a deletion took long, so it takes fewer rows at a time"),
    Event("erasure_waits", "warning", "erasure error", "an erasure could not go on; it is tried again"),
    # The stages.
    Event("call_failed", "error", "fetch source operation", "a call failed inside Beat, not at the provider; its lease is returned"),
    Event("check_not_asked", "error", "credential", "the check of a credential failed inside Beat"),
    Event("next_parser_stopped", "warning", "parser", "a next parser reads nothing more in this process, because its data breaker is open"),
    Event("canaries_not_known", "warning", "error", "whether next parsers may read could not be looked up; the deployed ones read for now"),
    Event("vault_key_missing", "error", "keys hint", "leases are left to processes that hold the key"),
    Event("lease_lost", "warning", "fetches count", "leases ended before their work did; others do the work"),
    Event("lease_not_renewed", "warning", "fetches error", "a store did not take the renewal of leases; it is tried again"),
    Event("fenced_writes", "warning", "stage rejected", "late writes were refused, because others had done the work"),
    Event("commit_tried_again", "warning", "stage calls error", "a commit failed and is tried again"),
    Event("not_completed", "error", "source fetches", "the outcomes of a batch could not be written; each is written alone"),
    Event("not_ingested", "error", "fetch request", "an answer could not be parsed for a reason that is none of Beat's; it is quarantined"),
    Event("not_processed", "error", "fetch request error", "records could not be written; they are quarantined"),
    Event("not_written_at_once", "warning", "fetches error", "a batch could not be written at once; each fetch is written alone"),
    Event("quarantined", "error", "fetch request error", "a fetch was put into quarantine"),
    Event("message_quarantined", "error", "queue why", "a message that is none of Beat's was put into quarantine"),
    Event("batch_failed", "error", "items", "a batch failed as a whole; its items are done alone"),
    Event("left_to_ingest", "warning", "fetches error", "what should have gone on in the same process is left to the next stage"),
    Event("not_isolated", "error", "fetches meaning", "suspected fetches could not be parsed apart"),
    Event("isolated_took_too_long", "warning", "seconds", "a suspected fetch was parsed for too long and was ended"),
    Event("upkeep_failed", "error", "credential operation", "a check or refresh of a credential failed inside Beat"),
    Event("upkeep_broken_off", "error", "credentials meaning", "checks and refreshes did not end in time"),
    Event("not_sent", "warning", "actor ids platform error", "messages could not be sent; the scheduler sends them again"),
    Event("wake_ups_lost", "warning", "error", "the subscription to wake-ups was lost; the queues are looked at once a second"),
    Event("redis_keys_unusable", "error", "keys count", "keys of another program were deleted and made anew"),
    Event("not_given_back", "warning", "platform error", "a reservation of an on-demand limit could not be returned; it ends by itself"),
    Event("limits_unavailable", "error warning", "platform operation error", "the on-demand limits cannot be checked"),
    # The API.
    Event("storage_unavailable", "error", "error", "a call of the API was answered with 503: PostgreSQL did not answer"),
    Event("objects_unavailable", "error", "error", "a call of the API was answered with 503: the bucket did not answer"),
    Event("calls_counted_alone", "warning", "error", "Redis did not answer, so this process counts the calls of keys by itself"),
    Event("calls_not_counted", "error", "automatic", "the count of calls failed for a reason that should not happen; this process counts them alone"),
    Event("keys_not_read", "error", "", "API keys could not be looked up"),
    Event("waiting_blind", "warning", "rows error", "callers that wait are answered late, because the wake-ups do not come"),
    Event("cold_reads_spent", "warning", "budget limit seconds", "readers of expired pictures used the budget of calls up"),
    Event("rows_not_looked_up", "error", "", "rows of assets could not be looked up"),
    # Payloads and assets.
    Event("archive_begun_anew", "info", "day payloads", "the archive of a day is made again from its beginning"),
    Event("payloads_left_the_database", "info", "day", "a day of payloads is in the bucket and left PostgreSQL"),
    Event("payloads_not_brought_back", "warning", "payloads error", "archived payloads for a replay could not be read; it is tried again"),
    Event("payloads_without_bucket", "error", "payloads fix", "archived payloads are wanted, and no bucket is configured"),
    Event("payload_lost", "error", "fetch object error", "an archived payload is not in the bucket"),
    Event("bucket_in_another_region", "warning", "bucket region fix", "the bucket is in another region than configured"),
    Event("uploads_started", "info", "bucket slots", "the process uploads assets"),
    Event("uploads_lowered", "warning", "said action", "the process has fewer uploads in flight than configured"),
    Event("uploads_not_claimed", "error warning", "error", "assets could not be claimed; it is tried again"),
    Event("uploads_not_committed", "warning", "count error meaning", "finished uploads could not be written down; it is tried again"),
    Event("upload_failed", "error", "asset meaning", "an upload failed inside Beat"),
    Event("upload_not_committed", "error", "asset", "one finished upload could not be written down"),
    Event("upload_not_failed", "error", "asset meaning", "the failure of an upload could not be written down"),
    Event("object_damaged", "error", "key expected automatic", "an object in the bucket is not what was stored; it is fetched again"),
    Event("object_is_another", "error", "key bytes", "an object in the bucket has another content than its row says"),
    Event("object_missing", "error", "asset error", "the object of a stored asset is gone; it is fetched again"),
    Event("objects_not_deleted", "warning", "objects code first said", "objects could not be deleted; it is tried again"),
    Event("objects_deleted_late", "warning", "objects assets_again", "objects were needed again while they were deleted; their assets are fetched again"),
    Event("variant_not_made", "warning", "content width error", "a smaller picture could not be made; the large one is served"),
    Event("variant_refused", "info", "found reason", "a smaller picture is not made of this content"),
    # Events, webhooks, notifications.
    Event("publisher_started", "info", "sinks", "the process publishes events"),
    Event("sinks_not_enrolled", "warning", "error", "the sinks could not be written down; it is tried again"),
    Event("sequencing_skipped", "warning", "error", "events could not be given their places; it is tried again"),
    Event("sink_leased", "info", "sink seq", "this process publishes to the sink"),
    Event("sink_lease_lost", "warning", "sink", "another process publishes to the sink"),
    Event("sink_unusable", "error", "sink error", "the settings of a sink are wrong"),
    Event("sink_open_failed", "error", "sink", "a sink could not be opened; it is tried again"),
    Event("sink_stands", "warning", "sink trouble reason", "a sink takes no events; it is tried again"),
    Event("sink_sends_again", "warning", "sink after up_to", "events whose receipt was not confirmed are sent again"),
    Event("sink_failed", "error", "sink events error", "a sink failed in a way that is none of its protocol"),
    Event("sink_again_skipped", "warning", "sink reason", "a replay or parked events could not be sent; it is tried again"),
    Event("sink_again_failed", "error", "sink", "a replay or parked events failed inside Beat"),
    Event("relay_skipped", "warning", "sink error", "a store did not answer a relay; it is tried again"),
    Event("relay_failed", "error", "sink", "a relay failed inside Beat; it begins again"),
    Event("deliverer_started", "info", "", "the process delivers webhooks and notifications"),
    Event("webhook", "info", "delivery endpoint attempt status", "an attempt to deliver an event to an endpoint"),
    Event("webhook_call_failed", "error", "delivery", "an attempt failed inside Beat"),
    Event("webhooks_skipped", "warning", "error", "a store did not answer the deliverer; it is tried again"),
    Event("webhooks_failed", "error", "", "the deliverer failed; it goes on"),
    Event("webhooks_not_settled", "warning", "error", "outcomes of deliveries could not be written; they are made again"),
    Event("notification", "info", "sink message attempt sent alerts", "an attempt to send a notification"),
    Event("notification_attempt_failed", "error", "sink message", "an attempt failed inside Beat"),
    Event("notification_not_settled", "warning", "sink message error", "the outcome could not be written; the message is sent again"),
    Event("notification_failed", "error", "sink message", "a message failed inside Beat; it is sent again"),
    Event("notifications_skipped", "warning", "error", "a store did not answer the notifier; it is tried again"),
    Event("notifications_failed", "error", "", "the notifier failed; it goes on"),
)  # fmt: skip


def table() -> str:
    """The list as a Markdown table."""
    rows = ["| event | level | fields | meaning |", "|---|---|---|---|"]
    for one in EVENTS:
        fields = ", ".join(f"`{name}`" for name in one.fields.split())
        rows.append(f"| `{one.name}` | {' or '.join(one.levels.split())} | {fields} | {one.meaning} |")
    return "\n".join(rows)
