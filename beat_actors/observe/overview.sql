-- name: overview
-- The whole installation at a moment, in one statement, which costs the same whatever waits. Of each lane one row of an index is read. Of waiting
-- fetches and of all other things so many are counted at most, and of the calls and events of the last minute so many are read.
-- Parameters: counted (integer): rows of each kind that are counted, calls, events (integer): rows of the last minute that are read, listed (integer): rows of
-- each list, seconds (integer): since its last report for which a process is said to live, window (integer): seconds of the rates.
-- Rows: `Row`, one.
-- Locks: none.
-- No row: never.
WITH moment AS MATERIALIZED (
    SELECT clock_timestamp() AS at, clock_timestamp() - make_interval(secs => %(window)s) AS since
), busy AS MATERIALIZED (
    SELECT l.id, l.platform, l.flow, l.operation, l.priority, l.owner, l.reasons, l.blocked_until, first.created_at, first.request_id
    FROM lane l {{watch/requests.first_waiting}}
), waiting AS MATERIALIZED (
    SELECT id, count(*) AS fetches FROM (
        SELECT b.id FROM busy b CROSS JOIN LATERAL (
            SELECT FROM scrape_fetch f WHERE f.lane_id BETWEEN b.id AND b.id AND f.stage = 'WAITING' AND f.not_before IS NULL
            ORDER BY f.lane_id, f.id LIMIT %(counted)s) f LIMIT %(counted)s) found
    GROUP BY id
), reasons AS MATERIALIZED (
    SELECT coalesce((SELECT string_agg(DISTINCT r->>'why', '; ') FROM (SELECT r FROM jsonb_array_elements(b.reasons) r LIMIT 3) first), 'ready for the next dispatch cycle') AS why,
           sum(w.fetches)::bigint AS fetches, count(*) AS lanes, min(b.blocked_until) AS until
    FROM busy b JOIN waiting w USING (id) GROUP BY 1 ORDER BY 2 DESC LIMIT %(listed)s
), calls AS MATERIALIZED (
    -- The planner sees the time, and finds the last pages by their BRIN index.
    SELECT source, outcome, ms, at FROM trace_log WHERE at > now() - make_interval(secs => %(window)s) LIMIT %(calls)s
), by_source AS MATERIALIZED (
    SELECT source, count(*) AS calls, count(*) FILTER (WHERE outcome = 'ok') AS ok,
           count(*) FILTER (WHERE outcome IN ('rate_limited', 'quota_exhausted')) AS limited,
           count(*) FILTER (WHERE outcome = 'upstream_down') AS down, percentile_cont(0.5) WITHIN GROUP (ORDER BY ms) AS ms
    FROM calls GROUP BY source
), credentials AS MATERIALIZED (
    SELECT source, count(*) FILTER (WHERE dead_at IS NOT NULL) AS dead, count(*) FILTER (WHERE dead_at IS NULL AND NOT enabled) AS disabled,
           count(*) FILTER (WHERE dead_at IS NULL AND enabled AND disabled_till > (SELECT at FROM moment)) AS cooling,
           count(*) FILTER (WHERE dead_at IS NULL AND enabled AND coalesce(disabled_till <= (SELECT at FROM moment), true)
                            AND full_until > (SELECT at FROM moment)) AS full,
           count(*) FILTER (WHERE dead_at IS NULL AND enabled AND coalesce(disabled_till <= (SELECT at FROM moment), true)
                            AND coalesce(full_until <= (SELECT at FROM moment), true)) AS ready,
           min(greatest(disabled_till, full_until)) FILTER (WHERE dead_at IS NULL AND enabled
                            AND greatest(disabled_till, full_until) > (SELECT at FROM moment)) AS next_at
    FROM credential GROUP BY source
), breakers AS MATERIALIZED (
    SELECT source, count(*) AS open, min(open_until) AS probe_at, bool_or(by_hand) AS by_hand FROM breaker WHERE open_until IS NOT NULL GROUP BY source
), distrusted AS MATERIALIZED (
    SELECT source, count(*) AS open FROM trust_cohort WHERE open_since IS NOT NULL GROUP BY source
), in_flight AS MATERIALIZED (
    SELECT source, count(*) AS calls FROM scrape_fetch WHERE stage = 'LEASED' AND source IS NOT NULL AND call_of IS NULL GROUP BY source
), sources AS MATERIALIZED (
    SELECT source, coalesce(s.calls, 0) AS calls, coalesce(s.ok, 0) AS ok, coalesce(s.limited, 0) AS limited, coalesce(s.down, 0) AS down, s.ms,
           coalesce(i.calls, 0) AS in_flight, coalesce(c.ready, 0) AS ready, coalesce(c.full, 0) AS "full", coalesce(c.cooling, 0) AS cooling,
           coalesce(c.disabled, 0) AS disabled, coalesce(c.dead, 0) AS dead, c.next_at, coalesce(b.open, 0) AS breakers, b.probe_at,
           coalesce(b.by_hand, false) AS by_hand, coalesce(d.open, 0) AS data_breakers
    FROM by_source s FULL JOIN credentials c USING (source) FULL JOIN breakers b USING (source) FULL JOIN distrusted d USING (source)
        FULL JOIN in_flight i USING (source)
    ORDER BY coalesce(b.open, 0) + coalesce(d.open, 0) DESC, s.calls DESC NULLS LAST, source LIMIT %(listed)s
), cycles AS MATERIALIZED (
    SELECT sum(leased)::bigint AS leased, sum(settled)::bigint AS settled FROM (
        SELECT leased, settled FROM (SELECT DISTINCT platform FROM lane) p CROSS JOIN LATERAL (
            SELECT leased, settled FROM broker_decision d WHERE d.platform = p.platform AND d.at > (SELECT since FROM moment)
            ORDER BY d.at DESC LIMIT %(counted)s) d) last
), ended AS MATERIALIZED (
    SELECT type, at FROM (SELECT type, at FROM event ORDER BY id DESC LIMIT %(events)s) last WHERE at > (SELECT since FROM moment)
), living AS MATERIALIZED (
    SELECT name, host, pid, started_at, version, statements, statement_p99, pool_used, pool_most, claims, claim_p50, claim_p99, restarts,
           ARRAY(SELECT jsonb_object_keys(troubles)) AS troubles
    FROM process WHERE seen_at > (SELECT at FROM moment) - make_interval(secs => %(seconds)s)
)
SELECT m.at,
    (SELECT count(*) FROM (SELECT FROM scrape_request_log WHERE status IN ('PENDING', 'PROCESSING') LIMIT %(counted)s) r) AS requests,
    coalesce((SELECT sum(fetches) FROM waiting), 0)::bigint AS waiting, (SELECT min(created_at) FROM busy) AS oldest,
    (SELECT count(*) FROM ended WHERE type = 'beat.scrape_request.complete') AS complete,
    (SELECT count(*) FROM ended WHERE type = 'beat.scrape_request.failed') AS failed,
    coalesce((SELECT leased FROM cycles), 0) AS leased, coalesce((SELECT settled FROM cycles), 0) AS settled,
    (SELECT count(*) FROM calls) AS calls,
    coalesce((SELECT extract(epoch FROM max(at) - min(at)) FROM calls), 0)::double precision AS calls_seconds,
    coalesce((SELECT extract(epoch FROM m.at - min(at)) FROM ended), 0)::double precision AS ended_seconds,
    (SELECT count(*) FROM ended) AS events,
    (SELECT coalesce(jsonb_agg(s), '[]') FROM sources s) AS sources,
    (SELECT coalesce(jsonb_agg(r), '[]') FROM reasons r) AS reasons,
    (SELECT coalesce(jsonb_agg(l), '[]') FROM (
        SELECT b.platform, b.flow, b.operation, b.priority, b.owner, coalesce(w.fetches, 0) AS fetches, b.created_at AS oldest, b.request_id, b.blocked_until AS until,
               coalesce((SELECT string_agg(DISTINCT concat_ws(': ', r->>'source', r->>'why'), '; ') FROM (SELECT r FROM jsonb_array_elements(b.reasons) r LIMIT 3) f), '') AS why
        FROM busy b LEFT JOIN waiting w USING (id) ORDER BY b.created_at LIMIT %(listed)s) l) AS lanes,
    (SELECT coalesce(jsonb_agg(s), '[]') FROM (
        SELECT s.name, greatest(q.seq - s.seq, 0) AS events, coalesce((SELECT CASE WHEN l.backfill THEN 0 ELSE extract(epoch FROM m.at - l.at) END
                   FROM event_log l WHERE l.seq > s.seq ORDER BY l.seq LIMIT 1), 0)::double precision AS seconds, s.trouble, s.parked
        FROM event_sink s, event_sequence q ORDER BY s.name LIMIT %(listed)s) s) AS sinks,
    (SELECT count(*) FROM (SELECT FROM webhook_delivery WHERE state = 'pending' LIMIT %(counted)s) w) AS webhooks,
    (SELECT count(*) FROM (SELECT FROM asset_log WHERE status = 'PENDING' ORDER BY id LIMIT %(counted)s) a) AS assets,
    (SELECT created_at FROM asset_log WHERE status = 'PENDING' ORDER BY id LIMIT 1) AS oldest_asset,
    (SELECT count(*) FROM (SELECT FROM quarantine WHERE resolved_at IS NULL ORDER BY platform, source, operation, id LIMIT %(counted)s) q) AS quarantined,
    (SELECT coalesce(jsonb_agg(p), '[]') FROM (
        SELECT name, count(*) AS processes, max(statement_p99) AS statement_p99, max(claim_p50) AS claim_p50, sum(pool_used) AS pool_used,
               sum(pool_most) AS pool_most, count(*) FILTER (WHERE cardinality(troubles) > 0) AS in_trouble FROM living GROUP BY name ORDER BY name) p) AS kinds,
    (SELECT coalesce(jsonb_agg(p), '[]') FROM (SELECT * FROM living ORDER BY cardinality(troubles) DESC, statement_p99 DESC, name, host, pid LIMIT %(listed)s) p) AS processes,
    (SELECT seen_at FROM leader WHERE name = 'scheduler') AS led_at,
    (SELECT count(*) FROM alert WHERE resolved_at IS NULL) AS alerts,
    (SELECT coalesce(jsonb_agg(a), '[]') FROM (
        SELECT key, severity, opened_at, cause, source, covers, impact, automatic, action, silenced, explained FROM alert WHERE resolved_at IS NULL
        ORDER BY split_part(key, ':', 1) IN ('credential', 'quota'), array_position('{critical,warning,info}', severity), opened_at, id
        LIMIT %(listed)s) a) AS open
FROM moment m
