"""Another distribution can use the suite for its sink, and the suite finds what is wrong with one."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from beat_actors.events.sinks import conformance
from tests.conformance.others.memory import FAULTS

pytestmark = pytest.mark.slow

MODULE = Path(__file__).with_name("others") / "checked.py"


def failed(**environment: str) -> dict[str, set[str]]:
    """The tests that fail, by the fault of the sink."""
    command = (sys.executable, "-m", "pytest", str(MODULE), "-q", "--no-header", "--tb=no", "-p", "no:cacheprovider")
    ran = subprocess.run(
        command, env={**os.environ, **environment}, capture_output=True, text=True, timeout=200, check=False
    )
    assert ran.returncode in (0, 1), ran.stdout + ran.stderr
    tests = sum(name.startswith("test_") for name in vars(conformance))
    count = sum(int(count) for count in re.findall(r"(\d+) (?:passed|failed)", ran.stdout))
    assert count == tests * (1 + len(FAULTS) if environment else 1)
    found: dict[str, set[str]] = {}
    for test, fault in re.findall(r"^FAILED \S+::(\w+)\[(.*?)\]", ran.stdout, re.MULTILINE):
        found.setdefault(fault, set()).add(test)
    return found


def test_a_sink_of_another_distribution_passes() -> None:
    assert failed() == {}


@pytest.mark.exhaustive
@pytest.mark.timeout(300)
def test_each_fault_is_found() -> None:
    assert failed(FAULTS="all").keys() == set(FAULTS)
