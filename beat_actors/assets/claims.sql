-- fragment: flow
-- How many uploads may be in flight over all processes: as the flow declares, unless an operator says otherwise.
flow AS (
    SELECT coalesce(s.paused, false) AS paused, coalesce(s.workers, %(workers)s::integer) * coalesce(s.concurrency, %(concurrency)s::integer) AS most
    FROM (SELECT) one LEFT JOIN flow_setting s ON s.platform = %(platform)s AND s.flow = %(flow)s
)

-- fragment: first
-- The rows of each class `c` in `deadline` order. A constant limit lets the planner read the index and nothing else.
SELECT public_id FROM unnest(%(classes)s::smallint[]) c CROSS JOIN LATERAL (SELECT public_id FROM asset_log WHERE status = 'PENDING' AND wanted_at IS NULL AND class = c AND

-- fragment: suspected
-- Whether the processes that uploaded it ended three times in a row before the upload did. As the index `asset_log_suspected` says it.
rescues >= 3

-- name: lock
-- Lets one process at a time claim, so that all of them together claim no more than the flow allows.
-- Locks: an advisory lock until the transaction ends. It waits for another claim, which takes milliseconds.
-- Rows: one.
SELECT pg_advisory_xact_lock(hashtext('beat.assets.claim')) IS NULL AS locked

-- name: due
-- Lets assets that were to be tried later be claimed again. Those that are suspected of ending the processes that upload them are let go while no other
-- suspect is in flight, and are put off otherwise: at first ten at a time, so that many that were in flight beside the culprit are soon cleared, and
-- those whose process ended then too one at a time, so that none is taken for the culprit because of another.
-- Parameters: limit (integer); classes (smallint[]) that may be claimed: a suspect of another class would hold up the others.
-- Locks: the assets; it skips those that others hold.
-- No row: none is due.
WITH due AS MATERIALIZED (
    SELECT public_id, not_before, class, rescues, {{suspected}} AS suspect FROM asset_log
    WHERE status = 'WAITING' AND not_before <= (SELECT clock_timestamp()) ORDER BY not_before LIMIT %(limit)s FOR NO KEY UPDATE SKIP LOCKED
), next AS MATERIALIZED (
    SELECT public_id FROM (SELECT public_id, rescues, row_number() OVER (ORDER BY rescues > 3, not_before) AS n
        FROM due WHERE suspect AND class = ANY(%(classes)s::smallint[])) s
    WHERE (n = 1 OR n <= 10 AND rescues = 3) AND NOT EXISTS (SELECT FROM asset_log WHERE {{suspected}}
        AND (status = 'PROCESSING' OR status = 'PENDING' AND class = ANY(%(classes)s::smallint[])))
), off AS MATERIALIZED (
    SELECT public_id FROM due WHERE suspect AND public_id NOT IN (SELECT public_id FROM next)
)
UPDATE asset_log SET status = CASE WHEN public_id = ANY(ARRAY(SELECT public_id FROM off)) THEN 'WAITING' ELSE 'PENDING' END,
    not_before = CASE WHEN public_id = ANY(ARRAY(SELECT public_id FROM off)) THEN clock_timestamp() + make_interval(secs => 5 + 5 * random()) END
WHERE public_id = ANY(ARRAY(SELECT public_id FROM due))

-- name: rescue
-- Lets assets be claimed again whose process did not end their upload within its lease. Their claim still counts as an attempt. After the third time
-- in a row an asset is suspected of ending its processes: it waits, for longer each time, and is claimed beside few other suspects, then alone (`due`). After the
-- sixth time it is given up. The end of any upload of the asset clears the suspicion (`commits.commit`).
-- Parameters: limit (integer), failure (text).
-- Rows: `Rescued`.
-- Locks: the assets; it skips those that others hold.
-- No row: no lease has expired.
UPDATE asset_log SET lease_until = NULL, rescues = least(rescues + 1, 100),
    status = CASE WHEN rescues >= 5 THEN 'FAILED' WHEN rescues >= 2 THEN 'WAITING' ELSE 'PENDING' END,
    not_before = CASE WHEN rescues BETWEEN 2 AND 4 THEN clock_timestamp() + interval '10 seconds' * 6 ^ (rescues - 2) END,
    failure = CASE WHEN rescues >= 2 THEN %(failure)s ELSE failure END, wanted_at = CASE WHEN rescues >= 2 THEN NULL ELSE wanted_at END
WHERE public_id = ANY(ARRAY(
    SELECT public_id FROM asset_log WHERE status = 'PROCESSING' AND lease_until <= (SELECT clock_timestamp()) ORDER BY lease_until LIMIT %(limit)s
    FOR NO KEY UPDATE SKIP LOCKED))
RETURNING public_id, status

-- name: expire
-- Ends the wait of assets whose URL says that it is dead by now: only a fresh URL helps them. It reads the index of such URLs, so assets whose URL says
-- nothing of its end are not read, however many are behind their expected deadline.
-- Parameters: limit (integer), failure (text).
-- Locks: the assets; it skips those that others hold.
-- No row: no URL has died.
UPDATE asset_log SET status = 'REFETCH', failure = %(failure)s WHERE public_id = ANY(ARRAY(
    SELECT public_id FROM asset_log WHERE status = 'PENDING' AND class IS NOT NULL AND wanted_at IS NULL AND expires_at IS NOT NULL
        AND expires_at <= (SELECT clock_timestamp()) ORDER BY expires_at LIMIT %(limit)s FOR NO KEY UPDATE SKIP LOCKED))

-- name: claim
-- Claims assets, in this order: suspects whose turn it is (`due`); those that a reader waits for; the share of the classes that have waited in vain; avatars; those of other classes
-- that would otherwise be lost before the backlog is done, by deadline; the others by class and deadline; last those that can hardly be
-- saved, because their expected deadline is near or has passed. Each branch is read only as far as the branches before it left room.
-- Parameters: platform, flow (text), workers, concurrency (integer): the flow and what it declares; limit (integer): assets; classes (smallint[])
-- that may be claimed without a reader; readers (boolean): whether what readers wait for may be claimed; aged (integer): assets of each class that come before avatars; soon (double precision): seconds before its
-- deadline from which on an asset can hardly be saved; urgent (double precision): seconds that the backlog takes; lease (double precision): seconds.
-- Rows: `Claimed`, in the order in which they should begin. `fence` is the claim's.
-- Locks: the assets, after `lock`; it skips those that others hold.
-- No row: nothing is due, the flow is paused, or as many are in flight as it allows.
WITH {{flow}}, moment AS MATERIALIZED (
    SELECT clock_timestamp() + make_interval(secs => %(soon)s) AS soon, clock_timestamp() + make_interval(secs => %(urgent)s) AS urgent
), picked AS MATERIALIZED (
    SELECT public_id FROM (
        (SELECT public_id FROM asset_log WHERE {{suspected}} AND status = 'PENDING' AND class = ANY(%(classes)s::smallint[]) LIMIT 10)
        UNION ALL (SELECT public_id FROM asset_log WHERE %(readers)s AND wanted_at IS NOT NULL AND status = 'PENDING' AND class IS NOT NULL ORDER BY wanted_at LIMIT 1000)
        UNION ALL ({{first}} c > 0 AND deadline > (SELECT soon FROM moment) ORDER BY deadline, id LIMIT %(aged)s) x)
        UNION ALL (SELECT public_id FROM asset_log WHERE status = 'PENDING' AND wanted_at IS NULL AND class = 0 AND deadline > (SELECT soon FROM moment)
                   AND 0 = ANY(%(classes)s) ORDER BY deadline, id LIMIT 1000)
        UNION ALL (SELECT public_id FROM (
            (SELECT public_id, deadline FROM asset_log WHERE status = 'PENDING' AND wanted_at IS NULL AND class = 1 AND 1 = ANY(%(classes)s)
                AND deadline > (SELECT soon FROM moment) AND deadline <= (SELECT urgent FROM moment) ORDER BY deadline LIMIT 1000)
            UNION ALL (SELECT public_id, deadline FROM asset_log WHERE status = 'PENDING' AND wanted_at IS NULL AND class = 2 AND 2 = ANY(%(classes)s)
                AND deadline > (SELECT soon FROM moment) AND deadline <= (SELECT urgent FROM moment) ORDER BY deadline LIMIT 1000)
            UNION ALL (SELECT public_id, deadline FROM asset_log WHERE status = 'PENDING' AND wanted_at IS NULL AND class = 3 AND 3 = ANY(%(classes)s)
                AND deadline > (SELECT soon FROM moment) AND deadline <= (SELECT urgent FROM moment) ORDER BY deadline LIMIT 1000)
            ORDER BY deadline LIMIT 1000) first)
        UNION ALL ({{first}} c > 0 AND deadline > (SELECT urgent FROM moment) ORDER BY deadline, id LIMIT 1000) x)
        UNION ALL ({{first}} deadline <= (SELECT soon FROM moment) ORDER BY deadline DESC, id DESC LIMIT 1000) x)
        UNION ALL ({{first}} deadline IS NULL ORDER BY deadline, id LIMIT 1000) x)
    ) p LIMIT (SELECT CASE WHEN paused THEN 0 ELSE greatest(least(%(limit)s,
        most - (SELECT count(*) FROM asset_log WHERE status = 'PROCESSING')), 0) END FROM flow)
), ordered AS MATERIALIZED (
    SELECT public_id, min(n) AS n FROM (SELECT public_id, row_number() OVER () AS n FROM picked) p GROUP BY public_id
), held AS MATERIALIZED (
    -- In a form that no index has, so that each is found by its id alone.
    SELECT public_id FROM asset_log WHERE public_id = ANY(ARRAY(SELECT public_id FROM ordered)) AND status || '' = 'PENDING' FOR NO KEY UPDATE SKIP LOCKED
), claimed AS (
    UPDATE asset_log SET status = 'PROCESSING', fence = fence + 1, attempts = least(attempts + 1, 32000), not_before = NULL,
        lease_until = clock_timestamp() + make_interval(secs => %(lease)s)
    WHERE public_id = ANY(ARRAY(SELECT public_id FROM held))
    RETURNING public_id, fence, platform, entity, entity_key, field, owner, coalesce(account_id, '') AS account, class, url, identity, content,
        attempts, deadline <= clock_timestamp() AND expires_at <= clock_timestamp() AS dead, wanted_at IS NOT NULL AS wanted
)
SELECT claimed.public_id, fence, platform, entity, entity_key, field, owner, account, class AS of_class, url, identity, content, attempts,
    coalesce(dead, false) AS dead, wanted FROM claimed JOIN ordered USING (public_id) ORDER BY n

-- name: depth
-- How many assets wait to be claimed, up to a limit. The order keeps it to the index.
-- Parameters: most (integer).
-- Rows: one.
-- No row: never.
SELECT count(*) AS waiting FROM (SELECT FROM asset_log WHERE status = 'PENDING' AND class IS NOT NULL ORDER BY class, deadline, id LIMIT %(most)s) pending

-- name: look
-- Whether a claim would find anything: an asset that waits, one whose time has come, or one that its process lost.
-- Rows: one.
-- No row: never.
SELECT EXISTS (SELECT FROM asset_log WHERE status = 'PENDING' AND class IS NOT NULL)
    OR EXISTS (SELECT FROM asset_log WHERE status = 'WAITING' AND not_before <= (SELECT clock_timestamp()))
    OR EXISTS (SELECT FROM asset_log WHERE status = 'PROCESSING' AND lease_until <= (SELECT clock_timestamp())) AS any

-- name: renew
-- Keeps uploads that take long. The fence tells those that another process has claimed meanwhile. A lease that has expired is not renewed: its holder
-- was frozen, and what it stored may have been deleted.
-- Parameters: assets (uuid[]), fences (integer[]): parallel lists, lease (double precision): seconds.
-- Locks: the assets; it skips those that others hold, which are renewed the next time.
-- No row: none is the caller's any more.
WITH held AS MATERIALIZED (
    SELECT a.public_id FROM unnest(%(assets)s::uuid[], %(fences)s::integer[]) AS o(asset, fence) JOIN asset_log a ON a.public_id = o.asset
    WHERE a.fence = o.fence AND a.status = 'PROCESSING' AND a.lease_until > clock_timestamp() ORDER BY a.public_id FOR NO KEY UPDATE OF a SKIP LOCKED
)
UPDATE asset_log SET lease_until = clock_timestamp() + make_interval(secs => %(lease)s)
WHERE public_id = ANY(ARRAY(SELECT public_id FROM held)) AND status = 'PROCESSING'

-- name: unprepare
-- Hands assets to the sweep `preparing` whose URL was written by a process that knows no identities: the other columns are those of the URL before.
-- Parameters: assets (uuid[]), fences (integer[]): parallel lists.
-- Locks: the assets, in the order of their ids.
-- No row: none is the caller's any more.
WITH held AS MATERIALIZED (
    SELECT a.public_id FROM unnest(%(assets)s::uuid[], %(fences)s::integer[]) AS o(asset, fence) JOIN asset_log a ON a.public_id = o.asset
    WHERE a.fence = o.fence AND a.status = 'PROCESSING' ORDER BY a.public_id FOR NO KEY UPDATE OF a
)
UPDATE asset_log SET class = NULL, status = 'PENDING', lease_until = NULL, attempts = 0, rescues = 0
WHERE public_id = ANY(ARRAY(SELECT public_id FROM held)) AND status = 'PROCESSING'
