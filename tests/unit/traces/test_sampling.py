"""Which traces are kept."""

from datetime import UTC, datetime

import pytest

from beat_actors.traces.context import ids
from beat_actors.traces.sampling import in_share, reason

AT = datetime(2026, 3, 1, tzinfo=UTC)
IDS = [ids(number, AT, 0, None).trace for number in range(20_000)]


@pytest.mark.parametrize("share", [0.0, 0.01, 0.25, 0.5, 1.0])
def test_a_share_is_kept_and_the_same_one_each_time(share: float) -> None:
    kept = [one for one in IDS if in_share(one, share)]
    assert kept == [one for one in IDS if in_share(one, share)]
    assert abs(len(kept) - share * len(IDS)) <= 4 * (len(IDS) * share * (1 - share)) ** 0.5


def test_a_larger_share_has_all_of_a_smaller_one() -> None:
    small, large = ({one for one in IDS if in_share(one, share)} for share in (0.01, 0.1))
    assert small < large


def test_the_threshold_is_that_of_opentelemetry() -> None:
    """Consistent probability sampling keeps a trace whose last 56 bits are at least 2^56 * (1 - share)."""
    assert in_share("0" * 18 + "c0000000000000", 0.25)
    assert not in_share("f" * 18 + "bfffffffffffff", 0.25)


@pytest.mark.parametrize(
    ("status", "seconds", "priority", "asked", "expected"),
    [
        ("FAILED", 0.1, "batch", True, "failed"),
        ("COMPLETE", 30.1, "customer", True, "slow"),
        ("COMPLETE", 30.0, "customer", False, None),
        ("COMPLETE", 90_000.0, "batch", False, None),
        ("CANCELLED", 1.0, "standard", True, "asked"),
        ("CANCELLED", 1.0, "standard", False, None),
    ],
)
def test_why_a_trace_is_kept(status: str, seconds: float, priority: str, asked: bool, expected: str | None) -> None:
    slow = {"customer": 30.0, "standard": 900.0}
    assert reason(status, seconds, priority, "0" * 32, asked=asked, share=0.5, slow=slow) == expected
    if expected is None:
        assert reason(status, seconds, priority, "f" * 32, asked=asked, share=0.5, slow=slow) == "sampled"
