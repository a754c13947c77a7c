"""Many pictures whose URLs have died: their profiles are asked for again, each once, whatever says that the URL is dead."""

import pytest

from beat_actors.assets.refetch import OPEN, Sweep
from beat_actors.database import Database
from beat_actors.settings import Settings
from tests.integration.assets.origins import Pictures
from tests.integration.assets.rows import all_of, asset, insert, run
from tests.integration.assets.world import until, uploading

EACH = 20
PROFILES = """INSERT INTO instagram_account (profile_id, handle, account_id, owner, source, parser_version, request_id, observed_at)
SELECT 'p' || n, 'creator_' || n, '', '', 'lama', 1, 1, now() FROM generate_series(0, %s) n"""


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("profiles", [pytest.param(500, marks=pytest.mark.exhaustive), 20])
async def test_s7_3_expired_pictures_cause_one_refetch_of_each_profile(
    upload_settings: Settings, database: Database, database_url: str, origin: Pictures, profiles: int
) -> None:
    """Half of the URLs say when they died, and nobody asks for these. Of the others their origin says so, while it has the pictures of other URLs."""
    rows = [
        asset(
            f"{n}-{i}",
            1,
            url=f"https://cdn{n % 7}.example.com/dead/{n}-{i}.jpg",
            parent=f"p{n}",
            **({"deadline": -60.0, "expires": -60.0} if i % 2 else {}),
        )
        for n in range(profiles)
        for i in range(EACH)
    ]
    origin.says = lambda path: (403, b"URL signature expired") if "/dead/" in path else None
    insert(database_url, rows)
    run(database_url, "UPDATE asset_log SET content = 'last', parent_kind = 'profiles', entity = 'instagram_post'")
    run(database_url, PROFILES, [profiles - 1])
    async with uploading(upload_settings, database):
        await until(database_url, "status = 'REFETCH'", 200.0)
    assert origin.asked.total() == len(rows) // 2
    sweep = Sweep()
    for _ in range(profiles // OPEN + 2):
        for _ in range(profiles // 100 + 2):
            await sweep(database, None)
        (most,) = run(database_url, "SELECT count(*)::int FROM scrape_request_log WHERE status = 'PENDING'")[0]
        assert most <= OPEN
        run(
            database_url,
            "UPDATE scrape_request_log SET status = 'COMPLETE', scraped_at = now() WHERE status = 'PENDING'",
        )
    asked = "SELECT count(*)::int, count(DISTINCT params->>'handle')::int, min(priority)::int FROM scrape_request_log"
    assert run(database_url, asked) == [(profiles, profiles, 3)]
    # None of the answers brought a fresh URL.
    for _ in range(profiles // 100 + 2):
        await sweep(database, None)
    assert set(all_of(database_url, "status, content")) == {("EXPIRED", b"last")}
    assert run(database_url, "SELECT count(*)::int FROM asset_log WHERE failure IS NULL") == [(0,)]
