-- name: read
-- All that the metrics are made of: sums as JSON, and figures of processes, sweeps, breakers, alerts and the leader, which are few. Nothing of it grows
-- with the backlog or with the history.
-- Parameters: seconds (integer): since its last report for which a process is said to live.
-- Rows: `Part`; `data` is JSON text.
-- Locks: none.
-- No row: never.
SELECT 'sums' AS kind, name, sums::text AS data, extract(epoch FROM at)::float8 AS at FROM metric_sum
UNION ALL SELECT 'process', NULL, metrics::text, NULL FROM process WHERE metrics IS NOT NULL
UNION ALL SELECT 'process', NULL, metrics::text, NULL FROM process_left
UNION ALL SELECT 'calls', NULL, jsonb_agg(jsonb_build_array(platform, source, operation, outcome, calls))::text, NULL FROM call_total
UNION ALL SELECT 'kind', name, jsonb_build_object('processes', count(*), 'pool_used', sum(pool_used), 'pool_most', sum(pool_most),
        'statement_p99', max(statement_p99), 'loop_lag', max(loop_lag))::text, NULL
    FROM process WHERE seen_at > clock_timestamp() - make_interval(secs => %(seconds)s) GROUP BY name
UNION ALL SELECT 'restarts', NULL, coalesce(sum(restarts), 0)::text, NULL FROM (
    SELECT max(restarts) AS restarts FROM process WHERE seen_at > clock_timestamp() - make_interval(secs => %(seconds)s) GROUP BY host, name) of_host
UNION ALL SELECT 'build', NULL, jsonb_agg(DISTINCT jsonb_build_array(version, revision))::text, NULL FROM process
    WHERE version IS NOT NULL AND seen_at > clock_timestamp() - make_interval(secs => %(seconds)s)
UNION ALL SELECT 'sweeps', NULL, jsonb_agg(jsonb_build_array(name, extract(epoch FROM ended_at), coalesce(ms, 0) / 1000,
        greatest(0, extract(epoch FROM clock_timestamp() - ended_at) - every)))::text, NULL FROM sweep
UNION ALL SELECT 'leader', NULL, epoch::text, extract(epoch FROM seen_at)::float8 FROM leader WHERE name = 'scheduler'
UNION ALL SELECT 'breakers', NULL, jsonb_agg(jsonb_build_array(source, operation, kind, open_until IS NOT NULL))::text, NULL FROM breaker
UNION ALL SELECT 'owner_breakers', source, count(DISTINCT (owner, operation, kind))::text, NULL FROM owner_breaker WHERE open_until IS NOT NULL GROUP BY source
UNION ALL SELECT 'alerts', severity, count(*)::text, NULL FROM alert WHERE resolved_at IS NULL AND NOT silenced AND NOT explained GROUP BY severity
UNION ALL SELECT 'trace_lag', NULL, greatest(0, s.seq - m.position)::text, NULL FROM event_sequence s JOIN metric_sum m ON m.name = 'traces'
    WHERE EXISTS (SELECT FROM sweep WHERE name = 'traces')
