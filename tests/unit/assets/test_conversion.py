"""Pictures are decoded in processes of their own. What a picture does to its process harms nothing else."""

import asyncio
import io
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest
from PIL import Image

from beat_actors.media import conversion, decoding
from beat_actors.media.conversion import (
    ORDERS,
    QUEUE,
    ConversionBusy,
    ConversionUnavailable,
    Converters,
    DecoderLost,
)
from beat_actors.media.picture import Limits, NotStored, Picture, Reason
from tests import pictures

HEIC = pictures.exposing("HEIF", 6)
STRAY = pictures.encoded(pictures.drawn(), "JPEG")
STRAY = STRAY[:20] + b"stray" + STRAY[20:]
WIDE = pictures.encoded(pictures.drawn(800, 400), "JPEG", icc_profile=pictures.profile(), exif=pictures.exif())


@pytest.fixture
async def converters() -> AsyncIterator[Converters]:
    made = Converters()
    yield made
    await made.close()


def running() -> list[psutil.Process]:
    found = []
    for child in psutil.Process().children():
        try:
            if decoding.__name__ in child.cmdline():
                found.append(child)
        except psutil.Error:  # it has just ended
            continue
    return found


async def ended(child: psutil.Process) -> None:
    await asyncio.to_thread(child.wait, 60)


def seen(found: Picture) -> Image.Image:
    with Image.open(io.BytesIO(found.data)) as opened:
        assert (opened.get_format_mimetype(), opened.size) == (found.media_type, (found.width, found.height))
        assert not opened.getexif()
        assert pictures.SECRET not in found.data
        return opened.convert("RGB")


async def refusal(converters: Converters, data: bytes) -> Reason:
    with pytest.raises(NotStored) as refused:
        await converters.picture(data)
    return refused.value.reason


async def test_a_heic_becomes_an_upright_jpeg_without_metadata(converters: Converters) -> None:
    assert pictures.SECRET in HEIC
    found = await converters.picture(HEIC)
    assert (found.media_type, found.width, found.height) == ("image/jpeg", 48, 64)
    red, green, _ = seen(found).getpixel((found.width - 4, 4))  # the corner that is left above before it is turned
    assert red > 200 > 100 > green


async def test_a_picture_with_transparency_becomes_a_webp(converters: Converters) -> None:
    drawn = pictures.drawn()
    drawn.putalpha(100)
    found = await converters.picture(pictures.encoded(drawn, "HEIF"))
    assert found.media_type == "image/webp"
    with Image.open(io.BytesIO(found.data)) as opened:
        assert opened.convert("RGBA").getpixel((30, 30))[3] == 100


async def test_a_picture_that_would_become_too_large_gets_a_lower_quality(converters: Converters) -> None:
    data = pictures.encoded(pictures.noise(200, 200), "HEIF", quality=20)
    full = await converters.picture(data)
    narrow = Converters(Limits(octets=len(full.data) - 1))
    found = await narrow.picture(data)
    await narrow.close()
    assert len(data) < len(found.data) < len(full.data)
    assert (found.width, found.height) == (200, 200)


@pytest.mark.parametrize(
    "data", [STRAY, pictures.encoded(pictures.drawn(), "AVIF").replace(b"pixi", b"udes")], ids=["JPEG", "AVIF"]
)
async def test_what_cannot_be_cleaned_is_encoded_anew(converters: Converters, data: bytes) -> None:
    found = await converters.picture(data)
    assert (found.media_type, found.width, found.height) == ("image/jpeg", 64, 48)
    assert seen(found).getpixel((4, 4))[0] > 200


async def test_a_clean_picture_starts_no_process(converters: Converters) -> None:
    await converters.picture(WIDE)
    await converters.picture(pictures.encoded(pictures.noise(500, 500), "PNG"))
    assert running() == []


async def test_a_picture_that_its_decoder_refuses_is_not_stored_and_the_process_goes_on(converters: Converters) -> None:
    start = HEIC.index(b"mdat") + 4
    assert await refusal(converters, HEIC[:start] + bytes(len(HEIC) - start)) is Reason.UNDECODABLE
    (child,) = running()
    await converters.picture(HEIC)
    assert running() == [child]


async def test_a_heic_that_declares_too_little_is_refused() -> None:
    converters = Converters(Limits(pixels=10_000))
    data = pictures.encoded(pictures.drawn(640, 480), "HEIF")
    while (640).to_bytes(4, "big") + (480).to_bytes(4, "big") in data:
        data = data.replace(
            (640).to_bytes(4, "big") + (480).to_bytes(4, "big"), (64).to_bytes(4, "big") + (48).to_bytes(4, "big")
        )
    assert await refusal(converters, data) in {Reason.TOO_MANY_PIXELS, Reason.UNDECODABLE}
    await converters.close()


async def test_processes_are_few_and_restricted_and_know_nothing(converters: Converters) -> None:
    assert running() == []
    await asyncio.gather(*(converters.picture(HEIC) for _ in range(12)))
    children = running()
    assert 1 <= len(children) <= 2
    for child in children:
        folder = Path(f"/proc/{child.pid}")
        assert (folder / "environ").read_bytes() == b"MALLOC_ARENA_MAX=1\0"
        limits = {line[:26].strip(): line[26:].split() for line in (folder / "limits").read_text().splitlines()}
        assert limits["Max address space"][:2] == [str(1 << 30)] * 2
        assert limits["Max file size"][:2] == limits["Max core file size"][:2] == ["0", "0"]
        assert 10 <= int(limits["Max cpu time"][0]) <= 60


@pytest.mark.parametrize(
    ("number", "reason"),
    [(signal.SIGSEGV, Reason.UNDECODABLE), (signal.SIGABRT, Reason.UNDECODABLE), (signal.SIGXCPU, Reason.TOO_COSTLY)],
)
async def test_a_picture_that_ends_its_process_is_not_stored_and_harms_no_other(
    converters: Converters, number: signal.Signals, reason: Reason
) -> None:
    await converters.picture(HEIC)
    (child,) = running()
    child.suspend()
    asked = asyncio.create_task(refusal(converters, HEIC))
    assert await begun(converters)
    beside = await converters.picture(HEIC)
    os.kill(child.pid, number)
    child.resume()
    assert await asked is reason
    assert await converters.picture(HEIC) == beside
    assert child not in running()


async def begun(converters: Converters) -> bool:
    """Lets the task before take the idle process."""
    await asyncio.sleep(0)
    return not converters._idle


@pytest.mark.parametrize("number", [signal.SIGKILL, None], ids=["killed", "hangs"])
async def test_a_process_that_is_killed_or_hangs_says_nothing_of_its_picture(
    converters: Converters, number: signal.Signals | None
) -> None:
    await converters.picture(HEIC)
    (child,) = running()
    child.suspend()
    if number is None:
        converters._deadline = 0.1
    asked = asyncio.create_task(converters.picture(HEIC))
    assert await begun(converters)
    if number is not None:
        os.kill(child.pid, number)
    with pytest.raises(DecoderLost):
        await asked
    await ended(child)
    converters._deadline = 60.0
    assert (await converters.picture(HEIC)).width == 48


async def test_the_queue_has_an_end_and_variants_have_a_process_of_their_own(converters: Converters) -> None:
    await asyncio.gather(converters.picture(HEIC), converters.picture(HEIC))
    children = running()
    for child in children:
        child.suspend()
    asked = [asyncio.create_task(converters.picture(HEIC)) for _ in children for _ in range(QUEUE // len(children) + 1)]
    while converters._pictures._waiting < QUEUE:  # noqa: ASYNC110 - nobody tells
        await asyncio.sleep(0)
    pauses = []
    for _ in range(3):
        with pytest.raises(ConversionBusy) as busy:
            await converters.picture(HEIC)
        pauses.append(busy.value.pause)
    assert pauses == sorted(set(pauses))
    assert (await converters.variant(WIDE, 96, None)).width == 96
    for child in children:
        child.resume()
    assert {picture.width for picture in await asyncio.gather(*asked)} == {48}
    assert len(running()) == len(children) + 1


async def test_what_waits_for_its_conversion_is_bounded_in_bytes(
    converters: Converters, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conversion, "QUEUED", len(HEIC))
    await asyncio.gather(converters.picture(HEIC), converters.picture(HEIC))
    children = running()
    for child in children:
        child.suspend()
    asked = [asyncio.create_task(converters.picture(HEIC)) for _ in range(len(children) + 1)]
    while not converters._pictures._waiting:  # noqa: ASYNC110 - nobody tells
        await asyncio.sleep(0)
    with pytest.raises(ConversionBusy):
        await converters.picture(HEIC)
    for child in children:
        child.resume()
    await asyncio.gather(*asked)


async def test_a_task_that_is_cancelled_takes_its_process_along(converters: Converters) -> None:
    await converters.picture(HEIC)
    (child,) = running()
    child.suspend()
    asked = asyncio.create_task(converters.picture(HEIC))
    assert await begun(converters)
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked
    await ended(child)
    assert (await converters.picture(HEIC)).width == 48


async def test_a_process_without_work_ends(converters: Converters) -> None:
    converters = Converters(idle=0.01)
    await converters.picture(HEIC)
    for child in running():
        await ended(child)
    assert (await converters.picture(HEIC)).width == 48
    await converters.close()
    assert running() == []


async def test_a_process_is_replaced_after_some_pictures(converters: Converters) -> None:
    await converters.picture(HEIC)
    (first,) = running()
    for _ in range(ORDERS - 1):
        await converters.picture(HEIC)
    await ended(first)
    await converters.picture(HEIC)
    assert first not in running()


async def test_a_picture_that_takes_too_much_memory_is_refused() -> None:
    converters = Converters(memory=150_000_000)
    with pytest.raises(NotStored) as refused:
        await converters.variant(pictures.png_bomb(7_000), 320, None)
    assert refused.value.reason is Reason.TOO_COSTLY
    assert (await converters.picture(HEIC)).width == 48
    await converters.close()


async def test_a_process_that_cannot_start_says_nothing_of_its_picture() -> None:
    converters = Converters(memory=1_000_000)
    with pytest.raises(ConversionUnavailable):
        await converters.picture(HEIC)
    await converters.close()


@pytest.mark.parametrize(("accept", "media"), [("image/avif", "avif"), ("image/webp", "webp"), ("*/*", "jpeg")])
@pytest.mark.parametrize("orientation", [1, 6])
async def test_a_variant_has_a_width_of_few_and_the_format_that_the_reader_names(
    converters: Converters, accept: str, media: str, orientation: int
) -> None:
    data = pictures.encoded(pictures.drawn(800, 400), "JPEG", exif=pictures.exif(orientation))
    found = await converters.variant(data, 100, accept)
    assert found.media_type == f"image/{media}"
    assert (found.width, found.height) == ((160, 80) if orientation == 1 else (160, 320))
    corner = (8, 8) if orientation == 1 else (150, 8)
    assert seen(found).getpixel(corner)[0] > 200


async def test_a_variant_is_never_wider_than_the_picture(converters: Converters) -> None:
    assert (await converters.variant(WIDE, 5_000, "image/webp")).data == (await converters.picture(WIDE)).data
    avif = pictures.encoded(pictures.drawn(), "AVIF")
    found = await converters.variant(avif, 640, "*/*")
    assert (found.media_type, found.width, found.height) == ("image/jpeg", 64, 48)
    assert (await converters.variant(avif, 640, "image/avif")).data == avif


async def test_the_variant_of_an_animation_is_the_animation(converters: Converters) -> None:
    data = pictures.gif_of(3, side=500)
    assert (await converters.variant(data, 96, "image/webp")).frames == 3


@pytest.mark.parametrize("form", ["PNG", "WEBP", "GIF"])
async def test_a_transparent_picture_stays_so_in_its_variants(converters: Converters, form: str) -> None:
    drawn = Image.new("RGBA", (400, 200), (0, 255, 0, 255))
    drawn.paste((0, 0, 0, 0), (0, 0, 200, 200))
    found = await converters.variant(pictures.encoded(drawn, form), 96, "*/*")
    assert (found.media_type, found.width) == ("image/webp", 96)
    with Image.open(io.BytesIO(found.data)) as opened:
        assert opened.convert("RGBA").getpixel((5, 5))[3] == 0
        assert opened.convert("RGBA").getpixel((90, 5))[3] == 255


async def test_the_colour_profile_stays_in_variants(converters: Converters) -> None:
    with Image.open(io.BytesIO((await converters.variant(WIDE, 96, None)).data)) as opened:
        assert opened.info["icc_profile"] == pictures.profile()


async def test_colours_for_print_become_colours_for_screens(converters: Converters) -> None:
    data = pictures.encoded(pictures.drawn(400, 300, "CMYK"), "JPEG")
    with Image.open(io.BytesIO((await converters.variant(data, 96, None)).data)) as opened:
        assert opened.mode == "RGB"


DRIVES = """
import asyncio, resource, sys
from pathlib import Path
from beat_actors.media.conversion import Converters
from beat_actors.media.picture import NotStored
async def main():
    data = [Path(name).read_bytes() for name in sys.argv[1:]]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    converters = Converters()
    for one in data:
        for work in (converters.picture(one), converters.variant(one, 320, "image/webp")):
            try:
                await work
            except NotStored:
                pass
    await converters.close()
    assert not {"PIL", "pi_heif", "pillow_heif"} & set(sys.modules)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
asyncio.run(main())
"""


def test_decoding_takes_no_memory_of_the_process_that_asks(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("bombs")
    bombs = {
        "allowed.png": pictures.png_bomb(7_000),
        "refused.png": pictures.png_bomb(20_000),
        "a.heic": HEIC,
        "b.jpg": STRAY,
    }
    for name, data in bombs.items():
        (folder / name).write_bytes(data)
    names = [str(folder / name) for name in bombs]
    ran = subprocess.run([sys.executable, "-c", DRIVES, *names], capture_output=True, text=True, check=True)
    assert int(ran.stdout) < 64 * 1024
