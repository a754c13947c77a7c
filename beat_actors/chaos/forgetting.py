"""The statements between two runs: everything that a run leaves is forgotten, and the log of events begins anew."""

from beat_actors.platforms.registry import platforms

ENTITIES = sorted({entity.table for platform in platforms().values() for entity in platform.entities})
"""What an earlier run observed of people would be what the next one is compared with."""

# Ids go on rising, so that a message of an earlier run finds nothing. The publisher is down meanwhile, because it knows how far the log and its
# sink have got. It makes the sink's row anew.
FORGET = (
    """
TRUNCATE scrape_request_log, scrape_fetch, lane, settlement, breaker, credential_usage, credential_event, raw_payload, trace_log,
         profile_log, post_log, broker_decision, outbox_event, change_log, event, event_pending, event_log, event_minute, event_sink, event_parked,
         event_replay, limit_level, asset_log, asset_object, asset_variant, asset_denied, asset_usage, asset_sample,
         asset_check, quarantine, alert, credential_call, held_record, trust_cohort, notification, notification_told, limit_usage, limit_forecast, budget,
         call_total, metric_sum, process_left, restore_job, restore_item, entity_base, entity_check, absence, source_score
""",
    """
UPDATE event_sequence SET seq = DEFAULT, minute = DEFAULT, floor = DEFAULT, mark = DEFAULT, marked_in = DEFAULT, mark_until = DEFAULT
""",
    "TRUNCATE " + ", ".join(f'"{table}"' for table in ENTITIES),
    "UPDATE webhook_position SET seq = DEFAULT",
    """
UPDATE credential SET enabled = true, disabled_till = NULL, disabled_reason = NULL, dead_at = NULL, dead_reason = NULL, denied = '{}', denials = '{}', denied_until = NULL,
    ladder = 0, ladder_at = NULL, probing = false, reported_remaining = NULL, reported_reset_at = NULL, full_until = NULL, check_at = 'infinity'
""",
)
LEASED = "SELECT FROM event_sink WHERE holder IS NOT NULL"
"""Whether a publisher publishes to the sink."""
CHECK_NONE, CHECKS = "UPDATE credential SET check_at = 'infinity'", "SELECT FROM credential_call"
CHECK_THEM = "UPDATE credential SET check_at = clock_timestamp() + make_interval(secs => random() * %s)"
