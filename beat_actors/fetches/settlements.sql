-- name: settle
-- Tells the broker what came of calls: it charges them, judges credentials and sources, and moves the fetches that are SETTLING.
-- The caller has fenced the rows: by its own transition of the fetches, in the same transaction.
-- Parameters: settlements (jsonb: a list of objects with the columns of `n`; `at` and `began` in epoch seconds; what is absent is null).
-- Locks: none.
INSERT INTO settlement (platform, fetch_id, fence, credential_id, source, operation, outcome, calls, probe, code, detail,
                        retry_after, reported_remaining, reported_reset, at, generation, began, owner, process)
SELECT n.platform, n.fetch_id, n.fence, n.credential_id, n.source, n.operation, n.outcome, n.calls, n.probe, n.code, n.detail,
       n.retry_after, n.reported_remaining, n.reported_reset, coalesce(to_timestamp(n.at), clock_timestamp()), n.generation,
       to_timestamp(n.began), coalesce(n.owner, ''), coalesce(n.process, '')
FROM jsonb_to_recordset(%(settlements)s::jsonb) AS n(
    platform text, fetch_id bigint, fence integer, credential_id bigint, source text, operation text, outcome text, calls integer,
    probe boolean, code text, detail text, retry_after double precision, reported_remaining integer,
    reported_reset double precision, at double precision, generation integer, began double precision, owner text, process text)
