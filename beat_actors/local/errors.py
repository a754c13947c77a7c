"""What can go wrong with the local stack."""

from beat_actors.errors import BeatError


class LocalError(BeatError):
    """The local stack could not be started, or stopped by itself."""

    code = "local_stack"


class Interrupted(LocalError):
    """The stack was asked to stop while it was starting."""
