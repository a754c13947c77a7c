-- name: lock
-- Locks requests, and reads what is to run again.
-- Parameters: ids (bigint[]), account_id (text or null: those of this account alone).
-- Locks: the requests by their ids.
-- No row: of a request, that there is none, or that it is another account's.
SELECT id, platform, flow, params, status, priority, account_id, expires_at, apart, live, retry_count
FROM scrape_request_log WHERE id = ANY(%(ids)s) AND (%(account_id)s::text IS NULL OR account_id = %(account_id)s) ORDER BY id FOR NO KEY UPDATE

-- name: retry
-- Runs requests again, each with its first fetch anew, or lets one follow the request that leads the same work. They are locked, ended, and have
-- no fetches that count. A deadline that has passed is gone: it was the last run's.
-- Status: FAILED, CANCELLED -> PENDING, PROCESSING.
-- Parameters: items (jsonb: a list of objects with the columns of `i`).
-- Rows: one for each; `escalated`: whether it made the fetches that it waits for more urgent, or later to expire.
-- Locks: the leaders, by their ids.
-- No row: of a request, that it is gone. Raises UniqueViolation where somebody else began the same work meanwhile.
WITH input AS MATERIALIZED (
    SELECT i.*, decode(i.work_hex, 'hex') AS work, CASE WHEN i.expires_at > clock_timestamp() THEN i.expires_at END AS deadline
    FROM jsonb_to_recordset(%(items)s::jsonb) AS i(
        id bigint, params jsonb, priority smallint, expires_at timestamptz, work_hex text, apart boolean, platform text,
        lane_id integer, operation text, fetch_params jsonb, cursor_source text, owner text)
), in_flight AS MATERIALIZED (
    SELECT id, work, picked_at, priority, expires_at FROM scrape_request_log
    WHERE work = ANY(ARRAY(SELECT work FROM input WHERE NOT apart)) AND live AND NOT apart ORDER BY id FOR NO KEY UPDATE
), plan AS MATERIALIZED (
    SELECT i.*, f.picked_at, f.id IS NOT NULL AS in_flight_already, nullif(coalesce(f.id, min(i.id) OVER alike), i.id) AS joined_to,
           count(*) OVER alike AS alike, min(i.priority) OVER alike AS urgency,
           first_value(lane_id) OVER (alike ORDER BY i.priority) AS urgent_lane,
           CASE WHEN bool_and(deadline IS NOT NULL) OVER alike THEN max(deadline) OVER alike END AS last_deadline,
           i.priority < f.priority OR (f.expires_at IS NOT NULL AND coalesce(i.deadline > f.expires_at, true)) AS escalates
    FROM input i LEFT JOIN in_flight f ON f.work = i.work AND NOT i.apart
    WINDOW alike AS (PARTITION BY i.work, CASE WHEN i.apart THEN i.id END)
), again AS (
    UPDATE scrape_request_log r SET
        status = CASE WHEN p.picked_at IS NULL THEN 'PENDING' ELSE 'PROCESSING' END, picked_at = p.picked_at,
        retry_count = r.retry_count + 1, params = p.params, work = p.work, expires_at = p.deadline, joined_to = p.joined_to,
        live = p.joined_to IS NULL, open_fetches = (p.joined_to IS NULL)::integer,
        waiters = CASE WHEN p.joined_to IS NULL THEN p.alike - 1 ELSE 0 END,
        priority = CASE WHEN p.joined_to IS NULL THEN p.urgency ELSE r.priority END,
        scraped_at = NULL, observed_at = NULL, collected_at = NULL, items = 0, data = NULL, work_data = NULL, event_version = r.event_version + 1
    FROM plan p WHERE r.id = p.id RETURNING {{lifecycle.event_columns_of_r}}, 'accepted' AS happened, r.api_key_id
), fetched AS (
    INSERT INTO scrape_fetch (request_id, run, lane_id, platform, operation, params, cursor_source, priority, expires_at, owner, tenant)
    SELECT p.id, a.retry_count, urgent_lane, p.platform, operation, fetch_params, cursor_source, urgency, last_deadline, owner,
           beat_tenant(a.account_id, a.api_key_id)
    FROM plan p JOIN again a USING (id) WHERE p.joined_to IS NULL ORDER BY p.id
), counted AS (
    UPDATE scrape_request_log r SET waiters = r.waiters + c.n, priority = least(r.priority, c.urgency)
    FROM (SELECT joined_to, count(*)::integer AS n, min(priority) AS urgency FROM plan WHERE in_flight_already GROUP BY 1) c WHERE r.id = c.joined_to
), published AS (
    {{lifecycle.publish}} again
)
SELECT p.id, p.in_flight_already AND p.escalates AND beat_urge(p.joined_to, p.priority, p.deadline) AS escalated FROM plan p JOIN again USING (id)
