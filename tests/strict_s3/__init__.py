"""A strict S3 in memory: it refuses what AWS refuses and other servers let pass, and fails in every way when it is told to.

It is also the endpoint of benchmarks, so a PUT costs it some 100 µs. It keeps nothing over its end.
"""

from tests.strict_s3.faults import Faults
from tests.strict_s3.objects import Objects
from tests.strict_s3.server import StrictS3, serving

__all__ = ["Faults", "Objects", "StrictS3", "serving"]
