-- name: platforms
-- The platforms of credentials.
-- Parameters: ids (bigint[]).
-- No row: they are gone.
SELECT DISTINCT platform FROM credential WHERE id = ANY(%(ids)s) ORDER BY 1

-- name: known
-- What checks of credentials found that were made just before, and went well.
-- Parameters: ids (bigint[]), seconds (for which a check is taken at its word).
-- No row: of a credential, that it is to be asked.
SELECT id, generation, scopes, expires_at, data_access_expires_at FROM credential
WHERE id = ANY(%(ids)s) AND check_outcome = 'ok' AND checked_at > clock_timestamp() - make_interval(secs => %(seconds)s)
