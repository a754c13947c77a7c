"""`beat erase` over the test's own database: counted first, then erased, refused, and lifted."""

import psycopg
import pytest

from tests.integration.cli.conftest import Beat
from tests.integration.privacy.canary import HANDLE, ID, dump, hits, populate


@pytest.fixture
def rows(database_url: str) -> psycopg.Connection:
    connection = psycopg.connect(database_url, autocommit=True)
    populate(connection, b"\1" * 32)
    return connection


def test_a_person_is_counted_erased_and_lifted(beat: Beat, rows: psycopg.Connection, database_url: str) -> None:
    counted = beat("erase", "instagram", f"@{HANDLE}")
    assert counted.code == 0
    table = {row[0]: row[1:] for row in counted.rows}
    assert table["instagram_account"][:2] == ["1", "1"]
    assert "nothing was changed" in counted.out
    assert len(hits(dump(database_url))) >= 40
    refused = beat("erase", "instagram", HANDLE, "--apply")
    assert (refused.code, "--reason" in refused.err) == (2, True)
    erased = beat("erase", "instagram", HANDLE, "--apply", "--reason", f"{ID} asked")
    assert erased.code == 0
    assert "beat erase lift instagram" in erased.out
    assert hits(dump(database_url)) == []
    listed = beat("erase", "list", "--json").json
    assert [(one["dry_run"], one["reason"], one["waits_for"]) for one in listed] == [
        (False, "[erased] asked", None),
        (True, "count", None),
    ]
    assert beat("erase", "show", str(listed[0]["id"]), "--json").json == listed[0]
    again = beat("scrape", "instagram", HANDLE)
    assert again.code != 0
    assert "erased" in again.err
    assert beat("erase", "lift", "instagram", HANDLE, "--reason", "a mistake").code == 0
    assert beat("erase", "list").rows[0][3] == "lifted"
    assert beat("audit", "--json").json[0]["action"] == "subject.lift"
    assert not any(HANDLE in str(entry) or ID in str(entry) for entry in beat("audit", "--json").json)
    rows.close()
