-- name: tables
-- Every table, the one with the most dead rows first. Partitions are vacuumed one by one, so they are told one by one.
-- Rows: `Table`.
-- Locks: none.
-- No row: the database is not migrated.
SELECT s.relname AS name, pg_total_relation_size(s.relid) AS bytes, s.n_live_tup AS live, s.n_dead_tup AS dead,
       (s.n_dead_tup / greatest(s.n_live_tup + s.n_dead_tup, 1)::float8) AS dead_share,
       greatest(s.last_vacuum, s.last_autovacuum) AS vacuumed_at, (s.vacuum_count + s.autovacuum_count)::integer AS vacuums,
       coalesce(array_to_string(c.reloptions, ', '), '') AS settings
FROM pg_stat_user_tables s JOIN pg_class c ON c.oid = s.relid
WHERE s.schemaname = 'public' ORDER BY s.n_dead_tup DESC, bytes DESC, name

-- name: connections
-- The connections of all databases of the server, by what they are called. What a session of Beat is called says which kind of process it is of;
-- a pooler's are called as their last client was. Of other roles' sessions PostgreSQL tells a plain role who they are, and not what they do.
-- Rows: `Clients`.
-- Locks: none.
-- No row: never.
SELECT coalesce(nullif(application_name, ''), '(no name)') AS name, count(*)::integer AS connections,
       count(*) FILTER (WHERE state = 'active')::integer AS active,
       count(*) FILTER (WHERE starts_with(state, 'idle in transaction'))::integer AS in_transaction,
       coalesce(max(extract(epoch FROM clock_timestamp() - xact_start)), 0)::float8 AS longest
FROM pg_stat_activity WHERE usesysid IS NOT NULL AND coalesce(backend_type, 'client backend') = 'client backend' GROUP BY 1 ORDER BY 2 DESC, 1

-- name: room
-- How many connections there can be.
-- Rows: one.
-- Locks: none.
SELECT current_setting('max_connections')::integer - current_setting('superuser_reserved_connections')::integer AS room
