-- fragment: event_columns
id, platform, flow, params, status, priority, account_id, idempotency_key, created_at, picked_at, scraped_at, retry_count, batch_id, tags, data,
event_version

-- fragment: event_columns_of_r
r.id, r.platform, r.flow, r.params, r.status, r.priority, r.account_id, r.idempotency_key, r.created_at, r.picked_at, r.scraped_at,
r.retry_count, r.batch_id, r.tags, r.data, r.event_version

-- fragment: payload
-- What events say of a request. What an item of a list has behind its idempotency key, its number, is left out, as the API leaves it out.
jsonb_build_object('id', id, 'location', '/v1/scrape-requests/' || id, 'platform', platform, 'flow', flow, 'params', params, 'status', status,
    'priority', (ARRAY['customer', 'standard', 'batch'])[priority], 'account_id', account_id,
    'idempotency_key', split_part(idempotency_key, chr(31), 1), 'batch_id', batch_id, 'created_at', created_at,
    'picked_at', picked_at, 'scraped_at', scraped_at, 'tags', tags, 'data', data)

-- fragment: publish
-- An event for each of the rows with the columns `event_columns`, and `happened`: accepted, processing, complete, failed or cancelled. Every change of a
-- request's life is published by the statement that makes it, which also counts `event_version` up.
INSERT INTO event (event_id, type, subject, version, account_id, data)
SELECT md5('request ' || id || ' ' || upper(happened) || ' ' || retry_count)::uuid, 'beat.scrape_request.' || happened, 'scrape_request/' || id,
       event_version, account_id, {{payload}}
FROM

-- fragment: open
-- Whether a request that is found by its id has not ended. In a form that no index has: just after many requests have come, PostgreSQL takes those that are
-- open for few, and would read all of them instead.
status || '' IN ('PENDING', 'PROCESSING')

-- name: close
-- Counts ended fetches off their requests, and ends the requests that have none left. A request that was cancelled or has expired meanwhile is
-- left as it is; what its fetches come to is for its followers, if there are any.
-- What a provider says to be missing or private is remembered (`absence`), and forgotten once it is there. Where a request went on with an id (`moved`), the
-- name is remembered with this request, and may be asked for again at once.
-- Each closing is counted once by its caller: the fetch's own transition, in the same transaction, happens once.
-- Status: PENDING, PROCESSING -> COMPLETE, FAILED.
-- Parameters: closings (jsonb: a list of objects with the columns of `c`).
-- Rows: those that ended for themselves (`ended`), and those that others wait for (`awaited`), for `close_followers`.
-- Locks: the requests by their ids. Everywhere the order is: fetches, the leaders by their ids, then their followers.
-- Followers change only while their leader is locked.
-- No row: of a request, that it goes on, or was run anew.
WITH closing AS (
    SELECT request_id, run, count(*)::integer AS closed, sum(added)::integer AS added, sum(items)::integer AS items,
           min(observed_at) AS observed_at,
           (array_agg(data ORDER BY data ? 'error'))[1] || coalesce((array_agg(data) FILTER (WHERE data ? 'partial'))[1], '{}')
               || coalesce((array_agg(data) FILTER (WHERE data ? 'error'))[1], '{}') AS data
    FROM jsonb_to_recordset(%(closings)s::jsonb) AS c(
        request_id bigint, run integer, added integer, items integer, data jsonb, observed_at timestamptz)
    GROUP BY request_id, run
), locked AS (
    SELECT r.id, r.status IN ('PENDING', 'PROCESSING') AS waits FROM scrape_request_log r JOIN closing c ON r.id = c.request_id
    WHERE r.live AND r.retry_count = c.run ORDER BY r.id FOR NO KEY UPDATE OF r
), closed AS (
    UPDATE scrape_request_log r SET
        open_fetches = r.open_fetches - c.closed + c.added,
        live = r.open_fetches - c.closed + c.added > 0,
        items = r.items + c.items,
        observed_at = least(r.observed_at, c.observed_at),
        data = CASE WHEN l.waits THEN coalesce(r.data, '{}') || c.data || jsonb_build_object('items', r.items + c.items)
                    ELSE r.data END,
        work_data = CASE WHEN l.waits THEN NULL
                         ELSE coalesce(r.work_data, '{}') || c.data || jsonb_build_object('items', r.items + c.items) END,
        status = CASE WHEN NOT l.waits OR r.open_fetches - c.closed + c.added > 0 THEN r.status
                      WHEN (coalesce(r.data, '{}') || c.data) ? 'error' THEN 'FAILED' ELSE 'COMPLETE' END,
        scraped_at = CASE WHEN NOT l.waits OR r.open_fetches - c.closed + c.added > 0 THEN r.scraped_at ELSE clock_timestamp() END,
        event_version = CASE WHEN NOT l.waits OR r.open_fetches - c.closed + c.added > 0 THEN r.event_version ELSE r.event_version + 1 END
    FROM closing c, locked l WHERE r.id = c.request_id AND r.id = l.id AND r.retry_count = c.run
    RETURNING {{event_columns_of_r}}, lower(r.status) AS happened, l.waits AND NOT r.live AS ended, NOT r.live AND r.waiters > 0 AS awaited
), absent AS (
    -- Forced requests in between do not count: the next time is that much later only after the provider was due to be asked.
    INSERT INTO absence AS a (key, platform, code, said, times, ask_at, request_id)
    SELECT DISTINCT ON (key) key, platform, code, said, times, clock_timestamp() + CASE times WHEN 0 THEN interval '0' ELSE beat_absence_lasts(code, 1) END, id FROM (
        SELECT beat_absence(platform, flow, params, account_id) AS key, platform, coalesce(data->'error'->>'code', 'missing') AS code,
            coalesce(data->'error'->>'message', '') AS said, (happened = 'failed')::integer AS times, id
        FROM closed WHERE ended AND (happened = 'failed' AND data->'error'->>'code' IN ('missing', 'private') OR happened = 'complete' AND data ? 'moved')) c ORDER BY key, id
    ON CONFLICT (key) DO UPDATE SET code = excluded.code, said = excluded.said, last_at = clock_timestamp(), request_id = excluded.request_id,
        first_at = CASE WHEN a.code = excluded.code THEN a.first_at ELSE clock_timestamp() END,
        times = CASE WHEN excluded.times = 0 THEN 0 WHEN a.code = excluded.code THEN a.times + (a.ask_at <= clock_timestamp())::integer ELSE 1 END,
        ask_at = clock_timestamp() + CASE excluded.times WHEN 0 THEN interval '0' ELSE beat_absence_lasts(excluded.code, CASE WHEN a.code = excluded.code THEN a.times + (a.ask_at <= clock_timestamp())::integer ELSE 1 END) END
), present AS (
    DELETE FROM absence a USING closed c WHERE EXISTS (SELECT FROM absence) AND c.ended AND c.happened = 'complete' AND NOT c.data ? 'moved'
        AND a.key = beat_absence(c.platform, c.flow, c.params, c.account_id)
), published AS (
    {{publish}} closed WHERE ended
)
SELECT id, status, ended, awaited FROM closed WHERE ended OR awaited

-- name: close_followers
-- Ends the followers of requests, as those would have ended. It is a statement of its own, because a request may have begun to follow after
-- `close` began, and only the lock tells. The counter on the locked row says whether there is any.
-- Status: PENDING, PROCESSING -> COMPLETE, FAILED.
-- Parameters: ids (bigint[]: the leaders, locked by the caller).
-- Locks: the followers, by their leader and their ids.
-- No row: all of them have ended by themselves.
WITH work AS (
    SELECT id, items, observed_at, coalesce(work_data, data) AS data FROM scrape_request_log WHERE id = ANY(%(ids)s)
), waiting AS (
    SELECT id FROM scrape_request_log WHERE joined_to = ANY(%(ids)s) AND status IN ('PENDING', 'PROCESSING')
    ORDER BY joined_to, id FOR NO KEY UPDATE
), closed AS (
    UPDATE scrape_request_log r SET status = CASE WHEN work.data ? 'error' THEN 'FAILED' ELSE 'COMPLETE' END,
        scraped_at = clock_timestamp(), items = work.items, observed_at = work.observed_at, data = work.data,
        event_version = r.event_version + 1
    FROM waiting, work WHERE r.id = waiting.id AND work.id = r.joined_to
    RETURNING {{event_columns_of_r}}, lower(r.status) AS happened
), published AS (
    {{publish}} closed
)
SELECT id, status FROM closed

-- name: lock_fetches
-- Locks what waits of requests, or of their leaders, before the requests themselves are locked.
-- Parameters: ids (bigint[]: requests).
-- Locks: the fetches by their ids.
-- No row: nothing of them waits.
SELECT f.id FROM scrape_fetch f JOIN (
    SELECT DISTINCT coalesce(joined_to, id) AS id FROM scrape_request_log WHERE id = ANY(%(ids)s) AND {{open}}
) r ON f.request_id = r.id WHERE f.stage = 'WAITING' ORDER BY f.id FOR NO KEY UPDATE OF f

-- name: lock_requests
-- Locks requests that have not ended, and their leaders.
-- Parameters: ids (bigint[]: requests).
-- Locks: each leader before its followers, by their ids.
-- No row: all of them have ended.
SELECT r.id FROM scrape_request_log r WHERE (r.id = ANY(%(ids)s) AND r.{{open}}) OR r.id = ANY(ARRAY(
    SELECT joined_to FROM scrape_request_log WHERE id = ANY(%(ids)s) AND {{open}}))
ORDER BY coalesce(r.joined_to, r.id), r.joined_to IS NOT NULL, r.id FOR NO KEY UPDATE

-- name: end
-- Ends requests from outside: cancelled, or past their deadline. Where nobody else waits for their fetches, what waits never runs. A call that is
-- out was paid for: what it brings is kept.
-- Status: PENDING, PROCESSING -> FAILED, CANCELLED.
-- Stages: WAITING -> CANCELLED.
-- Parameters: ids (bigint[]), status (text: FAILED or CANCELLED), error (jsonb), account_id (text or null: end those of this account alone),
-- late (boolean: end those alone whose deadline has passed).
-- Locks: fetches and requests, which `lock_fetches` and `lock_requests` have locked in this transaction.
-- No row: of a request, that it has ended, is not this account's, or is not late.
WITH target AS MATERIALIZED (
    SELECT id, joined_to FROM scrape_request_log
    WHERE id = ANY(%(ids)s) AND {{open}} AND (%(account_id)s::text IS NULL OR account_id = %(account_id)s)
      AND (NOT %(late)s OR expires_at <= clock_timestamp())
), leaving AS (
    SELECT joined_to AS id, count(*)::integer AS n FROM target WHERE joined_to IS NOT NULL GROUP BY 1
), changed AS (
    UPDATE scrape_request_log r SET
        status = CASE WHEN t.id IS NULL THEN r.status ELSE %(status)s END,
        scraped_at = CASE WHEN t.id IS NULL THEN r.scraped_at ELSE clock_timestamp() END,
        data = CASE WHEN t.id IS NULL THEN r.data ELSE coalesce(r.data, '{}') || jsonb_build_object('error', %(error)s::jsonb
            || CASE WHEN %(late)s THEN jsonb_build_object('expires_at', r.expires_at) ELSE '{}' END) END,
        work_data = CASE WHEN t.id IS NULL THEN r.work_data ELSE r.data END,
        event_version = r.event_version + (t.id IS NOT NULL)::integer,
        waiters = r.waiters - coalesce(l.n, 0),
        live = r.live AND ((t.id IS NULL AND r.status IN ('PENDING', 'PROCESSING')) OR r.waiters > coalesce(l.n, 0))
    FROM (SELECT id FROM target UNION SELECT id FROM leaving) a LEFT JOIN target t USING (id) LEFT JOIN leaving l USING (id)
    WHERE r.id = a.id
    RETURNING {{event_columns_of_r}}, lower(r.status) AS happened, r.live, t.id IS NOT NULL AS ended
), cancelled AS (
    UPDATE scrape_fetch f SET stage = 'CANCELLED' FROM changed c WHERE f.request_id = c.id AND NOT c.live AND f.stage = 'WAITING'
), published AS (
    {{publish}} changed WHERE ended
)
SELECT id FROM changed WHERE ended ORDER BY id

-- name: wait
-- Publishes that requests wait for a time, their followers with them, and why.
-- Parameters: ids (bigint[]: leaders), until (timestamptz[]), reasons (text[]).
-- Locks: the requests, each leader before its followers, by their ids.
-- No row: never; the statement gives none, and touches none where each has ended.
WITH waits AS (
    SELECT * FROM unnest(%(ids)s::bigint[], %(until)s::timestamptz[], %(reasons)s::text[]) AS w(id, until, reason)
), locked AS MATERIALIZED (
    SELECT r.id, w.until, w.reason FROM scrape_request_log r JOIN waits w ON w.id = coalesce(r.joined_to, r.id)
    WHERE r.id = ANY(%(ids)s || ARRAY(SELECT id FROM scrape_request_log WHERE joined_to = ANY(%(ids)s) AND status IN ('PENDING', 'PROCESSING'))) AND r.{{open}}
    ORDER BY coalesce(r.joined_to, r.id), r.joined_to IS NOT NULL, r.id FOR NO KEY UPDATE OF r
), counted AS (
    UPDATE scrape_request_log r SET event_version = r.event_version + 1 FROM locked l WHERE r.id = l.id
    RETURNING {{event_columns_of_r}}, l.until, l.reason
)
INSERT INTO event (event_id, type, subject, version, account_id, data)
SELECT md5('request ' || id || ' WAITING ' || event_version)::uuid, 'beat.scrape_request.waiting', 'scrape_request/' || id, event_version, account_id,
       {{payload}} || jsonb_build_object('waiting', jsonb_build_object('reason', reason, 'until', until))
FROM counted
