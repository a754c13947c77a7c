"""The simulated hosts of pictures: files that decode, URLs that expire, faults, and a count of what was asked."""

import io
import re
from collections.abc import AsyncIterator
from functools import partial
from urllib.parse import parse_qs, urlsplit

import aiohttp
import pytest
from PIL import Image

from beat_actors.assets.fetched import Dead, Fetched, Got, Later, Refused, Why
from beat_actors.assets.origin import Limits, Origin
from beat_actors.media.content import examined
from beat_actors.media.picture import Picture
from beat_actors.settings import Settings
from beat_actors.simulator import SimulatorClient, SimulatorConfig, SimulatorRefused, running
from beat_actors.simulator.expiry import DAY, MediaClock
from beat_actors.simulator.media import file_of, identity, operation_of
from beat_actors.simulator.pictures import jpeg, mp4, png, webp
from tests.integration.simulator.conftest import Caller

SEEDS = [bytes((n, 255 - n, n * 7 % 256, n * 31 % 256, n * 3 % 256, n * 11 % 256, n % 4, n)) for n in range(0, 256, 5)]
PICTURE = "https://scontent-fra3-1.cdninstagram.com/v/t51.2885-15/e35/s640x640/c0/1_2_3_n.jpg"


@pytest.fixture
async def url() -> AsyncIterator[str]:
    async with running(SimulatorConfig(profiles=500, media_seconds=3600)) as base:
        yield base


@pytest.fixture
async def admin(url: str) -> AsyncIterator[SimulatorClient]:
    async with SimulatorClient(url) as client:
        yield client


@pytest.fixture
async def origin(url: str) -> AsyncIterator[Origin]:
    settings = Settings(
        database_url="postgresql://nowhere.invalid/x",
        redis_url="redis://nowhere.invalid",
        environment="rehearsal",
        asset_origin=f"{url}/_cdn",
    )
    async with Origin(settings) as made:
        yield made


def why(fetched: Fetched) -> Why | None:
    with fetched:
        return None if isinstance(fetched, Got) else fetched.why


@pytest.mark.parametrize(
    ("width", "height", "size"), [(150, 150, 6_000), (640, 640, 40_000), (1080, 1080, 60_000), (121, 93, 1_000)]
)
def test_a_jpeg_decodes_and_is_as_large_as_it_should_be(width: int, height: int, size: int) -> None:
    files = [jpeg(seed, width, height, size) for seed in SEEDS[:6]]
    for file in files:
        image = Image.open(io.BytesIO(file))
        image.load()
        assert (image.format, image.size, image.mode) == ("JPEG", (width, height), "RGB")
        assert 0.7 < len(file) / size < 1.5
    assert len(set(files)) == len(files)


def test_different_seeds_are_different_to_see() -> None:
    seen = {Image.open(io.BytesIO(jpeg(seed, 150, 150, 6_000))).tobytes() for seed in SEEDS}
    assert len(seen) == len(SEEDS)


def test_beat_stores_each_as_it_is() -> None:
    """Without metadata they still differ, so that pictures of the simulator are as many objects."""
    files = [make(seed, 150, 150) for make in (partial(jpeg, size=6_000), png, webp) for seed in SEEDS[:8]]
    pictures = [examined(file) for file in files]
    assert all(isinstance(picture, Picture) for picture in pictures)
    assert len({picture.data for picture in pictures if isinstance(picture, Picture)}) == len(files)


@pytest.mark.parametrize(("make", "form"), [(png, "PNG"), (webp, "WEBP")])
def test_other_pictures_decode(make, form: str) -> None:
    files = {make(seed, 200, 200) for seed in SEEDS}
    assert len(files) == len(SEEDS)
    for file in files:
        image = Image.open(io.BytesIO(file))
        image.load()
        assert (image.format, image.size) == (form, (200, 200))
        assert 40_000 < len(file) < 42_000


def test_a_film_names_its_size_and_where_its_pictures_lie() -> None:
    film = mp4(SEEDS[1], 3)
    assert film[4:8] == b"ftyp"
    at = int.from_bytes(film[film.index(b"stco") + 12 :][:4], "big")
    sizes = film.index(b"stsz") + 16
    lengths = [int.from_bytes(film[sizes + 4 * n :][:4], "big") for n in range(3)]
    assert film[at - 4 : at] == b"mdat"
    for length in lengths:
        assert int.from_bytes(film[at : at + 4], "big") == length - 4
        at += length
    assert at == len(film)


def test_what_is_served_depends_on_the_path_alone() -> None:
    assert identity("/_cdn/scontent-lhr8-1.cdninstagram.com/v/a_n.jpg") == identity("/_cdn/v/a_n.jpg") == "v/a_n.jpg"
    names = [f"v/t51.2885-15/e35/s640x640/c0/{n}_n.jpg" for n in range(200)]
    kinds = [file_of(name).content_type for name in names]
    assert {"image/jpeg", "image/png", "image/webp"} == set(kinds)
    assert kinds.count("image/jpeg") > 150
    missing = [file_of(f"vi/{n}/maxresdefault.jpg").status for n in range(200)]
    assert 5 < missing.count(404) < 60
    assert {file_of(f"vi/{n}/hqdefault.jpg").status for n in range(50)} == {200}
    assert [operation_of(name) for name in (names[0], "v/t51.2885-19/s150x150/1_n.jpg", "o1/v/t16/1_n.mp4")] == [
        "picture",
        "avatar",
        "video",
    ]


def test_urls_stay_equal_for_a_while_and_expire() -> None:
    now = [1_800_000_000.0]
    clock = MediaClock(lambda: now[0])
    assert 4 * DAY <= clock.expiry() - now[0] <= 5 * DAY
    clock.life = 80.0
    first = clock.expiry()
    assert 80 <= first - now[0] <= 90
    now[0] += 9
    assert clock.expiry() == first
    now[0] += 80
    assert clock.now() < first or clock.expiry() > first
    clock.ahead = 1000.0
    assert clock.now() > first
    assert clock.expiry() > clock.now()


async def test_each_picture_of_a_payload_is_had_through_the_setting(
    url: str, origin: Origin, admin: SimulatorClient
) -> None:
    """From the payload to the file: the URLs name the hosts of the providers, and the setting leads to the simulator."""
    async with aiohttp.ClientSession() as session:
        caller = Caller(url, session)
        answer = await caller.get("lama", "/v1/user/by/id", {"id": "10000019000"})
        medias = await caller.get("lama", "/v1/user/medias/chunk", {"user_id": "10000019000"})
        assert (answer.status, medias.status) == (200, 200)
    found = set(re.findall(r"https://scontent-[^\"]+", (answer.body + medias.body).decode().replace("\\u0026", "&")))
    assert len(found) > 5
    assert len({urlsplit(one).hostname for one in found}) > 1
    for one in found:
        assert int(parse_qs(urlsplit(one).query)["oe"][0], 16) > 1_700_000_000
        with await origin.fetch(one) as got:
            assert isinstance(got, Got), one
            assert got.media_type.startswith(("image/", "video/mp4"))
    report = await admin.media(pictures=True)
    assert (
        report["fetches"]
        == report["pictures"]
        == len(report["by_picture"])
        == len({identity(urlsplit(one).path) for one in found})
    )
    assert report["statuses"] == {"200": report["fetches"]}


async def test_a_url_is_dead_after_its_expiry_and_a_fresh_one_works(
    url: str, origin: Origin, admin: SimulatorClient
) -> None:
    async with aiohttp.ClientSession() as session:
        caller = Caller(url, session)

        async def avatar() -> str:
            answer = await caller.get("lama", "/v1/user/by/id", {"id": "10000019000"})
            return str(answer.json()["profile_pic_url"])

        old = await avatar()
        assert why(await origin.fetch(old)) is None
        await admin.set_media(ahead=2 * 3600)
        dead = await origin.fetch(old)
        assert isinstance(dead, Dead)
        assert (dead.why, dead.status, dead.said) == (Why.EXPIRED, 403, "HTTP 403: URL signature expired")
        new = await avatar()
        assert new != old
        assert identity(urlsplit(new).path) == identity(urlsplit(old).path)
        assert why(await origin.fetch(new)) is None
    report = await admin.media()
    assert (report["fetches"], report["pictures"], report["most"], report["statuses"]) == (
        3,
        1,
        3,
        {"200": 2, "403": 1},
    )
    await admin.reset_media()
    assert (await admin.media())["fetches"] == 0


@pytest.mark.parametrize("form", ["x-expires=1000000000", "oe=3B9ACA00", "oe=6XMFAM18"])
async def test_each_form_of_expiry_is_known(origin: Origin, form: str) -> None:
    assert why(await origin.fetch(f"{PICTURE}?{form}")) is Why.EXPIRED


@pytest.mark.parametrize(
    ("kind", "details", "expected"),
    [
        ("outage", {}, Why.BUSY),
        ("outage", {"status": 404}, Why.GONE),
        ("outage", {"status": 410}, Why.GONE),
        ("rate_limit", {"retry_after": 3}, Why.BUSY),
        ("revoked", {}, Why.EXPIRED),
        ("reset", {}, Why.CONNECTION),
        ("hang", {}, Why.TIMEOUT),
        ("slow_loris", {"delay": 0.2}, Why.TIMEOUT),
        ("slow", {"delay": 0.01}, None),
        ("truncated", {}, None),
        ("truncated", {"body": "cut"}, Why.SHORT),
        ("html", {}, None),
        ("redirect", {"body": "loop"}, Why.REDIRECTS),
        ("gzip_bomb", {}, Why.PACKED),
        ("gigabyte", {}, Why.TOO_LARGE),
    ],
)
async def test_faults_are_steered_as_those_of_the_providers(
    origin: Origin, admin: SimulatorClient, kind: str, details: dict[str, object], expected: Why | None
) -> None:
    await admin.add_fault(kind, "media", operation="picture", **details)
    limits = Limits(20_000_000, 0.5 if expected is Why.TIMEOUT else 60.0)
    fetched = await origin.fetch(PICTURE, limits)
    if kind == "html":
        assert isinstance(fetched, Got)
        assert fetched.media_type == "text/html"
    if kind == "truncated" and expected is None:
        assert isinstance(fetched, Got)
        with pytest.raises(OSError, match="truncated"):
            Image.open(io.BytesIO(fetched.data)).load()
    if kind == "rate_limit":
        assert isinstance(fetched, Later)
        assert fetched.pause == 3.0
    assert isinstance(fetched, Refused) == (expected in (Why.REDIRECTS, Why.PACKED, Why.TOO_LARGE))
    assert why(fetched) is expected
    assert why(await origin.fetch("https://scontent-a.cdninstagram.com/v/t51.2885-19/s150x150/1_n.jpg")) is None
    await admin.clear_faults()
    assert why(await origin.fetch(PICTURE)) is None


async def test_what_media_does_not_have_is_refused_with_a_reason(admin: SimulatorClient) -> None:
    with pytest.raises(SimulatorRefused, match="media has no operation 'profile'; it has: avatar, picture, video"):
        await admin.add_fault("outage", "media", operation="profile")
    with pytest.raises(SimulatorRefused, match="not negative"):
        await admin.set_media(life=-1)


@pytest.mark.parametrize("body", ["loop", None])
async def test_a_redirect_leads_to_the_same_picture(
    url: str, admin: SimulatorClient, origin: Origin, body: str | None
) -> None:
    await admin.add_fault(kind="redirect", source="media", times=1, **({"body": body} if body else {}))
    with await origin.fetch(PICTURE + "?_nc_ohc=a/b") as fetched:
        assert isinstance(fetched, Got)
    assert (await admin.media(pictures=True))["by_picture"] == {identity(urlsplit(PICTURE).path): 2}
    assert (await admin.media(pictures=True))["faults"] == {identity(urlsplit(PICTURE).path): ["redirect"]}
    await admin.add_fault(kind="redirect", source="media", times=1, body="loop")
    async with aiohttp.ClientSession() as http, http.get(f"{url}/_cdn{urlsplit(PICTURE).path}") as answer:
        assert answer.status == 200
