"""Rows of the log of events and of its sinks, for tests that say at which place each event is."""

SINK = "INSERT INTO event_sink (name, scheme, seq, holder, lease_until) VALUES (%s, 'test', %s, 'a:1', clock_timestamp() + interval '1 minute')"
# Events of three subjects; their places are given here, as the sequencer would.
EVENTS = """
WITH written AS (
    INSERT INTO event (event_id, type, subject, version, account_id, owner, data)
    SELECT md5(n::text)::uuid, CASE WHEN n %% 5 = 0 THEN 'beat.alert.opened' ELSE 'beat.scrape_request.complete' END,
           'scrape_request/' || n %% 3, n, CASE WHEN n > 6 THEN 'acme' END, '', '{}'
    FROM generate_series(1, %s) n ORDER BY n RETURNING id, at
)
SELECT count(*) FROM written
"""
PLACES = """
WITH gone AS (DELETE FROM event_pending RETURNING id, at), placed AS (
    INSERT INTO event_log (seq, id, at, changes) SELECT seq + row_number() OVER (ORDER BY gone.id), gone.id, gone.at, false FROM gone, event_sequence RETURNING seq
)
UPDATE event_sequence SET seq = (SELECT max(seq) FROM placed)
"""
PARK = """
INSERT INTO event_parked (sink, seq, id, at, subject, trouble, reason, behind, next_at)
SELECT %s, l.seq, l.id, l.at, e.subject, %s, 'a full queue', %s, NULL FROM event_log l JOIN event e ON e.id = l.id AND e.at = l.at WHERE l.seq = %s
"""
PROCESS = """
INSERT INTO process (id, name, host, pid, seen_at, statements, statement_p99, pool_used, pool_most, pool_exhausted, claims, claim_p50, claim_p99)
VALUES ('p', 'publisher', 'a', 1, clock_timestamp(), 0, 0, 0, 0, 0, 0, 0, 0)
"""
UNHELD = "UPDATE event_sink SET lease_until = clock_timestamp() - interval '1 hour', created_at = clock_timestamp() - interval '1 day'"
