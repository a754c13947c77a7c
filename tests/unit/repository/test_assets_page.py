"""docs/assets.md says the numbers that the code has."""

import pytest

from api import assets, cold
from beat_actors.assets.serving import bodies, shelf
from beat_actors.media.variants import WIDTHS
from beat_actors.settings import Settings
from tests.images import ROOT

WORDS = " ".join((ROOT / "docs" / "assets.md").read_text().split())


def default(name: str) -> object:
    return Settings.model_fields[name].default


@pytest.mark.parametrize(
    "said",
    [
        f"The call waits up to {cold.PATIENCE:g} s, then",
        f"the call waits up to {cold.BRIEFLY:g} s and is then answered with the last good picture",
        f"The first readers wait up to {cold.BRIEFLY:g} s; if",
        f"up to {', '.join(map(str, WIDTHS[:-1]))} or {WIDTHS[-1]} pixels",
        f"`public, max-age={assets.FOR}`",
        f"The API itself remembers it for {shelf.FRESH:g} s. So a forgotten picture is gone after {assets.FOR + shelf.FRESH:g} s at most",
        f"`public, max-age={assets.FOR_EVER}, immutable`",
        f"BEAT_ASSET_COLD_READS ({default('asset_cold_reads')}) together",
        f"BEAT_ASSET_COLD_READS_OF_NETWORK ({default('asset_cold_reads_of_network')}) from one network (IPv4: /{cold.V4}, IPv6: /{cold.V6})",
        f"{cold.MAX_WAITS:,}; {cold.MAX_WAITS_OPEN} without a key; {cold.MAX_WAITS_OF_KEY} with one key",
        f"over {bodies.WHOLE >> 20} MiB that are sent at a time, in each process | {bodies.STREAMS} |",
    ],
)
def test_the_page_has_the_numbers_of_the_code(said: str) -> None:
    assert said in WORDS
