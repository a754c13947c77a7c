"""At a million assets what a reader asks for is still found through indexes, row by row."""

from typing import Any

import psycopg
import pytest

from beat_actors.assets.serving import making, shelf
from tests.integration.assets.test_asset_plans import million, plan

__all__ = ["million"]
pytestmark = [pytest.mark.exhaustive, pytest.mark.timeout(600)]
OBJECTS = """
INSERT INTO asset_object (content, bytes, media_type) SELECT sha256(int8send(n)), 1, 'image/jpeg' FROM generate_series(1, 300000) n
"""
VARIANTS = """
INSERT INTO asset_variant (content, width, media_type, variant, bytes)
SELECT sha256(int8send(n)), 320, 'image/webp', sha256(int8send(n + 1)), 1 FROM generate_series(1, 200000) n
"""


def test_s7_11_a_reader_reads_no_table_at_a_million_rows(million: psycopg.Connection[Any]) -> None:
    million.execute(OBJECTS)
    million.execute(VARIANTS)
    million.execute("UPDATE asset_log SET content = sha256(int8send(id)) WHERE id <= 300000")
    million.execute("UPDATE asset_log SET status = 'EXPIRED', parent_key = entity_key WHERE id % 50 = 1")
    million.execute("VACUUM ANALYZE asset_log, asset_object, asset_variant")
    some = "SELECT public_id FROM asset_log WHERE id % 2000 = 1 LIMIT 500"
    ids = [row[0] for row in million.execute(some)]
    contents = [row[0] for row in million.execute("SELECT content FROM asset_variant LIMIT 500")]
    wanted = {"contents": contents, "widths": [320] * 500, "media_types": ["image/webp"] * 500}
    one = {"content": contents[0], "width": 320, "media_type": "image/webp"}
    made = {
        "variant": contents[1],
        "bytes": 1,
        "shown_as": "image/webp",
        "shown_width": 1,
        "shown_height": 1,
        "made": False,
    }
    seen = {}
    for mode in ("force_custom_plan", "force_generic_plan"):
        million.execute(f"SET plan_cache_mode = {mode}")
        for sql, params in (
            (shelf.LOOK, {"ids": ids}),
            (shelf.ENDED, {"ids": ids}),
            (shelf.WANT, {"ids": ids}),
            (shelf.ASK, {"ids": ids}),
            (shelf.VARIANTS, wanted),
            (making.SOURCE, one),
            (making.ADD, one | made),
        ):
            text, seen[sql.name, mode] = plan(million, sql, params)
            assert "Seq Scan" not in text, sql
    # Rows that are marked are written anew, with their indexes.
    assert all(pages < 20_000 for pages in seen.values()), seen
