"""How a worker process collects garbage.

A batch makes a hundred thousand objects that die with it. To look for cycles among them ten times over is a tenth of the work, and one look
at everything that was imported takes longer than a dispatch cycle.
"""

import gc

THRESHOLDS = (100_000, 20, 20)


def freeze() -> None:
    """Collect once, and look at nothing again that is left: what was imported lives as long as the process.

    The children of a process share what it has frozen, as long as no collection writes to it.
    """
    gc.collect()
    gc.freeze()


def collect_less() -> None:
    """Freeze, and collect what comes later a hundred times as seldom as by default."""
    freeze()
    gc.set_threshold(*THRESHOLDS)
