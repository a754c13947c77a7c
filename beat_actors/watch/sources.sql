-- name: open_breakers
-- Sources with open breakers that nobody opened by hand.
-- Parameters: kind (text) of breaker.
-- Rows: `OpenBreakers`.
-- Locks: none.
-- No row: there are none.
SELECT platform, source, array_agg(operation ORDER BY operation) AS operations
FROM breaker WHERE kind = %(kind)s AND open_until IS NOT NULL AND NOT by_hand GROUP BY 1, 2

-- name: owners
-- Sources with open breakers of single owners.
-- Rows: `OwnersOut`; five of the owners.
-- Locks: none.
-- No row: there are none.
SELECT platform, source, count(DISTINCT owner) AS owners, (array_agg(DISTINCT owner))[1:5] AS some FROM owner_breaker
WHERE open_until IS NOT NULL GROUP BY 1, 2
