"""Where the fields of a thing are known from."""

from beat_actors.cli.operators import here
from beat_actors.data import provenance
from beat_actors.data.provenance import Provenance
from beat_actors.platforms.registry import platform as platform_named


class Here(here.Here):
    async def provenance(self, platform: str, kind: str, name: str, field: str | None) -> Provenance:
        where = platform_named(platform)
        async with self.session.database.statements() as alone:
            return await provenance.provenance(alone, where, where.entity_named(kind), name, field=field)
