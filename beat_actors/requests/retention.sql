-- name: scrape_request_log
-- Requests, with their fetches. One batch of a walk in the order of the ids: what ended long ago goes, and what has not ended is passed over. The condition is asked
-- again of a row that is locked, since it may have been retried meanwhile.
-- Parameters: after (bigint: the last id of the batch before), batch (integer), days (integer), epoch (bigint or null: of the leader).
-- Rows: one; the last id that was read (null: none), how many were read, whether the last one came long ago, and how many are gone.
-- Locks: the rows that go, in no order, and their fetches.
-- No row: never.
WITH age AS (
    SELECT clock_timestamp() - make_interval(days => %(days)s) AS ended
), batch AS (
    SELECT id, created_at < (SELECT ended FROM age) AS old FROM scrape_request_log WHERE id > %(after)s ORDER BY id LIMIT %(batch)s
), gone AS (
    DELETE FROM scrape_request_log WHERE id = ANY(ARRAY(SELECT id FROM batch WHERE old)) AND status IN ('COMPLETE', 'FAILED', 'CANCELLED') AND scraped_at < (SELECT ended FROM age)
      AND beat_leads(%(epoch)s) RETURNING id
)
SELECT max(id) AS last, count(*) AS read, coalesce((array_agg(old ORDER BY id DESC))[1], false) AS old,
       (SELECT count(*) FROM gone) AS gone FROM batch

-- name: outbox_event
-- Events. One batch of a walk in the order of the ids: what ended long ago goes, and what has not ended is passed over. The condition is asked
-- again of a row that is locked, since it may have been retried meanwhile.
-- Parameters: after (bigint: the last id of the batch before), batch (integer), days (integer), epoch (bigint or null: of the leader).
-- Rows: one; the last id that was read (null: none), how many were read, whether the last one came long ago, and how many are gone.
-- Locks: the rows that go, in no order.
-- No row: never.
WITH age AS (
    SELECT clock_timestamp() - make_interval(days => %(days)s) AS ended
), batch AS (
    SELECT id, occurred_at < (SELECT ended FROM age) AS old FROM outbox_event WHERE id > %(after)s ORDER BY id LIMIT %(batch)s
), gone AS (
    DELETE FROM outbox_event WHERE id = ANY(ARRAY(SELECT id FROM batch WHERE old)) AND occurred_at < (SELECT ended FROM age)
      AND beat_leads(%(epoch)s) RETURNING id
)
SELECT max(id) AS last, count(*) AS read, coalesce((array_agg(old ORDER BY id DESC))[1], false) AS old,
       (SELECT count(*) FROM gone) AS gone FROM batch

-- name: alert
-- Alerts that are resolved. One batch of a walk in the order of the ids: what ended long ago goes, and what has not ended is passed over. The condition is asked
-- again of a row that is locked, since it may have been retried meanwhile.
-- Parameters: after (bigint: the last id of the batch before), batch (integer), days (integer), epoch (bigint or null: of the leader).
-- Rows: one; the last id that was read (null: none), how many were read, whether the last one came long ago, and how many are gone.
-- Locks: the rows that go, in no order.
-- No row: never.
WITH age AS (
    SELECT clock_timestamp() - make_interval(days => %(days)s) AS ended
), batch AS (
    SELECT id, opened_at < (SELECT ended FROM age) AS old FROM alert WHERE id > %(after)s ORDER BY id LIMIT %(batch)s
), gone AS (
    DELETE FROM alert WHERE id = ANY(ARRAY(SELECT id FROM batch WHERE old)) AND resolved_at < (SELECT ended FROM age)
      AND beat_leads(%(epoch)s) RETURNING id
)
SELECT max(id) AS last, count(*) AS read, coalesce((array_agg(old ORDER BY id DESC))[1], false) AS old,
       (SELECT count(*) FROM gone) AS gone FROM batch

-- name: quarantine
-- Entries of the quarantine that are resolved. One batch of a walk in the order of the ids: what ended long ago goes, and what has not ended is passed over. The condition is asked
-- again of a row that is locked, since it may have been retried meanwhile.
-- Parameters: after (bigint: the last id of the batch before), batch (integer), days (integer), epoch (bigint or null: of the leader).
-- Rows: one; the last id that was read (null: none), how many were read, whether the last one came long ago, and how many are gone.
-- Locks: the rows that go, in no order.
-- No row: never.
WITH age AS (
    SELECT clock_timestamp() - make_interval(days => %(days)s) AS ended
), batch AS (
    SELECT id, at < (SELECT ended FROM age) AS old FROM quarantine WHERE id > %(after)s ORDER BY id LIMIT %(batch)s
), gone AS (
    DELETE FROM quarantine WHERE id = ANY(ARRAY(SELECT id FROM batch WHERE old)) AND resolved_at < (SELECT ended FROM age)
      AND beat_leads(%(epoch)s) RETURNING id
)
SELECT max(id) AS last, count(*) AS read, coalesce((array_agg(old ORDER BY id DESC))[1], false) AS old,
       (SELECT count(*) FROM gone) AS gone FROM batch

-- name: credential_event
-- What happened to credentials. One batch of a walk in the order of the ids: what ended long ago goes, and what has not ended is passed over. The condition is asked
-- again of a row that is locked, since it may have been retried meanwhile.
-- Parameters: after (bigint: the last id of the batch before), batch (integer), days (integer), epoch (bigint or null: of the leader).
-- Rows: one; the last id that was read (null: none), how many were read, whether the last one came long ago, and how many are gone.
-- Locks: the rows that go, in no order.
-- No row: never.
WITH age AS (
    SELECT clock_timestamp() - make_interval(days => %(days)s) AS ended
), batch AS (
    SELECT id, at < (SELECT ended FROM age) AS old FROM credential_event WHERE id > %(after)s ORDER BY id LIMIT %(batch)s
), gone AS (
    DELETE FROM credential_event WHERE id = ANY(ARRAY(SELECT id FROM batch WHERE old)) AND at < (SELECT ended FROM age)
      AND beat_leads(%(epoch)s) RETURNING id
)
SELECT max(id) AS last, count(*) AS read, coalesce((array_agg(old ORDER BY id DESC))[1], false) AS old,
       (SELECT count(*) FROM gone) AS gone FROM batch
