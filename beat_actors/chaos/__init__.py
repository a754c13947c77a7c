"""The chaos harness behind `beat chaos`: the whole of Beat as real processes, faults by seed, and a check of what came of it.

A run is Jepsen's total-queue check: unique ids go in, a fault happens, all work drains, and set arithmetic over what was accepted,
the database and the simulator's ledger says whether a promise broke. Only the command line imports this package.
"""

from beat_actors.chaos.faults import FAULTS, Fault
from beat_actors.chaos.report import Report
from beat_actors.chaos.rig import Rig
from beat_actors.chaos.run import rehearse
from beat_actors.chaos.table import matrix_table
from beat_actors.chaos.timing import BRIEF, FULL, Timing

__all__ = ["BRIEF", "FAULTS", "FULL", "Fault", "Report", "Rig", "Timing", "matrix_table", "rehearse"]
