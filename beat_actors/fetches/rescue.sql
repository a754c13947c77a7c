-- name: unsent
-- Finds work of a stage that nobody holds and whose message has had its time: lost with Redis, or never sent. Also work whose holder's lease ran
-- out, save in LEASED, where a claimed lease may have been a call (`orphaned`). An urgent lease waits for no queue's head: whatever has
-- become of its message, or of those who take `express`, a worker of `retrieve` takes it. What shares a call comes along with it.
-- Parameters: grace (seconds since it was sent), retrieve, ingest, process (seconds: the age of the message at the head of each queue), epoch (bigint
-- or null: of the leader), limit (integer).
-- Locks: the fetches by priority and id; what another holds is skipped.
-- No row: nothing was lost, or the leader was replaced.
WITH lost AS (
    SELECT id, stage_attempts FROM scrape_fetch
    WHERE stage IN ('LEASED', 'RETRIEVED', 'INGESTED') AND sent_at < clock_timestamp() - make_interval(secs =>
        %(grace)s + CASE WHEN stage = 'LEASED' AND priority = 1 THEN 0 WHEN stage = 'LEASED' THEN %(retrieve)s
        WHEN stage = 'RETRIEVED' THEN %(ingest)s ELSE %(process)s END)
      AND (call_of IS NULL OR stage <> 'LEASED')
      AND (lease_until IS NULL OR (stage <> 'LEASED' AND lease_until < clock_timestamp()))
      AND beat_leads(%(epoch)s)
    ORDER BY priority, id LIMIT %(limit)s FOR NO KEY UPDATE SKIP LOCKED
)
UPDATE scrape_fetch f SET sent_at = clock_timestamp() FROM lost WHERE f.id = lost.id
RETURNING f.id, f.stage, f.stage_attempts

-- name: orphaned
-- Ends claims of leases whose holder is gone: nobody knows whether the call was made. It stays charged, is traced as unknown so that the books
-- agree, and the fetch goes back to the broker. The fence rises, so the holder, if it is only late, writes nothing. Nothing is done where the
-- clock is ahead of what the caller expects it to show: it may just have stepped.
-- Stages: LEASED -> SETTLING.
-- Parameters: expected (epoch seconds or null: what the database's clock should show), epoch (bigint or null: of the leader), limit (integer).
-- Rows: the platforms whose broker has something to apply.
-- Locks: the fetches by their ids; what another holds is skipped.
-- No row: no holder is gone, the clock may have stepped, or the leader was replaced.
WITH orphan AS (
    SELECT id FROM scrape_fetch
    WHERE stage = 'LEASED' AND lease_until < clock_timestamp() AND coalesce(clock_timestamp() < to_timestamp(%(expected)s) + interval '2 seconds', true)
      AND beat_leads(%(epoch)s) ORDER BY id LIMIT %(limit)s FOR NO KEY UPDATE SKIP LOCKED
), moved AS (
    UPDATE scrape_fetch f SET stage = 'SETTLING', fence = f.fence + 1, lease_until = NULL FROM orphan WHERE f.id = orphan.id
    RETURNING f.*
), trace AS (
    INSERT INTO trace_log (fetch_id, request_id, attempt, platform, source, operation, credential_id, method, url, outcome, detail)
    SELECT id, request_id, attempt, platform, source, operation, credential_id, '', '', 'unknown',
           'the worker was gone before it could say how the call went' FROM moved WHERE call_of IS NULL
), settled AS (
    INSERT INTO settlement (platform, fetch_id, fence, credential_id, source, operation, outcome, probe, calls, at, owner)
    SELECT platform, id, fence, CASE WHEN call_of IS NULL THEN credential_id ELSE 0 END, source, operation, 'unknown', probe,
           (call_of IS NULL)::integer, clock_timestamp(), coalesce(owner, '') FROM moved
)
SELECT DISTINCT platform FROM moved

-- name: overdue
-- Takes work that is held beyond its flow's limit from its holder: its lease ends and the fence rises, so the holder's next renewal finds nothing
-- and breaks it off, and the other sweeps settle it as they do the work of a worker that died.
-- Parameters: platforms and flows (text[]), limits (double precision[]: seconds), pairwise, epoch (bigint or null: of the leader), limit (integer).
-- Locks: the fetches by their ids; what another holds is skipped.
-- No row: nothing is held for too long, or the leader was replaced.
WITH overdue AS (
    SELECT f.id FROM scrape_fetch f JOIN scrape_request_log r ON r.id = f.request_id
    JOIN unnest(%(platforms)s::text[], %(flows)s::text[], %(limits)s::double precision[]) AS l(platform, flow, seconds)
        ON l.platform = r.platform AND l.flow = r.flow
    WHERE f.stage IN ('LEASED', 'RETRIEVED', 'INGESTED') AND f.lease_until > clock_timestamp()
      AND f.claimed_at < clock_timestamp() - make_interval(secs => l.seconds) AND beat_leads(%(epoch)s)
    ORDER BY f.id LIMIT %(limit)s FOR NO KEY UPDATE OF f SKIP LOCKED
)
UPDATE scrape_fetch f SET lease_until = clock_timestamp(), fence = fence + 1 FROM overdue WHERE f.id = overdue.id RETURNING f.id

-- name: unsettled
-- The last resort: settles what waits to be settled and has nothing that could settle it, as only an edit by hand or a lost row leaves it. Its
-- call is charged, perhaps a second time, since a call that nobody counts would break a limit.
-- Parameters: seconds (since anything happened to it), epoch (bigint or null: of the leader), limit (integer).
-- Rows: the platform of each.
-- Locks: the fetches by their ids; what another holds is skipped.
-- No row: there is none, or the leader was replaced.
WITH unsettled AS (
    SELECT id FROM scrape_fetch f
    WHERE stage = 'SETTLING' AND greatest(sent_at, claimed_at) < clock_timestamp() - make_interval(secs => %(seconds)s)
      AND NOT EXISTS (SELECT FROM settlement s WHERE s.fetch_id = f.id AND s.fence = f.fence) AND beat_leads(%(epoch)s)
    ORDER BY id LIMIT %(limit)s FOR NO KEY UPDATE SKIP LOCKED
)
INSERT INTO settlement (platform, fetch_id, fence, credential_id, source, operation, outcome, probe, calls, at, owner)
SELECT f.platform, f.id, f.fence, CASE WHEN f.call_of IS NULL THEN f.credential_id ELSE 0 END, f.source, f.operation, 'unknown', f.probe,
       (f.call_of IS NULL)::integer, clock_timestamp(), coalesce(f.owner, '') FROM scrape_fetch f JOIN unsettled USING (id)
RETURNING platform

-- name: seize
-- Takes away what somebody has held for too long, for a person who does not want to wait. The fence rises, so that the holder, if it lives,
-- writes nothing; the sweeps settle what was held as they do a dead worker's.
-- Parameters: seconds (since it was claimed), limit (integer).
-- Locks: the fetches by their ids; what another holds is skipped.
-- No row: nothing is held for so long.
WITH held AS (
    SELECT id FROM scrape_fetch
    WHERE stage IN ('LEASED', 'RETRIEVED', 'INGESTED') AND lease_until > clock_timestamp()
      AND claimed_at < clock_timestamp() - make_interval(secs => %(seconds)s)
    ORDER BY id LIMIT %(limit)s FOR NO KEY UPDATE SKIP LOCKED
)
UPDATE scrape_fetch f SET lease_until = clock_timestamp(), fence = fence + 1 FROM held WHERE f.id = held.id RETURNING f.id, f.request_id

-- name: leases_after_step
-- Sets right leases that a step back of the clock left lying ahead: each lasts once more at most. It works on what is in flight.
-- Parameters: lease, within, ahead (seconds, as `claims.leases`), epoch (bigint or null: of the leader), batch (integer).
-- Locks: the fetches by their ids; what another holds is being committed and is skipped.
-- No row: none lies ahead, or the leader was replaced.
WITH late AS (
    SELECT id FROM scrape_fetch WHERE stage IN ('LEASED', 'RETRIEVED', 'INGESTED', 'SETTLING') AND beat_leads(%(epoch)s) AND (
        lease_until > clock_timestamp() + make_interval(secs => %(lease)s + 1) OR sent_at > clock_timestamp() + interval '1 second'
        OR claimed_at > clock_timestamp() + interval '1 second' OR use_until > clock_timestamp() + make_interval(secs => %(within)s + 1)
        OR use_from > clock_timestamp() + make_interval(secs => %(ahead)s + 1))
    ORDER BY id LIMIT %(batch)s FOR NO KEY UPDATE SKIP LOCKED
)
UPDATE scrape_fetch f SET
    lease_until = CASE WHEN lease_until IS NOT NULL THEN least(lease_until, clock_timestamp() + make_interval(secs => %(lease)s)) END,
    sent_at = least(sent_at, clock_timestamp()), claimed_at = least(claimed_at, clock_timestamp()),
    use_until = CASE WHEN use_until IS NOT NULL THEN least(use_until, clock_timestamp() + make_interval(secs => %(within)s)) END,
    use_from = CASE WHEN use_from IS NOT NULL THEN least(use_from, clock_timestamp() + make_interval(secs => %(ahead)s)) END
FROM late WHERE f.id = late.id

-- name: pauses_after_step
-- Moves pauses of fetches by as much as the clock went back, from the nearest to the furthest: each is moved once, since it moves to before the
-- place where the walk is.
-- Parameters: after (epoch seconds: where the walk is), seconds (by which the clock went back), epoch (bigint or null: of the leader),
-- batch (integer).
-- Rows: one; how many were read, and the last one's time (null: none).
-- Locks: the fetches, by their time; a transaction that changes one meanwhile is waited for, and then the row is left as it is.
-- No row: never.
WITH next AS (
    SELECT id, not_before AS at FROM scrape_fetch
    WHERE stage = 'WAITING' AND not_before > to_timestamp(%(after)s) AND beat_leads(%(epoch)s) ORDER BY not_before LIMIT %(batch)s
), moved AS (
    UPDATE scrape_fetch f SET not_before = f.not_before - make_interval(secs => %(seconds)s) FROM next
    WHERE f.id = next.id AND f.stage = 'WAITING' AND f.not_before = next.at
)
SELECT count(*) AS read, extract(epoch FROM max(at))::double precision AS last FROM next
