-- name: known
-- Which of these contents are in the bucket already. One that was never seen there for an asset, or is being deleted, is not.
-- Parameters: contents (bytea[]).
-- Rows: the contents that are.
-- Locks: none. An object that it finds may be deleted meanwhile, so `commit` looks again.
-- No row: none is.
SELECT content FROM asset_object WHERE content = ANY(%(contents)s) AND checked_at IS NOT NULL AND deleting_since IS NULL

-- name: enter
-- Gives contents their rows that uploads came to, before `commit` locks them. One that the process has just made is seen in the bucket. One that was
-- there before, without a row, gets one that nobody uses.
-- Parameters: ends (jsonb): as in `commit`.
-- Locks: the new rows, in the order of their contents. It waits for those that enter the same contents, and for nobody else.
-- No row: all have rows.
INSERT INTO asset_object (content, bytes, media_type, width, height, checked_at, unused_since)
SELECT decode(hex, 'hex'), bytes, media_type, width, height, CASE WHEN how = 'made' THEN clock_timestamp() END, CASE WHEN how <> 'made' THEN clock_timestamp() END
FROM jsonb_to_recordset(%(ends)s::jsonb) AS o(how text, hex text, bytes bigint, media_type text, width integer, height integer)
WHERE how IN ('made', 'there') ORDER BY hex, how <> 'made' ON CONFLICT (content) DO NOTHING

-- name: commit
-- Ends uploads: the state of each asset, and the objects that were stored. All objects are locked once, so that none of them is deleted meanwhile: those
-- that assets get, and those that they leave (`leave`). An object that was there before must have a row from before this transaction, otherwise the
-- asset is uploaded again. An object that is being deleted is as good as none (`deleting.condemn`): its asset waits until its row is gone. An asset whose
-- picture or URL has changed since its claim is claimed again for the new one. An upload whose lease has expired is refused: what it stored may
-- have been deleted while its process was frozen.
-- A URL that does not say when it dies is taken for dead if a week after it was observed the asset has failed 24 times: its parent is asked for another.
-- Parameters: ends (jsonb): objects with the fields that `o` names. `how`: `made`, `known` (by the database) or `there` (by the bucket); null where
-- nothing was stored. `state`: the state that the asset gets. `delay`: seconds until it is tried again. `counts`: whether it was an attempt.
-- Rows: `Ended`, one for each upload that was the caller's. `old`: the content that it replaced.
-- Locks: the assets in the order of their ids, then all objects in the order of their contents.
-- No row: other processes claimed all these assets, or their leases have expired, or they were deleted.
WITH o AS MATERIALIZED (
    SELECT o.*, decode(hex, 'hex') AS content, decode(picture, 'hex') AS identity FROM jsonb_to_recordset(%(ends)s::jsonb) AS o(
        asset uuid, fence integer, state text, how text, hex text, picture text, url text, failure text, delay double precision, counts boolean)
), mine AS MATERIALIZED (
    SELECT a.public_id, a.content AS old, a.url IS DISTINCT FROM o.url AS moved, a.identity IS DISTINCT FROM o.identity AS other
    FROM o JOIN asset_log a ON a.public_id = o.asset WHERE a.status = 'PROCESSING' AND a.fence = o.fence AND a.lease_until > clock_timestamp()
    ORDER BY a.public_id FOR NO KEY UPDATE OF a
), wanted AS MATERIALIZED (
    SELECT DISTINCT ON (o.content) o.content, how = 'made' AS made, EXISTS (SELECT FROM mine JOIN o p ON p.asset = mine.public_id WHERE p.content = o.content) AS used
    FROM o WHERE how IS NOT NULL ORDER BY o.content, how <> 'made'
), locked AS MATERIALIZED (
    -- What the rows say under the lock: the update below only sees what they said before. `entered`: this transaction gave the object its row.
    SELECT content, deleting_since IS NOT NULL AS doomed, unused_since IS NOT NULL OR checked_at IS NULL AS idle,
        xmin = pg_current_xact_id()::xid AS entered FROM asset_object
    WHERE content = ANY(ARRAY(SELECT content FROM wanted UNION SELECT old FROM mine WHERE old IS NOT NULL)) ORDER BY content FOR NO KEY UPDATE
), there AS MATERIALIZED (
    SELECT content, made, used, idle, entered FROM wanted JOIN locked USING (content) WHERE NOT doomed AND (made OR NOT entered)
), used AS (
    UPDATE asset_object t SET unused_since = NULL, checked_at = CASE WHEN there.made THEN clock_timestamp() ELSE coalesce(t.checked_at, clock_timestamp()) END
    FROM there WHERE t.content = there.content AND t.content = ANY(ARRAY(SELECT content FROM there WHERE used AND NOT entered AND (made OR idle)))
), unused AS (
    UPDATE asset_object SET unused_since = clock_timestamp(), checked_at = NULL WHERE content = ANY(ARRAY(SELECT content FROM there WHERE entered AND NOT used))
), ended AS (
    SELECT o.*, mine.old, mine.moved, mine.other, how IS NULL OR o.content = ANY(ARRAY(SELECT content FROM there)) AS sure,
        EXISTS (SELECT FROM locked d WHERE d.content = o.content AND d.doomed) AS doomed
    FROM mine JOIN o ON o.asset = mine.public_id
), changed AS (
    UPDATE asset_log a SET lease_until = NULL, rescues = 0,
        status = CASE WHEN NOT e.sure AND e.doomed THEN 'WAITING'
                      WHEN NOT e.sure OR e.other OR e.moved AND e.state <> 'COMPLETE' THEN 'PENDING'
                      WHEN e.state = 'WAITING' AND (a.deadline <= clock_timestamp() AND a.expires_at <= clock_timestamp()
                          OR a.expires_at IS NULL AND e.counts AND a.attempts >= 24 AND a.observed_at < clock_timestamp() - interval '7 days') THEN 'REFETCH' ELSE e.state END,
        content = CASE WHEN e.sure AND how IS NOT NULL THEN e.content ELSE a.content END,
        content_identity = CASE WHEN e.sure AND how IS NOT NULL THEN e.identity ELSE a.content_identity END,
        stored_at = CASE WHEN e.sure AND how IS NOT NULL THEN clock_timestamp() ELSE a.stored_at END,
        changed_at = CASE WHEN e.sure AND how IS NOT NULL AND e.content IS DISTINCT FROM e.old THEN clock_timestamp() ELSE a.changed_at END,
        failure = e.failure, wanted_at = CASE WHEN e.sure AND NOT e.other AND e.state <> 'PENDING' THEN NULL ELSE a.wanted_at END,
        attempts = CASE WHEN e.other OR e.state = 'COMPLETE' THEN 0 ELSE greatest(a.attempts - (NOT counts)::integer, 0) END,
        -- An URL that lives for a short time only is tried several times before its end.
        not_before = CASE WHEN NOT e.sure AND e.doomed THEN clock_timestamp() + interval '1 minute' WHEN e.state = 'WAITING' THEN clock_timestamp() + least(make_interval(secs => e.delay),
            CASE WHEN a.deadline > clock_timestamp() THEN greatest((a.deadline - clock_timestamp()) / 4, interval '1 second') END) END
    FROM ended e WHERE a.public_id = e.asset
    RETURNING a.public_id, a.status, e.sure AND e.how IS NOT NULL AS stored, e.old
)
SELECT public_id, status, stored, old FROM changed

-- name: leave
-- Marks contents that no asset has any more. A statement of its own, behind `commit`, which locked these objects: so it sees what those committed that
-- left them before, and the last one marks them. Those that delete objects look again under the object's lock.
-- Parameters: contents (bytea[]): contents that assets have had.
-- Locks: none that `commit` has not taken.
-- No row: others have them.
UPDATE asset_object o SET unused_since = clock_timestamp() WHERE content = ANY(%(contents)s) AND unused_since IS NULL AND deleting_since IS NULL
    AND NOT EXISTS (SELECT FROM asset_log a WHERE a.content = o.content)

-- name: count
-- Adds to what uploads took today.
-- Parameters: accounts (text[]), classes (smallint[]), requests, fetched, puts, stored, failed (bigint[]): parallel lists, one entry for each account and
-- class.
-- Locks: the rows of today, in the order of accounts and classes.
INSERT INTO asset_usage AS u (day, account_id, class, requests, fetched, puts, stored, failed)
SELECT (clock_timestamp() AT TIME ZONE 'UTC')::date, account, of_class, requests, fetched, puts, stored, failed
FROM unnest(%(accounts)s::text[], %(classes)s::smallint[], %(requests)s::bigint[], %(fetched)s::bigint[], %(puts)s::bigint[], %(stored)s::bigint[],
    %(failed)s::bigint[]) AS c(account, of_class, requests, fetched, puts, stored, failed) ORDER BY account, of_class
ON CONFLICT (day, account_id, class) DO UPDATE SET requests = u.requests + excluded.requests, fetched = u.fetched + excluded.fetched,
    puts = u.puts + excluded.puts, stored = u.stored + excluded.stored, failed = u.failed + excluded.failed
