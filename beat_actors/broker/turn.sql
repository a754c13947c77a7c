-- name: behind
-- Fetches whose answer is stored and has not gone through the stages after it. Bounded by the calls that may be in flight.
-- Parameters: platform (text).
-- No row: never.
SELECT count(*) AS fetches FROM scrape_fetch WHERE platform = %(platform)s AND stage IN ('RETRIEVED', 'INGESTED')

-- name: decided
-- Keeps what a turn decided, and by what; `recording` says what `detail` holds.
-- Parameters: now (epoch seconds), platform (text), seed (bigint), settled, leased (integer), detail (json).
-- Locks: none.
INSERT INTO broker_decision (at, platform, seed, settled, leased, detail)
VALUES (to_timestamp(%(now)s), %(platform)s, %(seed)s, %(settled)s, %(leased)s, %(detail)s)

-- name: turned
-- A turn that could give nothing, because calls in flight take all the room, leaves a sign that it ran; not each of them does.
-- Parameters: now (epoch seconds), platform (text), seed (bigint), settled (integer).
-- Locks: none.
-- No row: never; the statement gives none, and touches none where a turn left its sign in the last 3 s.
INSERT INTO broker_decision (at, platform, seed, settled, leased, detail)
SELECT to_timestamp(%(now)s), %(platform)s::text, %(seed)s::bigint, %(settled)s::integer, 0, '{"blocked": [], "moved": 0}'
WHERE NOT EXISTS (SELECT FROM broker_decision WHERE platform = %(platform)s::text AND at > to_timestamp(%(now)s::double precision - 3))
