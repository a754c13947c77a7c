-- fragment: columns
id, platform, kind, key, account_id, owner, fetch_id, request_id, source, operation, parser_version, rules_version, priority, observed_at,
record::text AS record, fields, reasons::text AS reasons, score, said::text AS said, good::text AS good, witnesses::text AS witnesses,
question::text AS question, state, asks, asked, rounds, extract(epoch FROM held_at)::double precision AS held_at,
extract(epoch FROM next_at)::double precision AS next_at, why

-- name: take
-- Takes records that are held, to go on with them. One that is decided meanwhile is none any more.
-- Parameters: ids (bigint[]).
-- Rows: `Row`.
-- Locks: the records, in the order of what they are about; before the entities.
-- No row: of a record, that it is decided, or gone.
SELECT {{columns}} FROM held_record WHERE id = ANY(%(ids)s) AND decided_at IS NULL
ORDER BY platform, kind, key, account_id, owner FOR NO KEY UPDATE

-- name: put
-- Holds records. Of one thing one record is held at a time: where another one is held already, that one stays. One that another answer of the same batch
-- has accepted or rejected is decided from the start.
-- Parameters: records (jsonb: a list of objects with the columns of `n`; `held_at` and `next_at` in epoch seconds), by (text: who decided).
-- Rows: the place in the list, and the id, of each that is stored now.
-- Locks: the new rows; waits for a transaction that holds a record of the same thing. Before the entities.
-- No row: of a record, that another one of the same thing is held.
WITH n AS (
    SELECT * FROM jsonb_to_recordset(%(records)s::jsonb) AS n(
        place integer, platform text, kind text, key text, account_id text, owner text, fetch_id bigint, request_id bigint, source text,
        operation text, parser_version integer, rules_version integer, priority smallint, observed_at timestamptz, record jsonb, fields text[],
        reasons jsonb, score smallint, said jsonb, good jsonb, witnesses jsonb, question jsonb, state text, asks text, asked text[],
        rounds smallint, held_at double precision, next_at double precision, why text)
), made AS (
    INSERT INTO held_record (platform, kind, key, account_id, owner, fetch_id, request_id, source, operation, parser_version, rules_version,
        priority, observed_at, record, fields, reasons, score, said, good, witnesses, question, state, asks, asked, rounds, held_at, next_at, why,
        decided_at, decided_by)
    SELECT platform, kind, key, account_id, owner, fetch_id, request_id, source, operation, parser_version, rules_version, priority, observed_at,
        record, fields, reasons, score, said, good, witnesses, question, state, asks, asked, rounds, to_timestamp(held_at), to_timestamp(next_at), why,
        CASE WHEN state IN ('accepted', 'rejected') THEN clock_timestamp() END, CASE WHEN state IN ('accepted', 'rejected') THEN %(by)s END
    FROM n ORDER BY platform, kind, key, account_id, owner
    ON CONFLICT (platform, kind, key, account_id, owner) WHERE decided_at IS NULL DO NOTHING
    RETURNING id, platform, kind, key, account_id, owner, fetch_id
)
SELECT n.place, made.id FROM made JOIN n USING (platform, kind, key, account_id, owner, fetch_id)

-- name: change
-- Writes what became of held records. Those that are accepted or rejected are decided from now on.
-- Parameters: records (jsonb: a list of objects with the columns of `n`; `next_at` in epoch seconds), by (text: who decided).
-- Locks: the records; the caller has taken them.
-- No row: of a record, that it is decided already.
UPDATE held_record h SET fetch_id = n.fetch_id, request_id = n.request_id, parser_version = n.parser_version, rules_version = n.rules_version,
    observed_at = n.observed_at, record = n.record, fields = n.fields, reasons = n.reasons, score = n.score, said = n.said, good = n.good,
    witnesses = n.witnesses, question = n.question, state = n.state, asks = n.asks, asked = n.asked, rounds = n.rounds,
    next_at = to_timestamp(n.next_at), why = n.why,
    decided_at = CASE WHEN n.state IN ('accepted', 'rejected') THEN clock_timestamp() END,
    decided_by = CASE WHEN n.state IN ('accepted', 'rejected') THEN %(by)s END
FROM jsonb_to_recordset(%(records)s::jsonb) AS n(
    id bigint, fetch_id bigint, request_id bigint, parser_version integer, rules_version integer, observed_at timestamptz, record jsonb, fields text[],
    reasons jsonb, score smallint, said jsonb, good jsonb, witnesses jsonb, question jsonb, state text, asks text, asked text[],
    rounds smallint, next_at double precision, why text)
WHERE h.id = n.id AND h.decided_at IS NULL
