"""Flows that belong to no platform: work of Beat's own that operators steer like the flows of platforms. They have no requests and no lanes."""

from typing import NamedTuple


class OwnFlow(NamedTuple):
    """`platform`: the name that stands in the place of a platform's. `queue`: whose workers do the work, and are woken by a change."""

    platform: str
    name: str
    workers: int
    concurrency: int
    queue: str


UPLOADS = OwnFlow("assets", "asset_upload_flow", workers=50, concurrency=100, queue="assets")
"""Uploads of assets."""
OWN_FLOWS = (UPLOADS,)
