"""Which variant a reader gets."""

import pytest

from beat_actors.media.picture import Kind
from beat_actors.media.variants import WIDTHS, kind_of, width_of


def test_a_width_is_rounded_up_to_one_of_few() -> None:
    assert [width_of(width) for width in (1, 96, 97, 641, 1920, 10**9, -5)] == [96, 96, 160, 960, 1920, 1920, 96]
    assert {width_of(width) for width in range(3_000)} == set(WIDTHS)


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        (None, Kind.JPEG),
        ("", Kind.JPEG),
        ("*/*", Kind.JPEG),
        ("image/*;q=0.8, */*", Kind.JPEG),
        ("image/png,image/jpeg", Kind.JPEG),
        ("image/webp,*/*;q=0.8", Kind.WEBP),
        ("IMAGE/WEBP", Kind.WEBP),
        ("image/avif,image/webp,image/apng,*/*;q=0.8", Kind.AVIF),
        ("image/avif;q=0, image/webp", Kind.WEBP),
        ("image/avif; q=0.000, image/webp;q=0.0", Kind.JPEG),
        ("image/avif;q=0.01", Kind.AVIF),
        (";;,,;q=,q", Kind.JPEG),
    ],
)
def test_a_format_is_sent_only_to_who_names_it(accept: str | None, kind: Kind) -> None:
    assert kind_of(accept) is kind
