"""Bytes become a picture without metadata, one that has to be re-encoded, or a refusal with a reason; never anything else."""

import io
import subprocess
import sys
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageChops

from beat_actors.media.content import examined
from beat_actors.media.picture import Kind, Limits, NotStored, Picture, Reason, Unclean
from tests import pictures

FORMS = ("JPEG", "PNG", "WEBP", "GIF", "AVIF", "HEIF")
STORED = FORMS[:-1]
EXTENSIONS = {"JPEG": "jpg", "PNG": "png", "WEBP": "webp", "GIF": "gif", "AVIF": "avif"}
FILES = {form: pictures.encoded(pictures.drawn(), form) for form in FORMS}
EXPOSING = {form: pictures.exposing(form) for form in (*STORED, "HEIF")}


def refusal(data: bytes, limits: Limits | None = None) -> Reason:
    with pytest.raises(NotStored) as refused:
        examined(data, limits or Limits())
    assert str(refused.value)
    return refused.value.reason


def stored(data: bytes) -> Picture:
    found = examined(data)
    assert isinstance(found, Picture), found
    return found


def pixels(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data)).convert("RGB")


def archive() -> bytes:
    into = io.BytesIO()
    with zipfile.ZipFile(into, "w") as zipped:
        zipped.writestr("index.html", "<script>alert(1)</script>")
    return into.getvalue()


TAILS = {
    "zip": archive(),
    "html": b"<html><script>alert(document.cookie)</script></html>",
    "script": b"*/=1;alert(1);//",
    "picture": FILES["JPEG"],
    "zeros": bytes(100),
}


@pytest.mark.parametrize("form", STORED)
def test_the_bytes_decide_what_a_picture_is(form: str) -> None:
    found = stored(FILES[form])
    assert (found.media_type, found.extension) == (f"image/{form.lower()}", EXTENSIONS[form])
    assert (found.width, found.height, found.frames) == (64, 48, 1)


@pytest.mark.parametrize("options", [{"quality": 90}, {"progressive": True}, {"restart_marker_rows": 1}])
def test_a_clean_jpeg_stays_as_it_is(options: dict[str, int]) -> None:
    data = pictures.encoded(pictures.noise(200, 100), "JPEG", **options)
    assert stored(data).data == data


@pytest.mark.parametrize("form", ["PNG", "WEBP", "AVIF"])
def test_other_clean_pictures_stay_as_they_are(form: str) -> None:
    assert stored(FILES[form]).data == FILES[form]


@pytest.mark.parametrize("form", STORED)
def test_metadata_is_removed_and_the_pixels_stay(form: str) -> None:
    data = EXPOSING[form]
    assert pictures.SECRET in data
    found = stored(data)
    assert pictures.SECRET not in found.data
    with Image.open(io.BytesIO(found.data)) as seen:
        assert not seen.getexif().get_ifd(pictures.LATITUDE)
        assert not seen.info.get("comment")
        assert not seen.info.get("xmp", b"").strip()
    assert ImageChops.difference(pixels(data), pixels(found.data)).getbbox() is None


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
def test_the_colour_profile_stays(form: str) -> None:
    data = EXPOSING[form]
    with Image.open(io.BytesIO(data)) as before, Image.open(io.BytesIO(stored(data).data)) as after:
        assert before.info["icc_profile"] == after.info["icc_profile"]


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "AVIF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_orientation_stays_and_the_size_is_what_a_reader_sees(form: str, orientation: int) -> None:
    found = stored(pictures.exposing(form, orientation))
    assert (found.width, found.height) == ((64, 48) if orientation < 5 else (48, 64))
    assert pictures.SECRET not in found.data
    if form != "AVIF":  # there the orientation is a property of the picture
        with Image.open(io.BytesIO(found.data)) as seen:
            assert dict(seen.getexif()) == ({0x0112: orientation} if orientation > 1 else {})


def test_a_thumbnail_in_a_jfif_header_is_removed() -> None:
    data = FILES["JPEG"]
    assert data[2:4] == b"\xff\xe0"
    thumbnail = b"JFIF\0\1\2\0\0\1\0\1\4\4" + b"\x99" * 48
    header = b"\xff\xe0" + (len(thumbnail) + 2).to_bytes(2, "big") + thumbnail
    found = stored(data[:2] + header + data[20:]).data
    assert b"\x99" * 48 not in found
    assert found[6:11] == b"JFIF\0"


def test_a_comment_between_the_scans_of_a_jpeg_is_removed() -> None:
    data = pictures.encoded(pictures.noise(64, 64), "JPEG", progressive=True)
    second = data.index(b"\xff\xda", data.index(b"\xff\xda") + 2)
    comment = b"\xff\xfe" + (len(pictures.SECRET) + 2).to_bytes(2, "big") + pictures.SECRET
    assert stored(data[:second] + comment + data[second:]).data == data


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("part", range(20))
def test_a_truncated_file_is_refused(form: str, part: int) -> None:
    data = FILES[form]
    assert refusal(data[: len(data) * part // 20]) in {
        Reason.EMPTY,
        Reason.TRUNCATED,
        Reason.UNKNOWN_TYPE,
        Reason.DAMAGED,
    }


@pytest.mark.parametrize("form", STORED)
def test_a_file_that_lacks_its_last_byte_is_truncated(form: str) -> None:
    assert refusal(FILES[form][:-1]) is Reason.TRUNCATED


@pytest.mark.parametrize("form", STORED)
@pytest.mark.parametrize("tail", TAILS)
def test_what_follows_the_picture_is_removed(form: str, tail: str) -> None:
    assert stored(FILES[form] + TAILS[tail]).data == stored(FILES[form]).data


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", Reason.EMPTY),
        (b"<!DOCTYPE html><html><body>Page not found</body></html>", Reason.HTML),
        (b"\xef\xbb\xbf\r\n  <html>", Reason.HTML),
        ("\ufeff<html>".encode("utf-16-le"), Reason.HTML),
        (b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', Reason.HTML),
        (b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>', Reason.SVG),
        (b'<?xml version="1.0"?><!-- a --><!DOCTYPE svg><svg:svg>', Reason.SVG),
        (b"\x1f\x8b\x08\0" + bytes(20), Reason.COMPRESSED),
        (b"\0\0\0\x18ftypmp42\0\0\0\0isommp42", Reason.VIDEO),
        (b"\x1aE\xdf\xa3webm", Reason.VIDEO),
        (b'{"error": "not found"}', Reason.UNKNOWN_TYPE),
        (b"URL signature expired", Reason.UNKNOWN_TYPE),
        (b"BM" + bytes(60), Reason.UNKNOWN_TYPE),
        (bytes(1000), Reason.UNKNOWN_TYPE),
        (archive(), Reason.UNKNOWN_TYPE),
    ],
)
def test_what_is_no_picture_is_refused_for_what_it_is(data: bytes, reason: Reason) -> None:
    assert refusal(data) is reason


def test_a_picture_of_more_bytes_than_allowed_is_refused() -> None:
    assert refusal(FILES["JPEG"] + bytes(20_000_000)) is Reason.TOO_LARGE


@pytest.mark.parametrize("side", [12_000, 20_000])
def test_a_png_that_unpacks_to_too_many_pixels_is_refused(side: int) -> None:
    assert refusal(pictures.png_bomb(side)) is Reason.TOO_MANY_PIXELS


@pytest.mark.parametrize("form", FORMS)
def test_the_size_of_each_format_is_checked(form: str) -> None:
    assert refusal(FILES[form], Limits(pixels=64 * 48 - 1)) is Reason.TOO_MANY_PIXELS
    assert refusal(FILES[form], Limits(side=63)) is Reason.TOO_MANY_PIXELS
    assert examined(FILES[form], Limits(pixels=64 * 64, side=64))


def test_an_avif_whose_pixels_are_more_than_its_boxes_declare_is_refused() -> None:
    data = pictures.encoded(pictures.drawn(640, 480), "AVIF")
    declared = data.index(b"ispe") + 8
    lying = data[:declared] + (8).to_bytes(4, "big") * 2 + data[declared + 8 :]
    assert refusal(lying, Limits(pixels=10_000)) is Reason.TOO_MANY_PIXELS


def test_a_gif_of_ten_thousand_frames_is_refused() -> None:
    assert refusal(pictures.gif_of(10_000)) is Reason.TOO_MANY_FRAMES
    assert stored(pictures.gif_of(1_000)).frames == 1_000


def test_a_small_gif_whose_frames_are_huge_together_is_refused() -> None:
    assert refusal(pictures.gif_of(100, side=7_000)) is Reason.TOO_MANY_FRAMES


def test_the_size_of_a_gif_is_that_of_its_first_frame_where_that_is_larger() -> None:
    data = bytearray(FILES["GIF"])
    data[6:10] = bytes((9, 0, 9, 0))
    found = stored(bytes(data))
    with Image.open(io.BytesIO(found.data)) as seen:
        assert (found.width, found.height) == seen.size == (64, 48)


@pytest.mark.parametrize("form", ["PNG", "WEBP", "GIF"])
def test_animations_are_kept_whole_and_their_frames_counted(form: str) -> None:
    others = [pictures.noise(64, 48) for _ in range(4)]
    data = pictures.encoded(pictures.drawn(), form, save_all=True, append_images=others, duration=100, loop=2)
    found = stored(data)
    assert found.frames == 5
    with Image.open(io.BytesIO(found.data)) as after, Image.open(io.BytesIO(data)) as before:
        assert (after.n_frames, after.info["loop"]) == (5, before.info["loop"])
        for frame in range(5):
            after.seek(frame)
            before.seek(frame)
            assert ImageChops.difference(before.convert("RGB"), after.convert("RGB")).getbbox() is None
    assert refusal(data, Limits(frames=4)) is Reason.TOO_MANY_FRAMES


def test_a_colour_profile_that_is_a_bomb_is_dropped() -> None:
    assert stored(pictures.profile_bomb()).data == FILES["PNG"]


@pytest.mark.parametrize(
    "data",
    [
        b"\xff\xd8" + b"\xff\xe1\0\2" * 3_000 + FILES["JPEG"][2:],
        b"\xff\xd8" + b"\xff" * 3_000 + FILES["JPEG"][2:],
        FILES["JPEG"][:-2] + b"\xff\xda\0\x0c\3\1\0\2\x11\3\x11\0\x3f\0\0" * 300 + b"\xff\xd9",
        pictures.with_chunks(FILES["PNG"], [(b"tEXt", b"")] * 21_000),
        FILES["GIF"][:-1] + b"\x21\xfe\0" * 11_000 + b";",
        FILES["GIF"][:-1] + b"\x21\xfe" + b"\1a" * 210_000 + b"\0;",
        b"RIFF" + (4 + 8 * 11_000 + len(FILES["WEBP"]) - 12).to_bytes(4, "little") + b"WEBPVP8X\x0a\0\0\0" + bytes(10)
        + b"abcd\0\0\0\0" * 11_000 + FILES["WEBP"][12:],
    ],
    ids=["segments", "fill bytes", "scans", "chunks", "extensions", "blocks", "webp"],
)  # fmt: skip
def test_a_file_of_countless_parts_is_refused(data: bytes) -> None:
    assert refusal(data) in {Reason.TOO_MANY_PARTS, Reason.DAMAGED}


def test_a_damaged_chunk_of_a_png_is_found() -> None:
    data = bytearray(FILES["PNG"])
    data[data.index(b"IDAT") + 8] ^= 1
    assert refusal(bytes(data)) is Reason.DAMAGED


def test_heic_has_to_be_encoded_anew() -> None:
    found = examined(FILES["HEIF"])
    assert isinstance(found, Unclean)
    assert found.kind is Kind.HEIC


def test_a_jpeg_with_stray_bytes_has_to_be_encoded_anew() -> None:
    found = examined(FILES["JPEG"][:20] + b"stray" + FILES["JPEG"][20:])
    assert isinstance(found, Unclean)
    assert found.kind is Kind.JPEG


def test_an_avif_with_unknown_parts_has_to_be_encoded_anew() -> None:
    found = examined(FILES["AVIF"].replace(b"pixi", b"udes"))
    assert isinstance(found, Unclean)
    assert found.kind is Kind.AVIF


def boxed(name: bytes, body: bytes) -> bytes:
    return (8 + len(body)).to_bytes(4, "big") + name + body


def test_an_avif_whose_items_have_countless_properties_is_refused() -> None:
    links = boxed(b"ipma", bytes(4) + (1_000).to_bytes(4, "big") + (b"\0\1\xff" + b"\1" * 255) * 1_000)
    meta = boxed(b"meta", bytes(4) + boxed(b"iprp", links * 20))
    assert refusal(boxed(b"ftyp", b"avif" + bytes(4) + b"avifmif1") + meta) is Reason.TOO_MANY_PARTS


STARTS = [
    b"",
    b"\xff\xd8\xff",
    b"\x89PNG\r\n\x1a\n",
    b"GIF89a",
    b"RIFF\xff\0\0\0WEBP",
    b"\0\0\0\x18ftypavif",
    b"\0\0\0\x18ftypheic",
]


@given(st.sampled_from(STARTS), st.binary(max_size=3_000))
def test_random_bytes_are_never_anything_but_refused(start: bytes, rest: bytes) -> None:
    try:
        found = examined(start + rest)
    except NotStored:
        return
    assert isinstance(found, Unclean) or examined(found.data) == found


@given(
    st.sampled_from([*FILES.values(), *EXPOSING.values(), pictures.gif_of(5)]),
    st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.sampled_from(["set", "cut", "insert"]), st.binary(min_size=1, max_size=4)), max_size=6),
)  # fmt: skip
def test_damaged_pictures_are_refused_or_cleaned_for_good(data: bytes, damages: list[tuple[float, str, bytes]]) -> None:
    for place, what, new in damages:
        at = int(place * len(data))
        data = data[:at] + (b"" if what == "cut" else new) + data[at if what == "insert" else at + len(new) :]
    try:
        found = examined(data)
    except NotStored:
        return
    assert isinstance(found, Unclean) or examined(found.data) == found


MEASURES = """
import resource, sys
from pathlib import Path
from beat_actors.media.content import examined
from beat_actors.media.picture import NotStored
data = [Path(name).read_bytes() for name in sys.argv[1:]]
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for one in data:
    try:
        examined(one)
    except NotStored:
        pass
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
assert not {"PIL", "pi_heif", "pillow_heif"} & set(sys.modules)
"""


def test_bombs_take_no_memory_and_no_decoder_is_loaded(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("bombs")
    bombs = {
        "20000.png": pictures.png_bomb(20_000),
        "12000.png": pictures.png_bomb(12_000),
        "frames.gif": pictures.gif_of(10_000),
        "profile.png": pictures.profile_bomb(),
        "fill.jpg": b"\xff\xd8" + b"\xff" * 19_000_000,
        "scan.jpg": FILES["JPEG"][:-2] + b"\xff\0" * 9_000_000,
        "blocks.gif": FILES["GIF"][:-1] + b"\x21\xfe" + b"\1a" * 9_000_000,
    }
    for name, data in bombs.items():
        (folder / name).write_bytes(data)
    names = [str(folder / name) for name in bombs]
    ran = subprocess.run([sys.executable, "-c", MEASURES, *names], capture_output=True, text=True, check=True)
    assert int(ran.stdout) < 64 * 1024
