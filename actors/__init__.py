"""Messages: the actors that Dramatiq runs, and the mailbox that everybody else sends through.

`python -m actors` runs them, and so does Dramatiq's own `dramatiq actors`, which imports this package to find them. The API, the scheduler
and the command line import `actors.mailbox`, which imports this package too; they must not get worker code by it.
"""

import sys

if "dramatiq.cli" in sys.modules:  # we are the worker, and only the worker
    from actors import all as all
