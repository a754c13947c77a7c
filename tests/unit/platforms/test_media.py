"""What platforms declare of media: a class for each field, and the thing whose refetch brings fresh URLs."""

import pytest

from beat_actors.platforms.interface import AssetClass, Entity, Record
from beat_actors.platforms.registry import platforms


class Thing(Record, frozen=True, kw_only=True):
    key: str
    picture: str | None = None


def test_fields_without_a_class_are_of_the_last_class() -> None:
    """Platforms of other distributions declared the names of the fields alone."""
    declared = ("picture",)
    entity = Entity(Thing, "things", "thing", None, "key", frozenset(), assets=declared)  # type: ignore[arg-type]
    assert entity.assets == {"picture": AssetClass.OTHER}
    assert entity.parent is None


@pytest.mark.parametrize("platform", platforms())
def test_pictures_of_profiles_are_avatars_and_posts_are_brought_by_their_profile(platform: str) -> None:
    for entity in platforms()[platform].entities:
        if entity.kind == "profiles":
            assert set(entity.assets.values()) == {AssetClass.AVATAR}
        elif entity.assets:
            assert AssetClass.AVATAR not in entity.assets.values()
            assert entity.parent is not None
            assert (entity.parent.under, entity.parent.field) == ("profiles", "profile_id")
