"""docs/traces.md tells what there is."""

from pathlib import Path

from beat_actors.observe.families import FAMILIES
from beat_actors.settings import Settings
from beat_actors.traces.choosing import MOST_ASKED
from beat_actors.traces.collector import AGAIN, OURS, PATH
from beat_actors.traces.rows import MOST_CALLS, MOST_FETCHES
from beat_actors.traces.sampling import REASONS
from beat_actors.traces.spans import OWN, SCHEMA_URL, STANDARD

PAGE = (Path(__file__).parents[3] / "docs/traces.md").read_text()


def test_each_attribute_is_told() -> None:
    rows = [line for line in PAGE.splitlines() if line.startswith("| `")]
    assert all(any(f"`{name}`" in row for row in rows) for name in (*STANDARD, *OWN))
    assert all(any(f"`{name}`" in row and row.endswith(f"| {told} |") for row in rows) for name, told in OWN.items())
    assert f"semantic conventions {SCHEMA_URL.rpartition('/')[2].rpartition('.')[0]}" in PAGE


def test_limits_statuses_reasons_and_metrics_are_told() -> None:
    assert f"first {MOST_FETCHES} fetches and the first {MOST_CALLS} calls" in PAGE
    assert ", ".join(map(str, sorted(AGAIN))) in PAGE
    assert ", ".join(map(str, sorted(OURS))) in PAGE
    assert all(f"(`{reason}`)" in PAGE for reason in REASONS)
    assert all(f"`{name}`" in PAGE for name in FAMILIES if name.startswith("beat_trace"))
    assert f"`{PATH}`" in PAGE
    assert f"exports {MOST_ASKED} traces" in PAGE
    for name in Settings.model_fields:
        if name.startswith(("otlp_", "trace_")):
            assert f"BEAT_{name.upper()}" in PAGE
