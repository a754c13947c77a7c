"""How far tests go. `make test` takes some cases of each kind; `make test-all` sets BEAT_TEST_ALL, and takes them all.

`@pytest.mark.exhaustive`, `@pytest.mark.slow`: only in `make test-all`. `@pytest.mark.scaled`: in both, with more cases in `make test-all`.
"""

import os

ALL = "BEAT_TEST_ALL" in os.environ


def cases(some: int, everything: int) -> int:
    """How many to take."""
    return everything if ALL else some
