"""Messages: the actors that Dramatiq runs, and the mailbox that everybody else sends through.

`dramatiq actors` imports this package to find the actors. The API, the scheduler and the command line import
`actors.mailbox`, which imports this package too; they must not get worker code by it.
"""

import sys

if "dramatiq.cli" in sys.modules:  # we are the worker, and only the worker
    from actors import credential_broker, credentials, ingest, process, quarantine, retrieve, suspects  # noqa: F401
