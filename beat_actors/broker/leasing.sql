-- name: candidates
-- The oldest fetches of the next tenants of each lane, in the rotation's order; of `rows` wanted, at most `rows` tenants and at most three
-- times as many fetches. A lane without room shows one row, to know whether anything waits. What is past its deadline is never claimed, and
-- takes nobody's place while it waits for the sweep that ends it.
--
-- `tenants` steps from one tenant to the next through the index (lane_id, tenant, id), and once round its end, so that neither a tenant's
-- backlog nor the number of tenants makes a step dearer. All look-ups are ordered by the tenant, which this index alone gives: the planner
-- knows the average lane and tenant only, and with the order of ids alone it may walk another index and read a million rows.
-- Parameters: lanes (json array of {id, served: the tenant served last in the lane's class, rows}), now (epoch seconds).
-- No row: nothing waits in these lanes.
SELECT f.id AS fetch_id, l.id AS lane_id, t.tenant, t.wanted
FROM jsonb_to_recordset(%(lanes)s::jsonb) AS l(id integer, served text, rows integer)
CROSS JOIN LATERAL (
    WITH RECURSIVE tenants AS (
        SELECT l.served COLLATE "C" AS tenant, false AS round, 0 AS n
        UNION ALL
        SELECT step.tenant, step.round, s.n + 1 FROM tenants s CROSS JOIN LATERAL (
            (SELECT tenant, s.round FROM scrape_fetch
             WHERE lane_id = l.id AND tenant > s.tenant AND stage = 'WAITING' AND not_before IS NULL ORDER BY tenant LIMIT 1)
            UNION ALL
            (SELECT tenant, true FROM scrape_fetch
             WHERE NOT s.round AND lane_id = l.id AND stage = 'WAITING' AND not_before IS NULL ORDER BY tenant LIMIT 1)
            LIMIT 1
        ) step(tenant, round)
        WHERE s.n < l.rows AND (NOT step.round OR step.tenant <= l.served COLLATE "C")
    )
    SELECT tenant, n, ceil(least(l.rows, 2.0 * l.rows / count(*) OVER ()))::integer AS wanted FROM tenants WHERE n > 0
) t
CROSS JOIN LATERAL (
    SELECT id FROM scrape_fetch
    WHERE lane_id = l.id AND tenant BETWEEN t.tenant AND t.tenant AND stage = 'WAITING' AND not_before IS NULL
      AND (expires_at IS NULL OR expires_at > to_timestamp(%(now)s)) ORDER BY tenant, id LIMIT t.wanted
) f

-- name: served
-- The tenant that got the last lease of each class.
-- Parameters: platform (text).
-- No row: the platform has given no lease yet.
SELECT priority, tenant FROM served_tenant WHERE platform = %(platform)s

-- name: serve
-- Notes them. The turn alone writes here.
-- Parameters: platform (text), priorities (smallint[]), tenants (text[]).
-- Locks: the platform's rows, under the platform's lock.
INSERT INTO served_tenant (platform, priority, tenant) SELECT %(platform)s::text, * FROM unnest(%(priorities)s::smallint[], %(tenants)s::text[])
ON CONFLICT (platform, priority) DO UPDATE SET tenant = excluded.tenant
