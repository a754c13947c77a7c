"""The benchmark's upstream answers what the engine and its peers ask."""

from pathlib import Path

from beat_actors.platforms.instagram.sources.lama import Lama
from beat_actors.platforms.interface import FetchSpec

BENCH = Path(__file__).parents[3] / "bench"


def test_all_ask_the_same_path_of_lama() -> None:
    endpoint = Lama().endpoints["profile_by_handle"]
    path = endpoint.build(FetchSpec("profile_by_handle", {"handle": "a"}), {"key": "k"}).path
    for asks in ("upstream.py", "peers/environment.py"):
        assert f"/lama{path}" in (BENCH / asks).read_text()
