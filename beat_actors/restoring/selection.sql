-- fragment: of_deploy
-- Builds of `b` that a deploy has: its software is this version of Beat, or ends with the deploy's name.
(b.software = %(chosen_deploy)s OR substring(b.software FROM '[^+]*$') = %(chosen_deploy)s
    OR starts_with(substring(b.software FROM '[^+]*$'), %(chosen_deploy_begins)s::text))

-- name: deploys
-- The software that a deploy has read answers with.
-- Parameters: chosen_deploy (text), chosen_deploy_begins (text; null: the name has to be the whole).
-- Rows: at most three names.
-- Locks: none.
-- No row: it has read none.
SELECT DISTINCT CASE WHEN b.software = %(chosen_deploy)s THEN b.software ELSE substring(b.software FROM '[^+]*$') END AS deploy
FROM parser_build b WHERE {{of_deploy}} ORDER BY 1 LIMIT 3

-- name: clock
-- The time now, and when the answer of a fetch began.
-- Parameters: fetch (bigint or null).
-- Rows: `Clock`, one.
-- Locks: none.
-- No row: never.
SELECT clock_timestamp() AS now, (SELECT payload_at FROM scrape_fetch WHERE id = %(fetch)s::bigint) AS payload_at
