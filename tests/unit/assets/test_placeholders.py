"""The picture that a host sends in place of a missing one is told from real ones by what was asked for."""

import pytest

from beat_actors.media import placeholders
from beat_actors.media.content import examined
from beat_actors.media.picture import NotStored, Picture, Reason
from tests import pictures


def of_size(width: int, height: int) -> Picture:
    found = examined(pictures.encoded(pictures.drawn(width, height), "JPEG"))
    assert isinstance(found, Picture)
    return found


@pytest.mark.parametrize(
    "url",
    [
        "https://i.ytimg.com/vi/abc/maxresdefault.jpg",
        "https://i.ytimg.com/vi/abc/hqdefault.jpg?sqp=-oaymwE&rs=AOn4",
        "https://img.youtube.com/vi/abc/sddefault.jpg",
        "https://i9.ytimg.com/vi_webp/abc/mqdefault.webp",
    ],
)
def test_the_grey_picture_of_a_missing_thumbnail_is_refused(url: str) -> None:
    with pytest.raises(NotStored) as refused:
        placeholders.check(url, of_size(120, 90))
    assert refused.value.reason is Reason.PLACEHOLDER
    placeholders.check(url, of_size(480, 360))


@pytest.mark.parametrize(
    "url",
    [
        "https://i.ytimg.com/vi/abc/default.jpg",
        "https://cdn.example.com/vi/abc/maxresdefault.jpg",
        "https://notytimg.com/vi/abc/maxresdefault.jpg",
        "https://[broken",
    ],
)
def test_other_pictures_of_that_size_are_stored(url: str) -> None:
    placeholders.check(url, of_size(120, 90))
