"""`beat`: the command line for people."""

from beat_actors.cli.app import main

__all__ = ["main"]
