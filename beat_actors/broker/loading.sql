-- fragment: credential
c.id, c.source, c.owner, c.weight, c.enabled, date_part('epoch', c.disabled_till) AS disabled_till,
c.dead_at IS NOT NULL AS dead, c.denied, c.denials, c.ladder, date_part('epoch', c.ladder_at) AS ladder_at, c.probing,
c.reported_remaining, date_part('epoch', c.reported_reset_at) AS reported_reset_at,
c.disabled_reason, c.dead_reason, c.generation, c.refreshes, c.shared,
c.dead_at IS NOT NULL AND (c.check_at IS NOT NULL OR c.refresh_at IS NOT NULL) AS unproven,
date_part('epoch', c.dead_at) AS dead_since, c.dead_looks AS looks,
CASE WHEN c.refreshes THEN date_part('epoch', c.expires_at) END AS good_until,
date_part('epoch', c.refreshed_at) AS refreshed_at, date_part('epoch', c.full_until) AS full_until,
date_part('epoch', c.updated_at) AS written

-- fragment: denied
-- Whether it may do none of the operations, and it is not yet time to see whether it may do one of those that it may not.
(c.denied @> g.operations AND coalesce(c.denied_until > to_timestamp(%(now)s), false))

-- fragment: of_shared
FROM credential c WHERE platform = %(platform)s AND c.source = g.source AND shared

-- fragment: fits
enabled AND dead_at IS NULL AND NOT probing AND NOT {{denied}}
AND NOT (refreshes AND coalesce(expires_at <= to_timestamp(%(now)s), true))

-- fragment: over
SELECT c.id, true, NULL::timestamptz {{of_shared}} AND {{fits}}
AND greatest(disabled_till, full_until) <= to_timestamp(%(now)s) ORDER BY greatest(disabled_till, full_until)

-- fragment: ready
SELECT c.id, true, NULL {{of_shared}} AND {{fits}} AND greatest(disabled_till, full_until) IS NULL AND hashint8(c.id)

-- fragment: breaker
coalesce(extract(epoch FROM since), 0)::double precision AS since, recent, trips,
extract(epoch FROM open_until)::double precision AS open_until, probing, unreached, opened_by

-- name: credentials
-- Credentials by their ids.
-- Parameters: platform (text), ids (bigint[]).
-- Rows: one for each that the platform has; `i`, `usable`, `soonest` and `of`, which are for groups, say nothing.
-- No row: the platform has none of them.
SELECT {{credential}}, -1 AS i, true AS usable, NULL::double precision AS soonest, 0::bigint AS of
FROM credential c WHERE c.platform = %(platform)s AND c.id = ANY(%(ids)s)

-- name: of_owners
-- Of each owner's group of credentials as many as are wanted, found by an index: those that can be used, in an order that `seed` draws, then
-- those that can be used soonest. Those that may do none of the operations come after those that may.
-- Parameters: platform (text), groups (json array of {i, source, owner, operations}), now (epoch seconds), seed (bigint), most (rows of a
-- group).
-- Rows: `i` is the group's; `usable` at `now`, or else from `soonest` on (epoch seconds, null: it needs manual action); `of` of how many.
-- No row: the groups have no credentials.
SELECT {{credential}}, g.i, one.usable, one.soonest, one.of
FROM jsonb_to_recordset(%(groups)s::jsonb) AS g(i integer, source text, owner text, operations text[])
CROSS JOIN LATERAL (
    SELECT id, usable, date_part('epoch', soonest) AS soonest, count(*) OVER () AS of
    FROM (
        SELECT c.id, c.enabled AND c.dead_at IS NULL AND NOT c.probing AND coalesce(soonest <= to_timestamp(%(now)s), true)
               AND NOT (c.refreshes AND coalesce(c.expires_at <= to_timestamp(%(now)s), true)) AND NOT {{denied}} AS usable,
               CASE WHEN c.enabled AND c.dead_at IS NULL THEN CASE WHEN {{denied}} THEN greatest(soonest, c.denied_until) ELSE soonest END END AS soonest
        FROM credential c CROSS JOIN LATERAL (SELECT greatest(
            c.disabled_till, c.full_until, CASE WHEN c.reported_remaining <= 0 THEN c.reported_reset_at END) AS soonest) s
        WHERE c.platform = %(platform)s AND c.source = g.source AND c.owner = g.owner
        OFFSET 0  -- so that each row is judged once
    ) judged
    ORDER BY usable DESC, CASE WHEN usable THEN hashint8extended(id, %(seed)s) END, soonest NULLS LAST, id LIMIT %(most)s
) one
CROSS JOIN LATERAL (SELECT * FROM credential WHERE id = one.id OFFSET 0) c

-- name: shared
-- The same of a source's shared credentials, of which there may be very many. Each part reads the first rows of an index and passes over
-- those that do not fit, and is read only where those before it gave too few: a quarter of those whose rest is over, so that their probes
-- are made however many others there are; those without a cooldown, from `place` on; those that can be used later; the rest, of which there is
-- enough among twice as many.
-- Parameters: platform (text), groups (json array of {i, source, operations}), now (epoch seconds), place (integer: a hash), most (rows of
-- a group).
-- Rows: as of `of_owners`; `of` is one more than `most` where the group has more.
-- No row: the sources have no shared credentials.
SELECT {{credential}}, g.i, one.usable, one.soonest, one.of
FROM jsonb_to_recordset(%(groups)s::jsonb) AS g(i integer, source text, operations text[])
CROSS JOIN LATERAL (
    SELECT id, usable, date_part('epoch', soonest) AS soonest, found AS of
    FROM (
        SELECT *, count(*) OVER () AS found, row_number() OVER () AS place
        FROM (
            ({{over}} LIMIT %(most)s / 4)
            UNION ALL ({{ready}} >= %(place)s ORDER BY hashint8(c.id) LIMIT %(most)s + 1)
            UNION ALL ({{ready}} < %(place)s ORDER BY hashint8(c.id) LIMIT %(most)s + 1)
            UNION ALL ({{over}} OFFSET %(most)s / 4 LIMIT %(most)s + 1)
            UNION ALL (SELECT c.id, false, greatest(disabled_till, full_until) {{of_shared}} AND {{fits}}
                AND greatest(disabled_till, full_until) > to_timestamp(%(now)s) ORDER BY greatest(disabled_till, full_until) LIMIT %(most)s + 1)
            UNION ALL (SELECT c.id, false, NULL FROM (
                SELECT * {{of_shared}} ORDER BY hashint8(c.id) LIMIT 2 * (%(most)s + 1)
            ) c WHERE NOT ({{fits}}) LIMIT %(most)s + 1)
            LIMIT %(most)s + 1
        ) AS part(id, usable, soonest)
    ) judged WHERE place <= %(most)s
) one
CROSS JOIN LATERAL (SELECT * FROM credential WHERE id = one.id OFFSET 0) c

-- name: count
-- How many shared credentials sources have. Asked where a group is larger than what was loaded, and not all of that can be used.
-- Parameters: platform (text), groups (json array of {i, source}).
-- Rows: one for each group.
-- No row: no group was named.
SELECT g.i, (SELECT count(*) {{of_shared}}) AS of FROM jsonb_to_recordset(%(groups)s::jsonb) AS g(i integer, source text)

-- name: held
-- Calls in flight. To be read before the settlements are taken: what comes back in between then counts twice for one turn, and never not
-- at all. Bounded by the calls that may be in flight.
-- Parameters: platform (text).
-- No row: no call is out.
SELECT l.flow, f.source, f.operation, f.credential_id, count(*) FILTER (WHERE f.call_of IS NULL) AS calls
FROM scrape_fetch f JOIN lane l ON l.id = f.lane_id WHERE f.platform = %(platform)s AND f.stage = 'LEASED' GROUP BY 1, 2, 3, 4
UNION ALL SELECT '', source, operation, credential_id, 1 FROM credential_call WHERE platform = %(platform)s

-- name: untaken
-- Calls that came back, and are charged by nobody yet.
-- Parameters: platform (text).
-- No row: all that came back is charged.
SELECT '' AS flow, source, operation, credential_id, sum(calls) AS calls
FROM settlement WHERE platform = %(platform)s AND credential_id > 0 AND outcome NOT IN ('unused', 'unreached') GROUP BY 1, 2, 3, 4

-- name: breakers
-- The breakers that judge everybody's calls: of the platform's sources, and of all owners together. Beside them the data breakers that are open: their
-- `trips` is the version of the parser that they are about, and they have no time at which they close.
-- Parameters: platform (text), all_owners (text: the owner by which the latter are kept).
-- No row: nothing has failed.
SELECT source, operation, kind, '' AS owner, by_hand, {{breaker}} FROM breaker WHERE platform = %(platform)s
UNION ALL
SELECT source, operation, kind, owner, false, {{breaker}} FROM owner_breaker WHERE platform = %(platform)s AND owner = %(all_owners)s
UNION ALL
SELECT source, operation, 'data', '', by_hand, extract(epoch FROM open_since)::double precision, '[]', parser_version,
    extract(epoch FROM clock_timestamp() + interval '30 s')::double precision, false, '[]', NULL
FROM trust_cohort WHERE platform = %(platform)s AND open_since IS NOT NULL

-- name: owners_breakers
-- The breakers of owners, found by the index on (platform, owner).
-- Parameters: platform (text), owners (text[]).
-- No row: none of their calls has failed.
SELECT source, operation, kind, owner, false AS by_hand, {{breaker}} FROM owner_breaker WHERE platform = %(platform)s AND owner = ANY(%(owners)s)

-- name: open_breakers
-- Of each (source, operation, kind) some breakers of owners that are open, whichever: enough of them are an outage of everybody's.
-- Parameters: platform (text), calls (json array of {source, operation}), kinds (text[]), most (breakers of each).
-- No row: none is open.
SELECT found.* FROM jsonb_to_recordset(%(calls)s::jsonb) AS n(source text, operation text), unnest(%(kinds)s::text[]) AS k(kind)
CROSS JOIN LATERAL (
    SELECT source, operation, kind, owner, false AS by_hand, {{breaker}} FROM owner_breaker
    WHERE platform = %(platform)s AND source = n.source AND operation = n.operation AND kind = k.kind AND open_until IS NOT NULL LIMIT %(most)s
) found

-- name: workers
-- Worker processes that report, and whether they say that they have no network. The row of one that was killed is out of date within
-- half a minute.
-- Parameters: seconds (a report is believed for so long).
-- No row: no worker reports.
SELECT id, troubles ? 'network' AS cut_off FROM process
WHERE name = 'worker' AND seen_at > clock_timestamp() - make_interval(secs => %(seconds)s)

-- name: clock_steps
-- The steps forth of the database's clock that processes have found, one row for each process that has found some. Bounded by the processes
-- of the last hour.
-- No row: none has found any.
SELECT clock_steps FROM process WHERE clock_steps <> '[]'

-- name: usage
-- What is used of limits.
-- Parameters: subjects (text[]).
-- No row: nothing is used of any.
SELECT subject, limit_name, head, counts FROM credential_usage WHERE subject = ANY(%(subjects)s) AND limit_name <> 'total'
