"""Beat on one machine: real servers from wheels, a supervisor over them, and the stack that `beat up` runs.

Nothing else in Beat imports this package; in production the same variables point at other servers.
"""

from beat_actors.local.errors import Interrupted, LocalError
from beat_actors.local.home import Home, running_env, temporary_home
from beat_actors.local.s3 import S3Server
from beat_actors.local.servers import (
    UNSAFE_BUT_FAST,
    PostgresServer,
    SimulatorServer,
    ValkeyServer,
    running,
)
from beat_actors.local.service import Service, Status
from beat_actors.local.stack import Stack
from beat_actors.local.supervisor import Supervisor

__all__ = [
    "UNSAFE_BUT_FAST",
    "Home",
    "Interrupted",
    "LocalError",
    "PostgresServer",
    "S3Server",
    "Service",
    "SimulatorServer",
    "Stack",
    "Status",
    "Supervisor",
    "ValkeyServer",
    "running",
    "running_env",
    "temporary_home",
]
