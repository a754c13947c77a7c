"""Downloads from origins that do all they can: each ends as what it is, within its bounds, and keeps nothing."""

import asyncio
import gzip
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from beat_actors.assets.fetched import Dead, Got, Later, Refused, Why
from beat_actors.assets.origin import EXPECTED, IMAGE, VIDEO, Limits, Origin
from beat_actors.settings import Settings
from beat_actors.transport.names import Names
from tests.certificates import certificate
from tests.hostile_origin import PUBLIC, Place, diverted, entry, head, public_names, serving, whole
from tests.proxies import http_proxy, socks_proxy

BODY = b"\xff\xd8" + bytes(range(256)) * 160
SHORT = Limits(IMAGE.most, 0.3)
URL = "http://cdn.example/v/t51/1_2_3_n.jpg?stp=dst-jpg_e35&oh=00_A%2Fb&oe=6950AB12"


def settings(**changes: Any) -> Settings:
    return Settings(database_url="postgresql://nowhere.invalid/x", redis_url="redis://nowhere.invalid", **changes)


class Answers:
    """What the origin says to each request; `say` is bytes to write, then the connection closes unless they end with a length."""

    def __init__(self) -> None:
        self.say = whole(BODY, "Content-Type: image/jpeg")
        self.pages: dict[str, bytes] = {}
        self.close = False
        self.hang = False
        self.trickle = b""
        self.hanging = asyncio.Event()
        self.trickling = asyncio.Event()

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, asked: str) -> None:
        path = asked.split(" ")[1]
        if self.hang or path.startswith("/hang"):
            self.hanging.set()
            await asyncio.Event().wait()
        writer.write(self.pages.get(path, self.say))
        while self.trickle:
            await writer.drain()
            self.trickling.set()
            writer.write(self.trickle)
            if len(self.trickle) < 1000:
                await asyncio.sleep(0.01)
        if self.close:
            writer.close()


@pytest.fixture
def answers() -> Answers:
    return Answers()


@pytest.fixture
async def place(answers: Answers) -> AsyncIterator[Place]:
    async with serving(answers) as running:
        yield running


@asynccontextmanager
async def origin_at(
    place: Place, canary: Place | None = None, names: Names | None = None, **changes: Any
) -> AsyncIterator[Origin]:
    async with Origin(settings(**changes), names=names or public_names(), sockets=diverted(place, canary)) as origin:
        yield origin
        assert origin.held == 0


@pytest.fixture
async def origin(place: Place) -> AsyncIterator[Origin]:
    async with origin_at(place) as made:
        yield made


async def test_a_picture_comes_whole_and_is_paid_for_until_it_is_closed(place: Place, origin: Origin) -> None:
    with await origin.fetch(URL) as got:
        assert isinstance(got, Got)
        assert (got.data, got.size, got.media_type, got.host, got.announced) == (
            BODY,
            len(BODY),
            "image/jpeg",
            "cdn.example",
            True,
        )
        assert origin.held == len(BODY)
    assert origin.held == 0
    got.close()
    assert origin.held == 0


async def test_a_request_tells_nothing_of_who_asks_and_keeps_the_url(
    place: Place, origin: Origin, answers: Answers
) -> None:
    answers.say = whole(BODY, "Set-Cookie: a=b; Path=/")
    for _ in range(2):
        (await origin.fetch(URL)).__exit__()
    for asked in place.asked:
        lines = asked.lower()
        assert asked.startswith(
            "GET /v/t51/1_2_3_n.jpg?stp=dst-jpg_e35&oh=00_A%2Fb&oe=6950AB12 HTTP/1.1\r\nHost: cdn.example\r\n"
        )
        assert "accept-encoding: identity" in lines
        assert not any(name in lines for name in ("cookie", "authorization", "referer", "origin:"))
    assert place.connections == 1


@pytest.mark.parametrize(
    ("status", "body", "why"),
    [
        ("403 Forbidden", b"URL signature expired", Why.EXPIRED),
        ("403 Forbidden", b"Bad URL timestamp/date param", Why.EXPIRED),
        ("403 Forbidden", b"URL signature mismatch", Why.EXPIRED),
        (
            "403 Forbidden",
            b"<Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>",
            Why.EXPIRED,
        ),
        ("403 Forbidden", b"", Why.EXPIRED),
        ("400 Bad Request", b"Bad URL hash", Why.EXPIRED),
        ("410 Gone", b"URL signature expired", Why.EXPIRED),
        ("404 Not Found", BODY, Why.GONE),
        ("410 Gone", b"", Why.GONE),
        ("451 Unavailable", b"", Why.GONE),
        ("400 Bad Request", b"?", Why.GONE),
    ],
)
async def test_a_dead_url_says_whether_a_fresh_one_may_help(
    origin: Origin, answers: Answers, status: str, body: bytes, why: Why
) -> None:
    answers.say = whole(body, status=status)
    dead = await origin.fetch(URL)
    assert isinstance(dead, Dead)
    assert (dead.why, dead.status) == (why, int(status[:3]))
    assert len(dead.said) < 250
    assert dead.said.isprintable()


@pytest.mark.parametrize(
    ("status", "lines", "pause"),
    [("429 Slow", ("Retry-After: 7",), 7.0), ("503 Down", (), 5.0), ("500 No", ("Retry-After: 99999999",), 3600.0), ("408 Late", ("Retry-After: 0",), 5.0),
     ("204 Nothing", (), 5.0), ("302 Found", (), 5.0), ("304 Same", (), 5.0)],
)  # fmt: skip
async def test_what_says_nothing_of_the_picture_is_tried_later(
    origin: Origin, answers: Answers, status: str, lines: tuple[str, ...], pause: float
) -> None:
    answers.say = head(status, *lines, length=0)
    later = await origin.fetch(URL)
    assert isinstance(later, Later)
    assert (later.why, later.pause) == (Why.BUSY, pause)


@pytest.mark.parametrize(
    ("say", "why"),
    [
        (head(length=len(BODY) + 1) + BODY, Why.SHORT),
        (head("200 OK", "Transfer-Encoding: chunked") + b"10\r\n" + BODY[:9], Why.SHORT),
        (head("200 OK", "Transfer-Encoding: chunked") + b"zz\r\n" + BODY, Why.CONNECTION),
        (head(length=0), Why.EMPTY),
        (head(), Why.EMPTY),
        (head("200 OK", "Transfer-Encoding: chunked") + b"0\r\n\r\n", Why.EMPTY),
        (b"", Why.CONNECTION),
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", Why.CONNECTION),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n" + BODY, Why.CONNECTION),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n" + BODY, Why.CONNECTION),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n" + BODY, Why.CONNECTION),
        (b"HTTP/1.1 200 OK\r\n" + b"".join(b"X-%d: y\r\n" % n for n in range(30_000)) + b"\r\n", Why.CONNECTION),
        (b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000 + b"\r\n\r\n", Why.CONNECTION),
    ],
)  # fmt: skip
async def test_what_is_not_whole_is_never_a_picture(origin: Origin, answers: Answers, say: bytes, why: Why) -> None:
    answers.say, answers.close = say, True
    later = await origin.fetch(URL)
    assert isinstance(later, Later)
    assert later.why == why


async def test_a_body_without_a_length_says_so(origin: Origin, answers: Answers) -> None:
    answers.say, answers.close = head() + BODY, True
    with await origin.fetch(URL) as got:
        assert isinstance(got, Got)
        assert (got.data, got.announced) == (BODY, False)


@pytest.mark.parametrize("coding", ["gzip", "br", "zstd", "deflate", "gzip, gzip", "x"])
async def test_a_packed_body_is_refused(origin: Origin, answers: Answers, coding: str) -> None:
    answers.say = whole(gzip.compress(BODY), f"Content-Encoding: {coding}")
    refused = await origin.fetch(URL)
    assert isinstance(refused, Refused)
    assert refused.why == Why.PACKED


async def test_a_body_ends_at_the_limit_announced_or_not(place: Place, origin: Origin, answers: Answers) -> None:
    answers.say = head(length=20_000_001)
    for trickle in (b"", b"x" * 100_000):
        answers.trickle = trickle
        refused = await origin.fetch(URL)
        assert isinstance(refused, Refused)
        assert refused.why == Why.TOO_LARGE
        answers.say = head("200 OK", "Connection: close")
    answers.trickle = b""


async def test_one_deadline_covers_a_trickle_and_silence(origin: Origin, answers: Answers) -> None:
    answers.say, answers.trickle = head(length=1_000_000), b"x"
    later = await origin.fetch(URL, SHORT)
    assert isinstance(later, Later)
    assert later.why == Why.TIMEOUT
    answers.hang = True
    later = await origin.fetch(URL, SHORT)
    assert isinstance(later, Later)
    assert later.why == Why.TIMEOUT


async def test_redirects_are_followed_three_times_within_the_deadline(
    place: Place, origin: Origin, answers: Answers
) -> None:
    for n in range(5):
        answers.pages[f"/{n}"] = head("302 Found", f"Location: /{n + 1}", length=0)
    with await origin.fetch("http://cdn.example/2") as got:
        assert isinstance(got, Got)
    refused = await origin.fetch("http://cdn.example/0")
    assert isinstance(refused, Refused)
    assert refused.why == Why.REDIRECTS
    assert "/4" not in list(place.paths())[4:]
    answers.pages["/loop"] = head("302 Found", "Location: http://other.example/loop", length=0)
    assert isinstance(await origin.fetch("http://cdn.example/loop"), Refused)


BAD = [
    "ftp://cdn.example/1", "file:///etc/passwd", "data:image/png;base64,AAAA", "gopher://cdn.example/", "//", "", "http://", "http:///x", "nothing",
    "http://user:secret@cdn.example/", "http://user@cdn.example/", "http://cdn.example:6379/", "http://cdn.example:0/", "http://cdn.example:99999/",
    "http://cdn.example/\r\nX: y", "http://cdn.example/" + "x" * 9000, "http://[::1", "http://[zz]/",
]  # fmt: skip
RELATIVE = {"//", "", "nothing", "http://", "http:///x"}
"""In a redirect these lead to the origin itself."""
LITERALS = [
    "127.0.0.1", "127.1", "2130706433", "0x7f000001", "0x7f.1", "0177.0.0.1", "127.0.0.1.", "0", "0.0.0.0", "169.254.169.254", "0xa9fea9fe",
    "100.100.100.200", "168.63.129.16", "10.0.0.1", "[::1]", "[::]", "[::ffff:127.0.0.1]", "[::ffff:0:7f00:1]", "[fd00:ec2::254]",
    "[fe80::1%25eth0]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]", "[2001:0:4136:e378:8000:63bf:80ff:fffe]", "[2606:4700::5efe:127.0.0.1]",
]  # fmt: skip


@pytest.mark.parametrize("hop", ["first", "redirect"])
async def test_s7_11_no_url_of_an_origin_reaches_what_is_private(place: Place, answers: Answers, hop: str) -> None:
    """The canary would answer."""

    async def canary(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter, _asked: str) -> None:
        writer.write(whole(BODY))

    def lookup(host: str) -> list[Any]:
        known = {
            "private.example": "127.0.0.1",
            "six.example": "::1",
            "mapped.example": "::ffff:127.0.0.1",
            "localhost": "127.0.0.1",
            "localhost.": "127.0.0.1",
        }
        return [entry(known.get(host, PUBLIC))]

    names = ["private.example", "six.example", "mapped.example", "localhost", "localhost."]
    urls = BAD + [f"http://{host}/latest/meta-data" for host in [*LITERALS, *names]]
    async with serving(canary) as trap, origin_at(place, trap, Names(lookup)) as origin:
        for number, url in enumerate(urls):
            asked = url
            if hop == "redirect":
                if "\r" in url or url in RELATIVE:
                    continue
                asked = f"http://cdn.example/to/{number}"
                answers.pages[f"/to/{number}"] = head("302 Found", f"Location: {url}", length=0)
            refused = await origin.fetch(asked)
            assert isinstance(refused, Refused | Later), url
            assert "secret" not in refused.said
            followed = [asked for asked in place.asked if " /to/" not in asked]
            assert followed == [], url
        assert trap.connections == 0


async def test_s7_11_a_name_that_is_rebound_between_two_hops_reaches_nothing_private(
    place: Place, answers: Answers
) -> None:
    async def canary(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter, _asked: str) -> None:
        writer.write(whole(BODY))

    turns = iter([PUBLIC, "127.0.0.1", "127.0.0.1", "127.0.0.1"])
    names = Names(lambda _host: [entry(next(turns))])
    answers.say, answers.close = (
        head("302 Found", "Location: http://rebinding.example/again", "Connection: close", length=0),
        True,
    )
    async with serving(canary) as trap, origin_at(place, trap, names) as origin:
        names._kept = type(names._kept)()
        keep = names._of
        names._of = lambda host: None  # type: ignore[method-assign]  # as if each address had been looked up long ago
        refused = await origin.fetch("http://rebinding.example/1")
        names._of = keep  # type: ignore[method-assign]
        assert isinstance(refused, Refused)
        assert refused.why == Why.ADDRESS
        assert len(place.asked) == 1
        assert trap.connections == 0


async def test_a_host_that_hangs_keeps_its_own_slots_alone(place: Place, answers: Answers) -> None:
    async with origin_at(place, asset_max_per_host=2) as origin:
        hanging = [asyncio.create_task(origin.fetch(f"http://slow.example/hang/{n}")) for n in range(20)]
        await answers.hanging.wait()
        for n in range(5):
            with await origin.fetch(f"http://fast.example/{n}") as got:
                assert isinstance(got, Got)
        assert sum("/hang" in asked for asked in place.asked) <= 2
        for task in hanging:
            task.cancel()
        await asyncio.gather(*hanging, return_exceptions=True)


async def test_those_that_wait_for_a_host_that_is_down_do_not_wait_longer(place: Place, answers: Answers) -> None:
    async with origin_at(place, asset_max_per_host=4) as origin:
        ends = await asyncio.gather(*(origin.fetch(f"http://slow.example/hang/{n}", SHORT) for n in range(60)))
        whys = [end.why for end in ends if isinstance(end, Later)]
        assert len(whys) == 60
        assert set(whys) == {Why.TIMEOUT, Why.HOST_BUSY}
        assert whys.count(Why.TIMEOUT) < 20
        assert all(end.pause >= 1 for end in ends if isinstance(end, Later))


async def test_memory_is_waited_for_and_stays_flat(place: Place, answers: Answers) -> None:
    """Ten times as many pictures as the budget has room for, each of an unknown length."""
    big = BODY * 50
    answers.say, answers.close = head() + big, True
    most = 0

    async with origin_at(place, asset_memory_mb=32) as origin:

        async def one(n: int) -> None:
            nonlocal most
            with await origin.fetch(f"http://cdn.example/{n}") as got:
                assert isinstance(got, Got)
                assert got.size == len(big)
                most = max(most, origin.held)
                await asyncio.sleep(0)

        await asyncio.gather(*(one(n) for n in range(150)))
    assert 2 * len(big) < most <= 32_000_000 + IMAGE.most


async def test_a_download_that_waits_for_memory_begins_when_some_is_given_back(place: Place, answers: Answers) -> None:
    async with origin_at(place, asset_memory_mb=32) as origin:
        held = await origin._memory.take(32_000_000 - EXPECTED + 1)
        waiting = asyncio.create_task(origin.fetch(URL))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.shield(waiting), 0.1)
        assert place.asked == []
        held.give_back()
        with await waiting as got:
            assert isinstance(got, Got)


async def test_the_wait_for_memory_is_not_the_fault_of_the_host() -> None:
    go, asked = asyncio.Event(), asyncio.Event()

    async def in_two_parts(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, _asked: str) -> None:
        writer.write(head(length=len(BODY) * 50) + BODY[:100])
        asked.set()
        await go.wait()
        writer.write((BODY * 50)[100:])

    async with serving(in_two_parts) as place, origin_at(place, asset_memory_mb=32) as origin:
        fetching = asyncio.create_task(origin.fetch(URL, SHORT))
        await asked.wait()
        held = await origin._memory.take(32_000_000 - EXPECTED)
        await held.grow(32_000_000)
        go.set()
        with pytest.raises(TimeoutError):  # it is longer than the download may take
            await asyncio.wait_for(asyncio.shield(fetching), 2 * SHORT.seconds)
        held.give_back()
        with await fetching as got:
            assert isinstance(got, Got)
            assert got.size == len(BODY) * 50


async def test_few_connections_are_kept_for_further_downloads(place: Place) -> None:
    async with Origin(settings(), idle=3, names=public_names(), sockets=diverted(place)) as origin:
        fetched = await asyncio.gather(*(origin.fetch(f"http://cdn{n}.example/{n}.jpg") for n in range(20)))
        assert all(isinstance(got, Got) for got in fetched)
        (session,) = origin._ways._sessions.values()
        assert session.connector is not None
        assert sum(map(len, session.connector._conns.values())) == 3
        before = place.connections
        for number in range(5):
            with await origin.fetch(f"http://more.example/{number}.jpg") as got:
                assert isinstance(got, Got)
        assert place.connections - before == 1


@pytest.mark.parametrize(("limits", "size"), [(IMAGE, 20_000_000), (VIDEO, 500_000_000)])
async def test_what_is_announced_takes_no_budget_before_it_comes(
    origin: Origin, answers: Answers, limits: Limits, size: int
) -> None:
    answers.say, answers.trickle = head(length=size) + b"x" * 1000, b"x"
    trickling = [asyncio.create_task(origin.fetch(f"http://slow{n}.example/", limits)) for n in range(20)]
    await answers.trickling.wait()
    assert (await asyncio.wait(trickling, timeout=0.1))[0] == set()
    assert origin._disk.taken < 20_000_000
    assert origin.held <= 20 * EXPECTED
    for task in trickling:
        task.cancel()
    await asyncio.gather(*trickling, return_exceptions=True)


async def test_a_video_goes_to_a_file_that_has_no_name(origin: Origin, answers: Answers) -> None:
    film = bytes(range(256)) * 12_000
    answers.say = whole(film, "Content-Type: video/mp4; codecs=avc1")
    with await origin.fetch(URL, VIDEO) as got:
        assert isinstance(got, Got)
        assert got.file is not None
        assert (got.file.read(), got.size, got.data, got.media_type) == (film, len(film), b"", "video/mp4")
        assert origin._disk.taken >= len(film)
        assert origin.held == 0
    assert got.file.closed
    assert origin._disk.taken == 0
    answers.say, answers.close = head(length=5_000_000) + film, True
    assert isinstance(await origin.fetch(URL, VIDEO), Later)
    answers.say = head() + film
    assert isinstance(await origin.fetch(URL, Limits(2_000_000, 15.0, to_file=True)), Refused)
    assert origin._disk.taken == 0


async def test_a_download_that_is_cancelled_keeps_nothing(origin: Origin, answers: Answers) -> None:
    answers.say, answers.trickle = head(length=10_000_000) + b"x" * 100_000, b"x"
    for limits in (IMAGE, VIDEO):
        task = asyncio.create_task(origin.fetch(URL, limits))
        await answers.trickling.wait()
        answers.trickling.clear()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (origin.held, origin._disk.taken) == (0, 0)


async def test_a_certificate_that_nobody_vouches_for_is_not_trusted(answers: Answers, tmp_path) -> None:
    import ssl

    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate(tmp_path / "own.pem", of=PUBLIC))
    async with serving(answers, ssl=context) as place:
        async with origin_at(place) as origin:
            later = await origin.fetch(f"https://{PUBLIC}/1.jpg")
            assert isinstance(later, Later)
            assert later.why == Why.CONNECTION
        assert place.asked == []
        trusting = {"assets": {"ca_file": str(tmp_path / "own.pem")}}
        async with origin_at(place, sources=trusting) as origin:
            with await origin.fetch(f"https://{PUBLIC}/1.jpg") as got:
                assert isinstance(got, Got)


async def test_a_name_that_hangs_holds_up_no_other(place: Place) -> None:
    import threading

    released = threading.Event()

    def lookup(host: str) -> list[Any]:
        if host.startswith("hang"):
            released.wait(60)
        return [entry(PUBLIC)]

    async with origin_at(place, names=Names(lookup, within=3.0)) as origin:
        hanging = [asyncio.create_task(origin.fetch(f"http://hang{n}.example/")) for n in range(40)]
        with await origin.fetch(URL) as got:
            assert isinstance(got, Got)
        ends = await asyncio.gather(*hanging)
        assert {end.why for end in ends if isinstance(end, Later)} == {Why.NAME}
        released.set()


async def test_a_rehearsal_sends_all_hosts_to_the_simulator_and_judges_urls_as_ever(
    place: Place, answers: Answers
) -> None:
    answers.pages["/_cdn/cdn.example/moved"] = head("302 Found", "Location: https://other.example/b.jpg?x=1", length=0)
    base = f"http://127.0.0.1:{place.port}/_cdn/"
    async with Origin(settings(asset_origin=base, environment="rehearsal")) as origin:
        for url in (URL, "https://cdn.example/moved"):
            with await origin.fetch(url) as got:
                assert isinstance(got, Got)
        assert got.host == "other.example"
        assert isinstance(await origin.fetch("http://127.0.0.1/"), Refused)
    assert list(place.paths())[1:] == ["/_cdn/cdn.example/moved", "/_cdn/other.example/b.jpg?x=1"]
    assert next(iter(place.paths())) == "/_cdn/cdn.example/v/t51/1_2_3_n.jpg?stp=dst-jpg_e35&oh=00_A%2Fb&oe=6950AB12"


async def test_production_takes_no_other_origin() -> None:
    with pytest.raises(ValueError, match="BEAT_ASSET_ORIGIN"):
        settings(asset_origin="http://127.0.0.1:1/_cdn")


@pytest.mark.parametrize("kind", ["http", "socks"])
async def test_a_proxy_gets_the_requests_and_literal_addresses_are_still_refused(place: Place, kind: str) -> None:
    async with http_proxy() if kind == "http" else socks_proxy() as proxy:
        scheme = "http" if kind == "http" else "socks5"
        route = {"assets": {"proxy": f"{scheme}://beat:canary-proxy-51c9@127.0.0.1:{proxy.port}"}}
        async with Origin(settings(sources=route)) as origin:
            assert isinstance(await origin.fetch("http://127.1/"), Refused)
            assert proxy.asked == []
            later = await origin.fetch("http://nowhere.invalid/1.jpg")
            assert isinstance(later, Later)
            assert "canary" not in later.said
        assert any("nowhere.invalid" in asked for asked in proxy.asked)
