"""`beat`: the command line for people. Importing this package loads no command and no library."""

import gc

__all__ = ["main"]

COLLECT_AFTER = 50_000
"""Objects after which Python looks for garbage. With its own number, 700, it looks while modules load and finds nothing. That takes 5 to 8 % of the CPU
time of a short command."""


def main() -> None:
    """Run the command line of this process, and exit with its code."""
    gc.set_threshold(COLLECT_AFTER, *gc.get_threshold()[1:])
    from beat_actors.cli.app import main as run

    try:
        run()
    finally:
        # Python looks at all objects several times when it ends. Nothing is left to free for a process that ends: that took a fifth of the CPU time.
        gc.freeze()
