"""Rows of assets, as the stages write them."""

PENDING = """
INSERT INTO asset_log (platform, entity, entity_key, field, url, class, observed_at, deadline, account_id, status)
SELECT 'instagram', 'instagram_post', n::text, 'thumbnail_url', 'https://cdn.example.com/' || n, n %% 4, now() - make_interval(secs => n %% 600),
    CASE WHEN n %% 10 <> 0 THEN now() + make_interval(secs => n %% 86400) END, 'account' || n %% 5, 'PENDING'
FROM generate_series(1, %s) n
"""
"""So many assets, a fourth in each class, nine of ten with a deadline within a day."""
USED = """
INSERT INTO asset_usage (day, account_id, class, requests, failed, fetched, puts, stored)
SELECT (now() AT TIME ZONE 'UTC')::date, 'account0', c, %s, %s, %s, 0, 0 FROM generate_series(0, 3) c
ON CONFLICT (day, account_id, class) DO UPDATE SET requests = asset_usage.requests + excluded.requests, failed = asset_usage.failed + excluded.failed,
    fetched = asset_usage.fetched + excluded.fetched
"""
"""Requests, failures and bytes of each class today, added to what is there."""
SAMPLED = """
INSERT INTO asset_sample (at, class, day, requests, failed, fetched)
SELECT now() - make_interval(secs => %s), c, (now() AT TIME ZONE 'UTC')::date, 0, 0, 0 FROM generate_series(0, 3) c
"""
"""A sample so many seconds ago, of a day without uploads."""
