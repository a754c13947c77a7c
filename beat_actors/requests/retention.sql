-- fragment: age
age AS (
    SELECT clock_timestamp() - make_interval(days => %(days)s) AS ended
)

-- fragment: next
WHERE id > %(after)s ORDER BY id LIMIT %(batch)s

-- fragment: old
WHERE id = ANY(ARRAY(SELECT id FROM batch WHERE old))

-- fragment: read
SELECT max(id) AS last, count(*) AS read, coalesce((array_agg(old ORDER BY id DESC))[1], false) AS old,
       (SELECT count(*) FROM gone) AS gone FROM batch

-- name: scrape_request_log
-- Forgets requests that ended long ago, with their fetches. One batch of a walk in the order of the ids.
-- What has not ended is passed over. The condition is asked again of a row that is locked, since it may have been retried meanwhile.
-- Parameters: after (bigint: the last id of the batch before), batch (integer), days (integer), epoch (bigint or null: of the leader).
-- Rows: one, as `Batch`.
-- Locks: the requests and their fetches that go, in no order.
-- No row: never.
WITH {{age}}, batch AS (
    SELECT id, created_at < (SELECT ended FROM age) AS old FROM scrape_request_log {{next}}
), gone AS (
    DELETE FROM scrape_request_log {{old}} AND status IN ('COMPLETE', 'FAILED', 'CANCELLED') AND scraped_at < (SELECT ended FROM age)
      AND beat_leads(%(epoch)s) RETURNING id
)
{{read}}

-- name: outbox_event
-- Forgets events. One batch of a walk in the order of the ids.
-- Parameters: after (bigint: the last id of the batch before), batch (integer), days (integer), epoch (bigint or null: of the leader).
-- Rows: one, as `Batch`.
-- Locks: the events that go, in no order.
-- No row: never.
WITH {{age}}, batch AS (
    SELECT id, occurred_at < (SELECT ended FROM age) AS old FROM outbox_event {{next}}
), gone AS (
    DELETE FROM outbox_event {{old}} AND occurred_at < (SELECT ended FROM age)
      AND beat_leads(%(epoch)s) RETURNING id
)
{{read}}

-- name: alert
-- Forgets alerts that were resolved long ago. One batch of a walk in the order of the ids.
-- Parameters: after (bigint: the last id of the batch before), batch (integer), days (integer), epoch (bigint or null: of the leader).
-- Rows: one, as `Batch`.
-- Locks: the alerts that go, in no order.
-- No row: never.
WITH {{age}}, batch AS (
    SELECT id, opened_at < (SELECT ended FROM age) AS old FROM alert {{next}}
), gone AS (
    DELETE FROM alert {{old}} AND resolved_at < (SELECT ended FROM age)
      AND beat_leads(%(epoch)s) RETURNING id
)
{{read}}

-- name: quarantine
-- Forgets entries of the quarantine that were resolved long ago. One batch of a walk in the order of the ids.
-- Parameters: after (bigint: the last id of the batch before), batch (integer), days (integer), epoch (bigint or null: of the leader).
-- Rows: one, as `Batch`.
-- Locks: the entries that go, in no order.
-- No row: never.
WITH {{age}}, batch AS (
    SELECT id, at < (SELECT ended FROM age) AS old FROM quarantine {{next}}
), gone AS (
    DELETE FROM quarantine {{old}} AND resolved_at < (SELECT ended FROM age)
      AND beat_leads(%(epoch)s) RETURNING id
)
{{read}}

-- name: credential_event
-- Forgets what happened to credentials. One batch of a walk in the order of the ids.
-- Parameters: after (bigint: the last id of the batch before), batch (integer), days (integer), epoch (bigint or null: of the leader).
-- Rows: one, as `Batch`.
-- Locks: the events that go, in no order.
-- No row: never.
WITH {{age}}, batch AS (
    SELECT id, at < (SELECT ended FROM age) AS old FROM credential_event {{next}}
), gone AS (
    DELETE FROM credential_event {{old}} AND at < (SELECT ended FROM age)
      AND beat_leads(%(epoch)s) RETURNING id
)
{{read}}
