"""What costs something or stops something is done to what was named, and to nothing else."""

from collections.abc import Callable

import psycopg
import pytest

from beat_actors.requests.intake import Accepted
from tests.integration.cli.conftest import Beat


def test_retry_and_cancel_without_a_choice_do_nothing(beat: Beat, submit: Callable[..., list[Accepted]]) -> None:
    (one,) = submit("one")
    for line in (("retry",), ("retry", "--limit", "5"), ("cancel", "--reason", "x")):
        said = beat(*line)
        assert said.code == 2, line
        assert said.out == ""
    assert beat("requests", str(one.id), "--json").json["status"] == "PENDING"
    assert beat("cancel", str(one.id), "--reason", "x").code == 0
    assert beat("retry", "--status", "cancelled").code == 0


def test_the_credentials_of_a_source_are_reset_together(beat: Beat, database_url: str) -> None:
    for n in range(3):
        assert beat("credentials", "add", "lama", stdin=f"key=secret-{n}").code == 0
    assert beat("credentials", "add", "jotucker", stdin="key=secret").code == 0
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(
            "UPDATE credential SET disabled_till = now() + interval '1 hour', disabled_reason = 'rate_limited'"
        )
    said = beat("credentials", "reset", "--source", "lama", "--reason", "the provider has recovered")
    assert said.code == 0, said
    states = {(one["source"], one["state"]) for one in beat("credentials", "list", "--json").json}
    assert ("jotucker", "cooling") in states
    assert ("lama", "cooling") not in states
    assert beat("credentials", "reset", "--reason", "x").code == 2


def test_a_failed_request_is_listed_with_its_error(
    beat: Beat, submit: Callable[..., list[Accepted]], database_url: str
) -> None:
    (one,) = submit("one")
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(
            "UPDATE scrape_request_log SET status = 'FAILED', live = false, open_fetches = 0, "
            'data = \'{"error": {"code": "no_available_sources", "message": "none"}}\' WHERE id = %s',
            (one.id,),
        )
    heads, row = beat("requests", "--status", "failed", "--header").rows
    shown = dict(zip(heads, row, strict=True))
    assert (shown["subject"], shown["error"]) == ("one", "no_available_sources")


def test_a_flow_that_several_platforms_have_is_named_with_the_option(beat: Beat) -> None:
    shared = [one["flow"] for one in beat("flows", "--json").json if one["flow"] == "refresh_profile_by_handle"]
    if len(shared) < 2:
        pytest.skip("no two platforms share a flow's name")
    said = beat("flows", "pause", "refresh_profile_by_handle", "--reason", "x")
    assert said.code == 2
    assert "--platform" in said.err
    assert beat("flows", "pause", "refresh_profile_by_handle", "--platform", "youtube", "--reason", "x").code == 0
