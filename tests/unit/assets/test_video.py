"""Videos are checked and cleaned by their boxes, in the file."""

import io
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beat_actors.media.picture import NotStored, Reason
from beat_actors.media.video import Video, VideoLimits, cleaned
from tests import pictures, videos
from tests.videos import SECRET, box, movie, track, video


def stored(data: bytes) -> tuple[Video, bytes]:
    file = io.BytesIO(data)
    found = cleaned(file)
    assert found.octets == len(file.getvalue())
    return found, file.getvalue()


def refusal(data: bytes, limits: VideoLimits | None = None) -> Reason:
    with pytest.raises(NotStored) as refused:
        cleaned(io.BytesIO(data), limits or VideoLimits())
    assert str(refused.value)
    return refused.value.reason


@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize("large", [True, False])
def test_a_clean_video_stays_as_it_is(fast: bool, large: bool) -> None:
    data = video(fast=fast, large=large)
    found, kept = stored(data)
    assert found == Video("video/mp4", "mp4", len(data), 640, 360, 12.5)
    assert kept == data


def test_the_bytes_decide_that_it_is_a_quicktime_movie() -> None:
    found, _ = stored(video(brand=b"qt  "))
    assert (found.media_type, found.extension) == ("video/quicktime", "mov")


def test_the_size_is_what_a_viewer_sees() -> None:
    found, _ = stored(video(movie(wide=True), track(turned=True)))
    assert (found.width, found.height, found.seconds) == (360, 640, 12.5)


def test_fragments_need_not_say_how_long_they_play() -> None:
    found, _ = stored(video(movie(0), track(), after=box(b"moof", box(b"mfhd", bytes(8))) + box(b"mdat", b"more")))
    assert found.seconds is None


HIDDEN = {
    "udta": video(movie(), track(), box(b"udta", box(b"\xa9xyz", SECRET))),
    "meta": video(movie(), track(), box(b"meta", bytes(4) + SECRET)),
    "in a track": video(movie(), track(inside=box(b"udta", SECRET))),
    "a track of metadata": video(movie(), track(), track(b"meta", 0, 0, inside=box(b"name", SECRET))),
    "uuid": video(before=box(b"uuid", bytes(16) + SECRET)),
    "free": video(before=box(b"free", SECRET)),
    "unknown": video(after=box(b"abcd", SECRET)),
    "in a fragment": video(after=box(b"moof", box(b"traf", box(b"uuid", SECRET)))),
}


@pytest.mark.parametrize("place", HIDDEN)
def test_metadata_is_removed_and_the_samples_stay_where_they_are(place: str) -> None:
    data = HIDDEN[place]
    found, kept = stored(data)
    assert SECRET not in kept
    assert len(kept) == len(data)
    assert kept.index(videos.SAMPLES) == data.index(videos.SAMPLES)
    assert (found.width, found.height) == (640, 360)
    assert stored(kept) == (found, kept)


@pytest.mark.parametrize(
    "tail", [b"PK\3\4" + bytes(40), b"<script>alert(1)</script>", b"\xff\xff\xff\xff\xff\xff", b"abc"]
)
def test_what_follows_the_last_box_is_removed(tail: bytes) -> None:
    assert stored(video() + tail)[1] == video()


@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize("part", range(20))
def test_a_truncated_video_is_refused(fast: bool, part: int) -> None:
    data = video(fast=fast)
    assert refusal(data[: len(data) * part // 20]) in {Reason.EMPTY, Reason.TRUNCATED}


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"<html></html>", Reason.HTML),
        (b"\x1aE\xdf\xa3", Reason.VIDEO),
        (pictures.encoded(pictures.drawn(), "AVIF"), Reason.UNKNOWN_TYPE),
        (pictures.encoded(pictures.drawn(), "JPEG"), Reason.UNKNOWN_TYPE),
        (bytes(100), Reason.UNKNOWN_TYPE),
        (video(movie(), track(b"soun", 0, 0)), Reason.DAMAGED),
        (video(movie(), track(width=0)), Reason.DAMAGED),
        (video(movie(), track(), after=box(b"moov", movie())), Reason.DAMAGED),
        (video(movie(5 * 3600), track()), Reason.TOO_LONG),
        (video(movie(), track(width=30_000, height=30_000)), Reason.TOO_MANY_PIXELS),
        (video(after=box(b"free") * 10_001), Reason.TOO_MANY_PARTS),
        (video(movie(), track(), box(b"free") * 10_001), Reason.TOO_MANY_PARTS),
        (video(movie(), track(), box(b"free", bytes(16_000_000))), Reason.TOO_MANY_PARTS),
    ],
)
def test_what_is_no_video_of_allowed_size_is_refused(data: bytes, reason: Reason) -> None:
    assert refusal(data) is reason


def test_a_video_of_more_bytes_than_allowed_is_refused() -> None:
    assert refusal(video(), VideoLimits(octets=1_000)) is Reason.TOO_LARGE


@given(
    st.sampled_from([video(), video(fast=False, large=True), *HIDDEN.values()]),
    st.lists(st.tuples(st.integers(0, 900), st.binary(min_size=1, max_size=4)), max_size=5),
)
def test_damaged_videos_are_refused_or_cleaned_for_good(data: bytes, damages: list[tuple[int, bytes]]) -> None:
    for at, new in damages:
        data = data[:at] + new + data[at + len(new) :]
    try:
        found, kept = stored(data)
    except NotStored:
        return
    assert stored(kept) == (found, kept)


MEASURES = """
import resource, sys
from beat_actors.media.video import cleaned
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
with open(sys.argv[1], "r+b") as file:
    print(cleaned(file).octets, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_a_large_video_takes_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "video"
    data = video()
    with path.open("wb") as file:
        file.write(data)
        for name, octets in ((b"mdat", 400_000_000), (b"abcd", 20_000_000)):  # the second is overwritten
            file.write(octets.to_bytes(4, "big") + name)
            file.seek(octets - 8, 1)
        file.truncate()
    ran = subprocess.run([sys.executable, "-c", MEASURES, str(path)], capture_output=True, text=True, check=True)
    octets, taken = map(int, ran.stdout.split())
    assert octets == len(data) + 420_000_000
    assert taken < 64 * 1024
