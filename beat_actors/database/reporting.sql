-- name: report
-- A process says how it fares. Rows of processes that were killed are taken away an hour after their last report, by the others: who was killed
-- cannot do so. Their sums stay. Sums are written only while nobody took over those that this process wrote before: `folds` says how often that
-- happened. A process whose row is gone finds it increased as well.
-- Parameters: id, name, host (text), pid, statements (integer), statement_p99 (seconds), pool_used, pool_most, pool_exhausted, claims
-- (integer), claim_p50, claim_p99 (seconds), troubles (json object), vault_keys (text[]), clock_steps (json array of {before, seconds}),
-- outages (json array of {since, until}), restarts (integer), version, revision (text), platforms (text[]), metrics (json: the sums of the
-- process), folds (integer: as it knows it), is_first (boolean: no report was answered yet), loop_lag (seconds).
-- Rows: one: how often the sums of the process were taken over.
-- Locks: the process's row, which is its own, and those that are taken away.
-- No row: never.
WITH gone AS (
    DELETE FROM process WHERE seen_at < clock_timestamp() - interval '1 hour' RETURNING metrics
), left_behind AS (
    INSERT INTO process_left (metrics) SELECT metrics FROM gone WHERE metrics IS NOT NULL
)
INSERT INTO process (id, name, host, pid, seen_at, statements, statement_p99, pool_used, pool_most, pool_exhausted, claims, claim_p50, claim_p99,
                     troubles, vault_keys, clock_steps, outages, restarts, version, revision, platforms, loop_lag, metrics, folds)
VALUES (%(id)s, %(name)s, %(host)s, %(pid)s, clock_timestamp(), %(statements)s, %(statement_p99)s, %(pool_used)s, %(pool_most)s,
        %(pool_exhausted)s, %(claims)s, %(claim_p50)s, %(claim_p99)s, %(troubles)s::jsonb, %(vault_keys)s, %(clock_steps)s::jsonb, %(outages)s::jsonb,
        %(restarts)s, %(version)s, %(revision)s, %(platforms)s, %(loop_lag)s, CASE WHEN %(is_first)s THEN %(metrics)s::jsonb END,
        CASE WHEN %(is_first)s THEN 0 ELSE %(folds)s + 1 END)
ON CONFLICT (id) DO UPDATE SET seen_at = excluded.seen_at, statements = excluded.statements, statement_p99 = excluded.statement_p99,
    pool_used = excluded.pool_used, pool_most = excluded.pool_most, pool_exhausted = excluded.pool_exhausted, claims = excluded.claims,
    claim_p50 = excluded.claim_p50, claim_p99 = excluded.claim_p99, troubles = excluded.troubles, vault_keys = excluded.vault_keys,
    clock_steps = excluded.clock_steps, outages = excluded.outages, restarts = excluded.restarts, loop_lag = excluded.loop_lag,
    metrics = CASE WHEN process.folds = %(folds)s THEN %(metrics)s::jsonb ELSE process.metrics END
RETURNING folds

-- name: forget
-- A process that ends takes its row away, and leaves its sums: those that it has now, if nobody took over those that it wrote before.
-- Parameters: id (text), metrics (json: its sums), folds (integer: as it knows it).
-- Locks: its row.
-- No row: never; the statement gives none.
WITH gone AS (DELETE FROM process WHERE id = %(id)s RETURNING folds)
INSERT INTO process_left (metrics) SELECT %(metrics)s::jsonb FROM gone WHERE folds = %(folds)s

-- name: started
-- Records the start of a process, if its kind was started with other code or settings the last time. Of many that start at once one records it.
-- Parameters: name, host (text), version, revision (text), platforms (text[]), settings (json object).
-- Locks: the new row; it waits for another process that records the same start.
-- No row: never; the statement gives none.
WITH last AS (
    SELECT id, version, revision, platforms, settings FROM code_start WHERE name = %(name)s ORDER BY id DESC LIMIT 1
)
INSERT INTO code_start (name, host, version, revision, platforms, settings, after)
SELECT %(name)s::text, %(host)s::text, %(version)s::text, %(revision)s::text, %(platforms)s::text[], %(settings)s::jsonb, coalesce((SELECT id FROM last), 0)
WHERE NOT EXISTS (SELECT FROM last WHERE (version, revision, platforms, settings)
                  IS NOT DISTINCT FROM (%(version)s::text, %(revision)s::text, %(platforms)s::text[], %(settings)s::jsonb))
ON CONFLICT DO NOTHING
