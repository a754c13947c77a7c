-- name: starts
-- Processes that were the first of their kind to start with other code or settings than the one before them.
-- Parameters: since, until (timestamptz), most (integer) rows.
-- Rows: `Started`, oldest first. The fields that end in `_before` are null where no earlier start is known.
-- Locks: none.
-- No row: nothing was deployed.
SELECT s.at, s.name, s.version, s.revision, s.platforms, s.settings, b.version AS version_before, b.revision AS revision_before,
       b.platforms AS platforms_before, b.settings AS settings_before
FROM code_start s LEFT JOIN code_start b ON b.id = s.after
WHERE s.at >= %(since)s AND s.at < %(until)s ORDER BY s.at, s.id LIMIT %(most)s

-- name: restarted
-- Processes that live and were started in this time, by their kind.
-- Parameters: since, until (timestamptz), seconds (integer): since its last report for which a process is said to live.
-- Rows: `Restarted`, in the order of their first start.
-- Locks: none.
-- No row: none was started.
SELECT name, count(*) AS processes, min(started_at) AS at FROM process
WHERE started_at >= %(since)s AND started_at < %(until)s AND seen_at > clock_timestamp() - make_interval(secs => %(seconds)s)
GROUP BY name ORDER BY 3

-- name: operators
-- What operators did, the same action of the same one together. Of very many actions the last ones are read.
-- Parameters: since, until (timestamptz), read (integer): actions, most (integer) rows.
-- Rows: `Acted`, oldest first. `targets`: three of them. `detail`: that of the last.
-- Locks: none.
-- No row: nobody did anything.
SELECT * FROM (
    SELECT min(at) AS at, max(at) AS last_at, actor, action, count(*) AS times, (array_agg(target ORDER BY at))[1:3] AS targets,
           (array_agg(detail ORDER BY at DESC))[1] AS detail
    FROM (SELECT at, actor, action, target, detail FROM audit_log WHERE at >= %(since)s AND at < %(until)s ORDER BY at DESC LIMIT %(read)s) done
    GROUP BY actor, action ORDER BY max(at) DESC LIMIT %(most)s) last
ORDER BY at
