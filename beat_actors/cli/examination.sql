-- name: server
-- The server's version and settings, its clock, and how far the database is migrated.
-- Rows: `Server`, one.
-- Locks: none.
SELECT current_setting('server_version') AS version, current_setting('server_version_num')::integer AS number,
       current_setting('statement_timeout') AS patience, extract(epoch FROM clock_timestamp())::float8 AS now,
       to_regclass('schema_compatibility') IS NOT NULL AS migrated, to_regclass('database_cluster') IS NOT NULL AS in_cluster,
       pg_is_in_recovery() AS standby

-- name: restored
-- When the database was found to be restored into another cluster; NULL: it was not.
-- Rows: the time, one at most.
-- Locks: none.
-- No row: it knows no cluster yet.
SELECT restored_at FROM database_cluster

-- name: schema
-- The schema's revision, and the oldest code that works with it.
-- Rows: `Schema`.
-- Locks: none.
-- No row: nothing is migrated.
SELECT version_num AS revision, (SELECT oldest FROM schema_compatibility) AS oldest FROM alembic_version

-- name: active
-- Connections of Beat's processes. The scheduler sweeps twice a second over connections that it keeps; those of another user are not visible,
-- and are not missed.
-- Rows: `Active`.
-- Locks: none.
-- No row: there are none.
SELECT application_name AS name, count(*) AS n FROM pg_stat_activity WHERE application_name LIKE 'beat %' GROUP BY 1

-- name: role
-- What the current role could do to the database besides a process's work.
-- Parameters: files (text[]): roles that reach the database's host.
-- Rows: `Role`, one.
-- Locks: none.
-- No row: never.
SELECT current_user::text AS name, rolsuper AS super, rolcreaterole OR rolcreatedb OR rolreplication AS more,
       EXISTS (SELECT FROM pg_class WHERE oid = to_regclass('scrape_request_log') AND pg_has_role(current_user, relowner, 'USAGE')) AS owns,
       has_schema_privilege('public', 'CREATE') AS creates,
       coalesce((SELECT string_agg(rolname, ', ') FROM pg_roles WHERE rolname = ANY (%(files)s) AND pg_has_role(current_user, oid, 'USAGE')), '')
           AS files
FROM pg_roles WHERE rolname = current_user

-- name: work
-- How many lanes wait, and how many requests have not ended, counted up to 100,001.
-- Rows: `Work`, one.
-- Locks: none.
-- No row: never.
SELECT (SELECT count(*) FROM lane WHERE reasons IS NOT NULL AND blocked_until > clock_timestamp()) AS blocked,
       (SELECT count(*) FROM (SELECT FROM scrape_request_log WHERE status IN ('PENDING', 'PROCESSING') LIMIT 100001) o) AS open

-- name: missing_tables
-- Tables that are not there.
-- Parameters: tables (text[]).
-- Rows: a name each.
-- Locks: none.
-- No row: all are there.
SELECT name FROM unnest(%(tables)s::text[]) AS t(name) WHERE to_regclass(quote_ident(name)) IS NULL ORDER BY 1
