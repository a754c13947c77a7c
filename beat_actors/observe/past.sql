-- name: alerts
-- Alerts that were open at some moment of a span of time: those that were opened or resolved in it, and those that stood all the time.
-- Parameters: since, until (timestamptz), most (integer): rows of each of the three kinds.
-- Rows: `Opened`, in the order of their opening.
-- Locks: none.
-- No row: there was none.
SELECT id, key, severity, cause, opened_at, resolved_at FROM (
    (SELECT * FROM alert WHERE opened_at >= %(since)s AND opened_at < %(until)s ORDER BY opened_at LIMIT %(most)s)
    UNION
    (SELECT * FROM alert WHERE resolved_at >= %(since)s AND opened_at < %(since)s ORDER BY resolved_at LIMIT %(most)s)
    UNION
    (SELECT * FROM alert WHERE resolved_at IS NULL AND opened_at < %(since)s ORDER BY opened_at LIMIT %(most)s)
) found ORDER BY opened_at, id

-- name: events
-- Breakers that opened or closed, and alerts that became more severe.
-- Parameters: since, until (timestamptz), most (integer) rows.
-- Rows: `Told`, oldest first.
-- Locks: none.
-- No row: none did, or the events are past their age.
SELECT at, type, subject, owner, data FROM event
WHERE type IN ('beat.breaker.opened', 'beat.breaker.closed', 'beat.alert.escalated') AND at >= %(since)s AND at < %(until)s
ORDER BY at LIMIT %(most)s

-- name: throughput
-- Leases that were given and call outcomes that were applied, by interval and platform. Of an interval with many dispatch cycles only the first are read.
-- Parameters: since, until (timestamptz), seconds (double precision): the length of an interval, platforms (text[]), most (integer): cycles of a platform
-- that are read in an interval.
-- Rows: `Cycles`, in order. `last_at`: when the last cycle that was read ran.
-- Locks: none.
-- No row: no cycle ran in this time, or they are past their age.
SELECT i.n, p.platform, count(*) AS cycles, sum(d.leased)::bigint AS leased, sum(d.settled)::bigint AS settled, max(d.at) AS last_at
FROM generate_series(0, ceil(extract(epoch FROM %(until)s::timestamptz - %(since)s::timestamptz) / %(seconds)s)::integer - 1) AS i(n)
CROSS JOIN unnest(%(platforms)s::text[]) AS p(platform)
CROSS JOIN LATERAL (
    SELECT at, leased, settled FROM broker_decision
    WHERE broker_decision.platform = p.platform AND at >= %(since)s::timestamptz + make_interval(secs => i.n * %(seconds)s)
      AND at < least(%(until)s::timestamptz, %(since)s::timestamptz + make_interval(secs => (i.n + 1) * %(seconds)s))
    ORDER BY at LIMIT %(most)s) d
GROUP BY 1, 2 ORDER BY 1, 2
