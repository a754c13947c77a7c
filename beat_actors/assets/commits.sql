-- name: known
-- Which of these contents are in the bucket already. One that was never seen there for an asset, or is being deleted, is not.
-- Parameters: contents (bytea[]).
-- Rows: the contents that are.
-- Locks: none. An object that it finds may be deleted meanwhile, so `commit` looks again.
-- No row: none is.
SELECT content FROM asset_object WHERE content = ANY(%(contents)s) AND checked_at IS NOT NULL AND deleting_since IS NULL

-- name: commit
-- Ends uploads: the state of each asset, and the rows of the objects that were stored. An object that the process has just made gets its row. One
-- that was there before must have a row, which is locked against deletion; where it has none, it gets one that nobody uses, and the asset is uploaded
-- again. An object that is being deleted is as good as none (`deleting.condemn`): its asset waits until its row is gone. An asset whose picture or URL has changed since its claim is claimed again for the new one.
-- Parameters: ends (jsonb): objects with the fields that `o` names. `how`: `made`, `known` (by the database) or `there` (by the bucket); null where
-- nothing was stored. `state`: the state that the asset gets. `delay`: seconds until it is tried again. `counts`: whether it was an attempt.
-- Rows: `Ended`, one for each upload that was the caller's. `old`: the content that it replaced.
-- Locks: the assets in the order of their ids, then the objects in the order of their contents.
-- No row: other processes claimed all these assets, or they were deleted.
WITH o AS MATERIALIZED (
    SELECT o.*, decode(hex, 'hex') AS content, decode(picture, 'hex') AS identity FROM jsonb_to_recordset(%(ends)s::jsonb) AS o(
        asset uuid, fence integer, state text, how text, hex text, picture text, url text, bytes bigint, media_type text, width integer,
        height integer, failure text, delay double precision, counts boolean)
), mine AS MATERIALIZED (
    SELECT a.public_id, a.content AS old, a.url IS DISTINCT FROM o.url AS moved, a.identity IS DISTINCT FROM o.identity AS other
    FROM o JOIN asset_log a ON a.public_id = o.asset WHERE a.status = 'PROCESSING' AND a.fence = o.fence ORDER BY a.public_id FOR NO KEY UPDATE OF a
), wanted AS MATERIALIZED (
    SELECT DISTINCT ON (o.content) o.*, EXISTS (SELECT FROM mine JOIN o p ON p.asset = mine.public_id WHERE p.content = o.content) AS used
    FROM o WHERE how IS NOT NULL ORDER BY o.content, how <> 'made'
), made AS (
    INSERT INTO asset_object AS t (content, bytes, media_type, width, height, checked_at, unused_since)
    SELECT content, bytes, media_type, width, height, CASE WHEN used THEN clock_timestamp() END, CASE WHEN NOT used THEN clock_timestamp() END
    FROM wanted WHERE how = 'made' ORDER BY content
    ON CONFLICT (content) DO UPDATE SET unused_since = CASE WHEN excluded.unused_since IS NOT NULL THEN t.unused_since END,
        checked_at = coalesce(excluded.checked_at, t.checked_at) WHERE t.deleting_since IS NULL
    RETURNING t.content
), held AS MATERIALIZED (
    SELECT content FROM asset_object WHERE content = ANY(ARRAY(SELECT content FROM wanted WHERE how <> 'made')) AND deleting_since IS NULL
    ORDER BY content FOR SHARE
), used AS (
    UPDATE asset_object SET unused_since = NULL, checked_at = coalesce(checked_at, clock_timestamp())
    WHERE content = ANY(ARRAY(SELECT content FROM held JOIN wanted USING (content) WHERE used)) AND (unused_since IS NOT NULL OR checked_at IS NULL)
), adopted AS (
    INSERT INTO asset_object (content, bytes, media_type, width, height, unused_since)
    SELECT content, bytes, media_type, width, height, clock_timestamp() FROM wanted
    WHERE how = 'there' AND content <> ALL(ARRAY(SELECT content FROM held)) ORDER BY content ON CONFLICT (content) DO NOTHING
), ended AS (
    SELECT o.*, mine.old, mine.moved, mine.other, how IS NULL OR o.content = ANY(ARRAY(SELECT content FROM made UNION ALL SELECT content FROM held)) AS sure,
        EXISTS (SELECT FROM asset_object d WHERE d.content = o.content AND d.deleting_since IS NOT NULL) AS doomed
    FROM mine JOIN o ON o.asset = mine.public_id
), changed AS (
    UPDATE asset_log a SET lease_until = NULL,
        status = CASE WHEN NOT e.sure AND e.doomed THEN 'WAITING'
                      WHEN NOT e.sure OR e.other OR e.moved AND e.state <> 'COMPLETE' THEN 'PENDING'
                      WHEN e.state = 'WAITING' AND a.deadline <= clock_timestamp() AND a.expires_at <= clock_timestamp() THEN 'REFETCH' ELSE e.state END,
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
-- Marks contents that no asset has any more. Another asset may get one at the same time, or a variant may have it: those that delete objects
-- look again under the object's lock.
-- Parameters: contents (bytea[]): contents that assets have had.
-- Locks: the objects.
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
