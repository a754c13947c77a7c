-- name: troubled
-- Credentials of which a person should know. One pass over the credentials counts those of each source, and another one looks for trouble.
-- Parameters: platform (text, NULL: all), days (integer) before an end at which it is told, most (integer) rows of each source.
-- Rows: `Troubled`, by id; of each source those with the lowest ids.
-- Locks: none.
-- No row: no credential is in trouble.
WITH usable AS (
    SELECT source, count(*) AS of FROM credential WHERE enabled AND dead_at IS NULL GROUP BY source
), refused AS (
    SELECT source, operation, count(*) AS of FROM credential, unnest(denied) AS operation WHERE enabled AND dead_at IS NULL GROUP BY 1, 2
), troubled AS (
    SELECT c.id, c.source, c.label, c.denied, c.denials, c.dead_at, c.dead_reason, ends.at AS ends_at, ends.at = c.expires_at AS is_expiry,
        c.refreshes AND c.expires_at < clock_timestamp() - interval '10 minutes' AS late,
        ends.at < clock_timestamp() + make_interval(days => %(days)s) AS ending
    FROM credential c
    CROSS JOIN LATERAL (SELECT least(c.data_access_expires_at, CASE WHEN NOT c.refreshes THEN c.expires_at END) AS at) ends
    WHERE c.enabled AND (%(platform)s::text IS NULL OR c.platform = %(platform)s)
), ranked AS (
    SELECT *, row_number() OVER (PARTITION BY source ORDER BY id) AS rank FROM troubled WHERE dead_at IS NOT NULL OR late OR ending OR denied <> '{}'
)
SELECT r.id, r.source, r.label, r.dead_at, r.dead_reason, r.ends_at, r.is_expiry, r.late, r.ending,
    coalesce(u.of, 0) - (r.dead_at IS NULL)::integer AS others, (
    SELECT jsonb_agg(jsonb_build_object('operation', operation, 'said', r.denials->operation->>'said', 'others', coalesce(u.of, 0) - coalesce(d.of, 0)))
    FROM unnest(r.denied) AS operation LEFT JOIN refused d USING (operation) WHERE d.source = r.source) AS refusals
FROM ranked r LEFT JOIN usable u ON u.source = r.source WHERE r.rank <= %(most)s ORDER BY r.id

-- name: opened
-- The keys of the open alerts about credentials.
-- Parameters: platform (text, NULL: all).
-- Rows: a key each.
-- Locks: none.
-- No row: no such alert is open.
SELECT a.key FROM alert a LEFT JOIN credential c ON c.id::text = split_part(a.key, ':', 2)
WHERE a.resolved_at IS NULL AND a.key LIKE 'credential:%%' AND (%(platform)s::text IS NULL OR c.platform = %(platform)s)
