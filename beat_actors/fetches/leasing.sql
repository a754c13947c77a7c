-- fragment: granted
-- Whether the account that asks for the fetch `f` may use its owner's credentials: it holds the grant, or the installation itself asks.
(f.owner IS NULL OR NOT EXISTS (
    SELECT FROM scrape_request_log r WHERE r.id = f.request_id AND r.account_id IS NOT NULL AND NOT EXISTS (
        SELECT FROM owner_grant g WHERE g.account_id = r.account_id AND g.platform = f.platform AND g.owner = f.owner)))

-- name: wake
-- Wakes fetches whose time has come, those whose time came first. What is left is for the next turn.
-- Parameters: platform (text), now (epoch seconds: the turn's), most (bigint).
-- Locks: the fetches; one that somebody else holds is passed over.
-- No row: never; the statement gives none, and touches none where no fetch's time has come.
UPDATE scrape_fetch SET not_before = NULL, waiting_for = NULL WHERE id = ANY(ARRAY(
    SELECT id FROM scrape_fetch WHERE stage = 'WAITING' AND not_before <= to_timestamp(%(now)s) AND platform = %(platform)s
    ORDER BY not_before LIMIT %(most)s FOR NO KEY UPDATE SKIP LOCKED))

-- name: lease
-- Leases fetches that wait. A lease that is to be used later has a `use_until` that is over: workers of the version that
-- does not know `use_from` hand it back unused. An owner's credential is leased only while the account that asks holds the owner's grant,
-- whatever was granted when it asked.
-- Stages: WAITING -> LEASED.
-- Parameters: leases (json array of {fetch_id, source, credential_id, probe, call_of, use_from}), use_until (epoch seconds).
-- Rows: the fetches that took their lease.
-- Locks: the fetches, under the platform's lock. Other writers of a waiting fetch hold it for one statement.
-- No row: each was cancelled or has expired at this very moment, or its account has lost the grant.
UPDATE scrape_fetch f SET stage = 'LEASED', source = n.source, credential_id = n.credential_id, probe = n.probe,
    call_of = n.call_of, use_from = to_timestamp(n.use_from),
    use_until = to_timestamp(CASE WHEN n.use_from IS NULL THEN %(use_until)s ELSE 0 END), lease_until = NULL, stage_attempts = 0,
    waiting_for = NULL, sent_at = clock_timestamp()
FROM jsonb_to_recordset(%(leases)s::jsonb)
    AS n(fetch_id bigint, source text, credential_id bigint, probe boolean, call_of bigint, use_from double precision)
WHERE f.id = n.fetch_id AND f.stage = 'WAITING' AND {{granted}}
RETURNING f.id

-- name: ungranted
-- Those of the fetches that still wait whose account has lost the grant of their owner.
-- Parameters: ids (bigint[]).
-- No row: each has left the stage otherwise, or its account holds the grant.
SELECT f.id, f.owner FROM scrape_fetch f WHERE f.id = ANY(%(ids)s) AND f.stage = 'WAITING' AND NOT {{granted}}

-- name: move
-- Moves fetches on after their call, into the lane of the sources that are left to them. A fetch that nobody wants any more, its request
-- having ended or been run anew meanwhile, ends with it.
-- Stages: SETTLING -> WAITING, CANCELLED.
-- Parameters: now (epoch seconds), moves (json array, with the keys below; `delay` in seconds).
-- Rows: `Moved`, one for each fetch.
-- Locks: the fetches, under the platform's lock.
-- No row: of a fetch, that it has left the stage.
UPDATE scrape_fetch f SET stage = CASE WHEN r.live AND r.retry_count = f.run THEN 'WAITING' ELSE 'CANCELLED' END, lane_id = n.lane_id, excluded = n.excluded, unreadable = n.unreadable,
    rotations = n.rotations, retries = n.retries, lease_until = NULL, use_until = NULL,
    cursor = CASE WHEN n.drop_cursor THEN NULL ELSE f.cursor END,
    cursor_source = CASE WHEN n.drop_cursor THEN NULL ELSE f.cursor_source END,
    page = CASE WHEN n.drop_cursor THEN 1 ELSE f.page END,
    listing = CASE WHEN n.drop_cursor THEN jsonb_strip_nulls(jsonb_build_object(
        'restarts', coalesce((f.listing->>'restarts')::integer, 0) + 1, 'partial', f.listing->'partial')) ELSE f.listing END,
    not_before = CASE WHEN n.delay > 0 THEN to_timestamp(%(now)s + n.delay) END, waiting_for = n.why
FROM jsonb_to_recordset(%(moves)s::jsonb) AS n(
    id bigint, lane_id integer, excluded text[], unreadable text[], rotations integer, retries integer,
    delay double precision, why text, drop_cursor boolean), scrape_request_log r
WHERE f.id = n.id AND f.stage = 'SETTLING' AND r.id = f.request_id
RETURNING f.request_id, CASE WHEN f.stage = 'WAITING' THEN f.not_before END AS until, f.waiting_for AS reason
