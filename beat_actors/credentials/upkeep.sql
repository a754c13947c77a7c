-- name: due
-- Credentials that are to be checked or refreshed and have no such call out, those that came due first in front. Before a token is there,
-- or after its end, there is nothing to check.
-- Parameters: ids (bigint[], NULL: all), refreshed, checked (text[]): the sources that have a refresh or a check, refresh, check (text): the
-- names of the two operations, most (integer) of each source's checks and of its refreshes, batch (integer) of all.
-- Rows: `Due`.
-- Locks: none.
-- No row: nothing is due.
SELECT id, platform, operation FROM (
SELECT c.id, c.platform, row_number() OVER (PARTITION BY c.source, due.refresh ORDER BY due.at NULLS FIRST, c.id) AS rank, due.at, CASE WHEN due.refresh THEN %(refresh)s ELSE %(check)s END AS operation
FROM credential c
CROSS JOIN LATERAL (SELECT
    c.refreshes AND c.source = ANY(%(refreshed)s) AND (c.refresh_at <= clock_timestamp() OR (c.refresh_at IS NULL AND c.dead_at IS NULL)) AS refresh,
    c.source = ANY(%(checked)s) AND (NOT c.refreshes OR c.expires_at > clock_timestamp())
        AND (c.check_at <= clock_timestamp() OR (c.check_at IS NULL AND c.dead_at IS NULL)) AS check, CASE WHEN c.refreshes AND (c.refresh_at IS NULL OR c.refresh_at <= clock_timestamp()) THEN c.refresh_at ELSE c.check_at END AS at
) due
WHERE (due.refresh OR due.check) AND (%(ids)s::bigint[] IS NULL OR c.id = ANY(%(ids)s))
  AND c.enabled AND NOT c.probing AND (c.disabled_till IS NULL OR c.disabled_till <= clock_timestamp())
  AND NOT EXISTS (SELECT FROM credential_call k WHERE k.credential_id = c.id)
) ranked WHERE rank <= %(most)s ORDER BY at NULLS FIRST, id LIMIT %(batch)s

-- name: lease
-- Leases calls for credentials' own sake; the call's row is its lease. What was looked at is not due again for a while, whatever becomes of
-- it: what the call finds out says when the next one is. So a message that comes twice finds nothing to do.
-- Parameters: asked (jsonb): objects with id, operation and probe, which is null where there was no room; check, refresh (text): the names
-- of the two operations, later (double precision): seconds until it is due again, lease (double precision): seconds that a lease holds,
-- use_within (double precision): seconds within which the call has to begin.
-- Rows: `LeasedCall`, by id.
-- Locks: the credentials. Run under the platform's lock.
-- No row: there was no room for any.
-- Raises UniqueViolation where a credential has a call out already.
WITH asked AS (
    SELECT * FROM jsonb_to_recordset(%(asked)s::jsonb) AS n(id bigint, operation text, probe boolean)
), later AS (
    UPDATE credential c SET
        check_at = CASE WHEN a.operation = %(check)s THEN clock_timestamp() + make_interval(secs => %(later)s) ELSE c.check_at END,
        refresh_at = CASE WHEN a.operation = %(refresh)s THEN clock_timestamp() + make_interval(secs => %(later)s) ELSE c.refresh_at END
    FROM asked a WHERE c.id = a.id
), leased AS (
    INSERT INTO credential_call (credential_id, platform, source, operation, generation, probe, lease_until)
    SELECT c.id, c.platform, c.source, a.operation, c.generation, a.probe, clock_timestamp() + make_interval(secs => %(lease)s)
    FROM asked a JOIN credential c ON c.id = a.id WHERE a.probe IS NOT NULL RETURNING *
)
SELECT l.id, l.credential_id, l.platform, l.source, l.operation, l.generation, l.probe, l.lease_until, c.key_id, c.secret,
       extract(epoch FROM clock_timestamp())::double precision AS claimed_at,
       extract(epoch FROM clock_timestamp())::double precision + %(use_within)s AS use_until, NULL::double precision AS use_from
FROM leased l JOIN credential c ON c.id = l.credential_id ORDER BY l.id

-- name: finish
-- Ends calls that came back: traces them, and leaves their outcomes to the next dispatch cycle. A call whose row is gone was given up
-- meanwhile, and has been traced and counted as unknown: its worker writes nothing.
-- Parameters: calls (jsonb): objects with the fields that `r` names.
-- Rows: the ids of the calls that had not been given up.
-- Locks: the calls' rows, which go.
-- No row: all had been given up.
WITH n AS (
    SELECT * FROM jsonb_to_recordset(%(calls)s::jsonb) AS r(
        id bigint, generation integer, fetch_id bigint, request_id bigint, attempt integer, method text, url text, status integer,
        ms real, bytes integer, outcome text, code text, detail text, retry_after double precision, reported_remaining integer,
        reported_reset double precision, at double precision, began double precision, facts jsonb, process text)
), done AS (
    DELETE FROM credential_call k USING n WHERE k.id = n.id
    RETURNING k.credential_id, k.platform, k.source, k.operation, k.probe, n.*
), trace AS (
    INSERT INTO trace_log (fetch_id, request_id, attempt, platform, source, operation, credential_id, method, url, status, ms,
                           bytes, outcome, code, detail)
    SELECT fetch_id, request_id, attempt, platform, source, operation, credential_id, method, url, status, ms, bytes, outcome,
           code, detail
    FROM done WHERE outcome NOT IN ('unused', 'unreached')
), settled AS (
    INSERT INTO settlement (platform, credential_id, source, operation, outcome, probe, code, detail, retry_after,
                            reported_remaining, reported_reset, at, began, generation, facts, process)
    SELECT platform, credential_id, source, operation, outcome, probe, code, detail, retry_after, reported_remaining,
           reported_reset, coalesce(to_timestamp(at), clock_timestamp()), to_timestamp(began), generation, facts, coalesce(process, '')
    FROM done
)
SELECT id FROM done

-- name: out
-- How many calls for credentials' own sake are out.
-- Rows: one.
-- Locks: none.
SELECT count(*) AS out FROM credential_call

-- name: orphaned
-- Gives up calls whose lease has ended: their worker is gone. They are traced and counted as unknown.
-- Parameters: epoch (bigint): the leader's, NULL: no leader is asked for.
-- Rows: the platforms of those calls.
-- Locks: the calls' rows, which go.
-- No row: there was no such call, or another leads by now.
WITH orphan AS (
    DELETE FROM credential_call WHERE lease_until < clock_timestamp() AND beat_leads(%(epoch)s) RETURNING *
), trace AS (
    INSERT INTO trace_log (platform, source, operation, credential_id, method, url, outcome, detail)
    SELECT platform, source, operation, credential_id, '', '', 'unknown', 'the worker was gone before it could say how the call went'
    FROM orphan
), settled AS (
    INSERT INTO settlement (platform, credential_id, source, operation, outcome, probe, generation, at)
    SELECT platform, credential_id, source, operation, 'unknown', probe, generation, clock_timestamp() FROM orphan
)
SELECT DISTINCT platform FROM orphan
