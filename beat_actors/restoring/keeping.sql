-- name: patient
-- Lets the statements of this transaction take 30 seconds.
-- Locks: none.
SET LOCAL statement_timeout = '30s'

-- name: reached
-- How far the retention of a log has got, and the first day that stays. A log that it has not read yet begins with its oldest day.
-- Parameters: log (text), days (integer) that are kept.
-- Rows: `Reached`, one.
-- Locks: none.
-- No row: never.
SELECT coalesce(r.day, (SELECT min(to_date(right(c.relname, 8), 'YYYYMMDD')) FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
                        WHERE i.inhparent = to_regclass(%(log)s::text) AND c.relname ~ '_[0-9]{8}$'), current_date) AS day,
       current_date - %(days)s::integer AS stays, coalesce(r.platform, '') AS platform, coalesce(r.key, '') AS key,
       coalesce(r.account_id, '') AS account_id, coalesce(r.owner, '') AS owner
FROM (SELECT) one LEFT JOIN log_retention r ON r.log = %(log)s

-- name: advance
-- Notes how far the retention of a log has got.
-- Parameters: log (text), day (date), platform, key, account, owner (text); epoch (bigint or null: of the leader).
-- Locks: the row.
-- No row: the leader was replaced.
INSERT INTO log_retention (log, day, platform, key, account_id, owner)
SELECT %(log)s, %(day)s, %(platform)s, %(key)s, %(account)s, %(owner)s WHERE beat_leads(%(epoch)s)
ON CONFLICT (log) DO UPDATE SET day = excluded.day, platform = excluded.platform, key = excluded.key, account_id = excluded.account_id, owner = excluded.owner

-- name: keep
-- Keeps fields of entities past the log. What is kept already of other fields stays.
-- Parameters: entity, platform (text); keys, accounts, owners (text[]), fields (jsonb[] as text[]), times (timestamptz[]), sources (text[]),
-- versions (integer[]), requests (bigint[]), by place, ascending; epoch (bigint or null: of the leader).
-- Locks: the rows, in their order.
-- No row: the leader was replaced.
INSERT INTO entity_base AS b (entity, key, account_id, owner, platform, fields, known_at, source, parser_version, request_id)
SELECT %(entity)s, n.key, n.account_id, n.owner, %(platform)s, n.fields::jsonb, n.known_at, n.source, n.version, n.request
FROM unnest(%(keys)s::text[], %(accounts)s::text[], %(owners)s::text[], %(fields)s::text[], %(times)s::timestamptz[], %(sources)s::text[],
    %(versions)s::integer[], %(requests)s::bigint[]) AS n (key, account_id, owner, fields, known_at, source, version, request)
WHERE beat_leads(%(epoch)s)
ON CONFLICT (entity, key, account_id, owner) DO UPDATE SET fields = b.fields || excluded.fields, known_at = excluded.known_at, source = excluded.source,
    parser_version = excluded.parser_version, request_id = excluded.request_id
WHERE b.known_at <= excluded.known_at
