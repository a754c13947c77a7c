"""Where the fields of a thing are known from."""

from beat_actors.cli import operators
from beat_actors.cli.operators import named, segment
from beat_actors.data.provenance import Provenance


class There(operators.There):
    async def provenance(self, platform: str, kind: str, name: str, field: str | None) -> Provenance:
        path = f"/v1/{segment(kind)}/{segment(platform)}/{segment(name)}/provenance"
        return await self.client.fetch(path, Provenance, named(field=field))
