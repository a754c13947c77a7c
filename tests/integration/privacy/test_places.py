"""The list of personal data agrees with the schema, the platforms' declarations, the settings and the page in the documentation."""

import re
from pathlib import Path

import psycopg
import pytest

from beat_actors.platforms.registry import platforms
from beat_actors.privacy import places
from beat_actors.settings import Settings

ROOT = Path(__file__).parents[3]
COLUMNS = """
SELECT c.relname, array_agg(a.attname::text), array_agg(a.attname::text) FILTER (WHERE format_type(a.atttypid, NULL) IN
    ('text', 'text[]', 'jsonb', 'bytea', 'character varying'))
FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relnamespace = 'public'::regnamespace
GROUP BY 1
"""


@pytest.fixture
def schema(database_url: str) -> dict[str, tuple[set[str], set[str]]]:
    """The tables, with all their columns and those that hold text."""
    with psycopg.connect(database_url) as connection:
        return {name: (set(every), set(texts or ())) for name, every, texts in connection.execute(COLUMNS)}


def test_every_table_with_text_is_listed_or_named_as_holding_nothing_personal(
    schema: dict[str, tuple[set[str], set[str]]],
) -> None:
    listed = [place.table for place in places.places()]
    assert len(listed) == len(set(listed))
    nothing = places.NOTHING_PERSONAL.keys() | {
        entity.table
        for platform in platforms().values()
        for entity in platform.entities
        if entity.personal is not None and not entity.personal.fields
    }
    assert not set(listed) & nothing
    missing = {name for name, (_, texts) in schema.items() if texts} - set(listed) - nothing
    assert not missing, f"declare what is personal of {sorted(missing)}, or add it to beat_actors/privacy/places.py"
    assert set(listed) | nothing <= schema.keys()


def test_a_new_table_is_missing_from_the_list_until_somebody_adds_it(database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute("CREATE TABLE diary (id bigint, entry text)")
        found = {name: (set(every), set(texts or ())) for name, every, texts in connection.execute(COLUMNS)}
    with pytest.raises(AssertionError, match="diary"):
        test_every_table_with_text_is_listed_or_named_as_holding_nothing_personal(found)


def test_every_column_of_the_list_exists(schema: dict[str, tuple[set[str], set[str]]]) -> None:
    for place in places.places():
        named = {*place.columns, *place.subject, *filter(None, (place.account, place.store))}
        assert named <= schema[place.table][0], place.table
        assert set(place.subject) <= set(place.columns), place.table


def test_every_text_of_a_listed_table_is_judged(schema: dict[str, tuple[set[str], set[str]]]) -> None:
    for place in places.places():
        judged = {*place.columns, *filter(None, (place.account, place.store))} | places.OTHER_COLUMNS
        left = schema[place.table][1] - judged
        assert not left, f"{place.table}: list {sorted(left)} in places or OTHER_COLUMNS"


def test_every_entity_says_what_of_it_is_personal() -> None:
    for platform in platforms().values():
        for entity in platform.entities:
            assert entity.personal is not None, entity.table
            assert set(entity.personal.fields) <= set(entity.record.__struct_fields__), entity.table


def test_every_setting_of_the_list_exists() -> None:
    for place in places.places():
        for name in re.findall(r"BEAT_(\w+)", place.until):
            assert name.lower() in Settings.model_fields


def test_the_page_has_the_list() -> None:
    assert places.table() in (ROOT / "docs/privacy.md").read_text(), "python -m beat_actors.privacy prints the table"
