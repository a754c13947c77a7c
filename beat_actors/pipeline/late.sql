-- name: tell
-- Publish that late observations changed things: one event for each fetch, and one for each held record of it that was accepted.
-- Parameters: platform, kind; the arrays keys, accounts, owners, requests, fetches, observed, holds (null for what an answer says at once), one entry for each thing and fetch.
-- Locks: none.
-- 0 rows: never.
INSERT INTO event (event_id, type, subject, account_id, owner, data)
SELECT md5(concat_ws(' ', 'changed late', %(platform)s::text, %(kind)s::text, request_id, owner, extract(epoch FROM observed_at), fetch_id, hold))::uuid,
    'beat.data.changed', 'scrape_request/' || request_id, account_id, owner, jsonb_build_object('platform', %(platform)s::text, 'kind', %(kind)s::text,
        'request_id', request_id, 'account_id', nullif(account_id, ''), 'observed_at', observed_at, 'keys', jsonb_agg(key ORDER BY key))
FROM unnest(%(keys)s::text[], %(accounts)s::text[], %(owners)s::text[], %(requests)s::bigint[], %(fetches)s::bigint[], %(observed)s::timestamptz[],
    %(holds)s::bigint[]) n (key, account_id, owner, request_id, fetch_id, observed_at, hold)
GROUP BY request_id, account_id, owner, observed_at, fetch_id, hold ORDER BY request_id, fetch_id
