-- fragment: told
-- The limits that are asked for; `newest`: the bucket of now, or the start of the day where a limit counts by days.
told AS MATERIALIZED (
    SELECT * FROM unnest(%(sources)s::text[], %(limits)s::text[], %(most)s::bigint[], %(newest)s::bigint[], %(widths)s::double precision[],
                         %(days)s::boolean[], %(by_source)s::boolean[]) AS t(source, limit_name, most, newest, width, days, by_source)
)

-- fragment: each
-- Each credential that is not shut out, and each limit of it, with what is used. A limit of the whole source has one row, without a credential.
each AS MATERIALIZED (
    SELECT t.source, t.limit_name, t.most, t.newest, t.width, t.days, s.id, s.till, s.shared, u.head, u.counts, least(t.most, coalesce(n.calls, 0)) AS used
    FROM told t CROSS JOIN LATERAL (
        SELECT c.id, 'credential:' || c.id AS subject, CASE WHEN c.disabled_till > clock_timestamp() THEN c.disabled_till END AS till, c.shared
        FROM credential c WHERE NOT t.by_source AND c.source = t.source AND c.enabled AND c.dead_at IS NULL
        UNION ALL SELECT NULL, 'source:' || t.source, NULL, true WHERE t.by_source
    ) s LEFT JOIN credential_usage u ON u.subject = s.subject AND u.limit_name = t.limit_name
    LEFT JOIN LATERAL (
        SELECT CASE WHEN t.days AND u.head < t.newest THEN 0
                    WHEN t.days THEN (SELECT coalesce(sum(x), 0) FROM unnest(u.counts) x)
                    ELSE (SELECT coalesce(sum(x), 0) FROM unnest(u.counts[1:greatest(0, least(21, u.head - t.newest + 21))::integer]) x) END AS calls
    ) n ON u.subject IS NOT NULL
)

-- name: pools
-- The room that all credentials of a source have together under each limit, and what becomes free when: calls that leave a window, and what is left to
-- credentials whose cooldown ends. Reads each credential and its usage once.
-- Parameters: parallel lists, one entry for each limit: sources, limits (text[]), most (bigint[]: calls of one credential), newest (bigint[]),
-- widths (double precision[]: seconds of a bucket), days, by_source (boolean[]).
-- Rows: `Pool`. `credentials`: those that are not shut out; `cooling`: of them, in a cooldown; `own`: of them, that serve their owner alone.
-- `used`: of all; `ready`: the calls that are left to those that are in no cooldown; `common`: of `calls`, those of credentials that serve everybody, and
-- `common_ready` of `ready`. `free_at`: epoch seconds, the ends of the ten minutes in which something becomes free, in order; `free`: so many calls; `free_common`:
-- of them, those of credentials that serve everybody; all three null: nothing becomes free.
-- Locks: none.
-- No row: no source has a credential that can be used.
WITH {{told}}, {{each}}, moments AS (
    SELECT source, limit_name, (e.head - b.age + 22) * e.width AS at, b.calls, shared FROM each e CROSS JOIN LATERAL unnest(e.counts) WITH ORDINALITY AS b(calls, age)
    WHERE NOT e.days AND b.calls > 0 AND e.head - b.age + 21 >= e.newest
    UNION ALL SELECT source, limit_name, extract(epoch FROM till), most - used, shared FROM each WHERE till IS NOT NULL
), freed AS (
    SELECT source, limit_name, (ceil(at / 600) * 600)::double precision AS at, sum(calls)::bigint AS calls,
           coalesce(sum(calls) FILTER (WHERE shared), 0)::bigint AS common
    FROM moments GROUP BY 1, 2, 3 HAVING sum(calls) > 0
), frees AS (
    SELECT source, limit_name, array_agg(at ORDER BY at) AS free_at, array_agg(calls ORDER BY at) AS free, array_agg(common ORDER BY at) AS free_common
    FROM freed GROUP BY 1, 2
), pools AS (
    SELECT source, limit_name, count(*) AS credentials, count(*) FILTER (WHERE till IS NOT NULL) AS cooling, count(*) FILTER (WHERE NOT shared) AS own,
           sum(most)::bigint AS calls, sum(used)::bigint AS used, coalesce(sum(most - used) FILTER (WHERE till IS NULL), 0)::bigint AS ready,
           coalesce(sum(most) FILTER (WHERE shared), 0)::bigint AS common,
           coalesce(sum(most - used) FILTER (WHERE shared AND till IS NULL), 0)::bigint AS common_ready
    FROM each GROUP BY 1, 2
)
SELECT source, limit_name AS name, credentials, cooling, own, calls, used, ready, common, common_ready, free_at, free, free_common
FROM pools LEFT JOIN frees USING (source, limit_name)

-- name: worst
-- The credentials that have least left under each limit.
-- Parameters: parallel lists, one entry for each limit: sources, limits (text[]), most (bigint[]: calls of one credential), newest (bigint[]),
-- widths (double precision[]: seconds of a bucket), days, by_source (boolean[]);
-- each (integer): so many of each limit.
-- Rows: `Worst`.
-- Locks: none.
-- No row: no credential has used anything.
WITH {{told}}, {{each}}
SELECT source, name, id, used, calls, until FROM (
    SELECT source, limit_name AS name, id, used, most AS calls, till AS until,
           row_number() OVER (PARTITION BY source, limit_name ORDER BY used DESC, till DESC NULLS LAST, id) AS place
    FROM each WHERE id IS NOT NULL AND (used > 0 OR till IS NOT NULL)) ranked
WHERE place <= %(each)s ORDER BY source, name, place

-- name: reported
-- What providers report to be left to the credentials that are not shut out, and when that begins anew. A quota is at least as large as the most that is
-- reported of a credential of its source.
-- Parameters: sources (text[]).
-- Rows: `Reported`, by source and time; each for the credentials whose quota begins anew within the same hour. `size`: of one quota. `common`: of
-- `remaining`, what is left to those that serve everybody.
-- Locks: none.
-- No row: no provider reports anything.
SELECT source, at, count(*) AS credentials, count(*) FILTER (WHERE NOT shared) AS own, sum(remaining)::bigint AS remaining, size,
       coalesce(sum(remaining) FILTER (WHERE shared), 0)::bigint AS common
FROM (
    SELECT source, (ceil(extract(epoch FROM reported_reset_at) / 3600) * 3600)::double precision AS at, shared, greatest(0, reported_remaining) AS remaining,
           max(reported_remaining) OVER (PARTITION BY source) AS size
    FROM credential WHERE source = ANY(%(sources)s) AND enabled AND dead_at IS NULL AND reported_reset_at > clock_timestamp() AND reported_remaining IS NOT NULL
) c GROUP BY source, at, size ORDER BY source, at

-- name: called
-- All calls that were ever counted of some sources, by operation. What was never sent is left out.
-- Parameters: sources (text[]).
-- Rows: `Called`.
-- Locks: none.
-- No row: none was made.
SELECT source, operation, sum(calls)::bigint AS calls FROM call_total
WHERE source = ANY(%(sources)s) AND outcome NOT IN ('unused', 'unreached') GROUP BY 1, 2

-- name: keep
-- Notes the room of pools, and adds the calls since the last look to the ten minutes that have passed since then, evenly; at most to a day. A total that is
-- lower than before adds nothing.
-- Parameters: parallel lists: names, sources (text[]), totals (bigint[]), states (jsonb[]); slot (bigint: of now), epoch (bigint or null: of the leader).
-- Locks: the rows of `budget`, then those of `limit_usage`, in the order of names.
-- No row: never; the statement gives none.
WITH given AS (
    SELECT g.*, b.total AS before, greatest(b.slot, %(slot)s::bigint - 143) AS since
    FROM unnest(%(names)s::text[], %(sources)s::text[], %(totals)s::bigint[], %(states)s::jsonb[]) AS g(name, source, total, state)
    LEFT JOIN budget b USING (name) WHERE beat_leads(%(epoch)s)
), noted AS (
    INSERT INTO budget (name, source, slot, total, state) SELECT name, source, %(slot)s, total, state FROM given ORDER BY name
    ON CONFLICT (name) DO UPDATE SET slot = excluded.slot, total = excluded.total, state = excluded.state, made_at = clock_timestamp()
)
INSERT INTO limit_usage AS u (name, slot, calls)
SELECT g.name, s.slot, least(2147483647, greatest(0, g.total - g.before) / (%(slot)s - g.since + 1)) FROM given g
CROSS JOIN LATERAL generate_series(g.since, %(slot)s::bigint) AS s(slot) WHERE g.before IS NOT NULL ORDER BY 1, 2
ON CONFLICT (name, slot) DO UPDATE SET calls = least(2147483647, u.calls::bigint + excluded.calls)::integer

-- name: rooms
-- The pools of some sources, as they were looked at last.
-- Parameters: sources (text[]), seconds (integer): the age from which on nothing is told.
-- Rows: `Kept`.
-- Locks: none.
-- No row: they have none, or no scheduler has looked.
SELECT name, source, state, made_at FROM budget WHERE source = ANY(%(sources)s) AND made_at > clock_timestamp() - make_interval(secs => %(seconds)s)

-- name: known
-- The calls of budgets in the ten minutes that are known.
-- Parameters: limits (text[]), since (bigint): the first slot.
-- Rows: `Slot`, by budget and slot; four weeks of one are 4,032.
-- Locks: none.
-- No row: nothing is known.
SELECT name, slot, calls FROM limit_usage WHERE name = ANY(%(limits)s) AND slot >= %(since)s ORDER BY name, slot
