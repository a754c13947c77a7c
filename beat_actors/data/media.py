"""Things with links to assets in place of the providers' URLs (`assets/serving/links`)."""

from collections.abc import Sequence

import msgspec

from beat_actors.access.reader import Reader
from beat_actors.assets.serving.links import Links, Shown
from beat_actors.data.items import Item
from beat_actors.data.reading import Asked
from beat_actors.database import Transaction
from beat_actors.platforms.interface import Entity, Platform


async def of_page(
    transaction: Transaction, links: Links, platform: Platform, entity: Entity, items: Sequence[Item], reader: Reader
) -> Sequence[Item]:
    """The things of one kind, with links. One statement at most."""
    shown = [Shown(platform.name, entity, item.fields, item.as_of, reader) for item in items]
    linked = await links.link(transaction, shown)
    return [
        item if one is None else msgspec.structs.replace(item, fields=one.fields, media=one.media)
        for item, one in zip(items, linked, strict=True)
    ]


async def of_found(
    transaction: Transaction, links: Links, asked: Sequence[Asked], found: Sequence[Item | None]
) -> list[Item | None]:
    """Things that several readers asked for, with links. One statement at most for each kind of things among them, and kind of readers."""
    both = [(one, item) for one, item in zip(asked, found, strict=True) if item is not None]
    shown = [Shown(one.platform.name, one.entity, item.fields, item.as_of, one.reader) for one, item in both]
    linked = iter(await links.link(transaction, shown))
    answers: list[Item | None] = []
    for item in found:
        one = None if item is None else next(linked)
        answers.append(
            item if item is None or one is None else msgspec.structs.replace(item, fields=one.fields, media=one.media)
        )
    return answers
