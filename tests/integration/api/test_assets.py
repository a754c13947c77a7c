"""Assets as readers get them: stored ones at once, others after one fetch for all readers, and a neutral picture where there is none."""

import asyncio
import hashlib
import itertools
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from api import cold
from api.assets import FOR_EVER, PLACEHOLDER
from beat_actors.access.scopes import Scope
from beat_actors.assets.origin import Origin
from beat_actors.assets.serving.bodies import PART, WHOLE
from beat_actors.assets.serving.places import key_of
from beat_actors.assets.upkeep.caps import Allowed, Caps
from beat_actors.assets.uploader import Uploader
from beat_actors.database import Database
from beat_actors.media.conversion import Converters
from beat_actors.media.urls import identity
from beat_actors.settings import Settings
from beat_actors.transport.objects import ObjectStore
from tests.extent import cases
from tests.integration.api.conftest import app_over, bearer
from tests.integration.api.promised import Promised
from tests.integration.assets.origins import Pictures, picture, pictures
from tests.integration.assets.rows import eventually

JPEG = b"\xff\xd8\xff\xe0" + bytes(range(256)) * 200 + b"\xff\xd9"
CURRENT = b"\x01"
"""In place of the identity that the asset itself has."""
CDN = "https://cdn.example.com/pictures"
ADD = """
INSERT INTO asset_log (platform, entity, entity_key, field, owner, url, status, class, identity, content, content_identity, parent_kind, parent_key)
SELECT 'instagram', 'instagram_account', %(key)s, 'picture', %(owner)s, %(url)s, %(status)s, 0, %(identity)s,
       %(content)s, %(content_identity)s, 'profiles', %(key)s
RETURNING public_id
"""
ADD_OBJECT = """
INSERT INTO asset_object (content, bytes, media_type, width) VALUES (%(content)s, %(bytes)s, %(media_type)s, %(width)s) ON CONFLICT DO NOTHING
"""


@pytest.fixture
def stored_settings(with_bucket: Settings) -> Settings:
    """With a bucket of assets, whose bytes the API sends itself."""
    return with_bucket.model_copy(update={"asset_bucket": with_bucket.s3_bucket})


@pytest.fixture
def store(stored_settings: Settings) -> ObjectStore:
    assert stored_settings.asset_bucket is not None
    return ObjectStore(stored_settings.asset_bucket, endpoint_url=stored_settings.s3_endpoint_url)


@dataclass
class Assets:
    """Rows of assets, and what the uploader does to them."""

    database: Database
    store: ObjectStore | None = None
    number: int = field(default_factory=itertools.count(1000).__next__)
    """Of the picture at the origin. The bucket is that of all tests, and each has a picture of its own."""

    async def add(self, status: str = "PENDING", *, owner: str = "", **more: Any) -> str:
        given = {"content": None, "content_identity": None} | more
        async with self.database.transaction() as transaction:
            key = uuid.uuid4().hex
            url = f"https://origin.example.com/p/{self.number}.jpg?{key}"
            if given["content_identity"] == CURRENT:
                given["content_identity"] = identity(url)
            return str(
                await transaction.value(
                    ADD, {"key": key, "owner": owner, "status": status, "url": url, "identity": identity(url)} | given
                )
            )

    async def add_stored(
        self, body: bytes = JPEG, *, status: str = "COMPLETE", media_type: str = "image/jpeg", **more: Any
    ) -> str:
        content = await self.put(body, media_type)
        of = CURRENT if status == "COMPLETE" else b"\x02"
        return await self.add(status, content=content, content_identity=of, **more)

    async def put(self, body: bytes, media_type: str = "image/jpeg") -> bytes:
        content = hashlib.sha256(body).digest()
        if self.store is not None:
            await self.store.put(key_of(content), body)
        async with self.database.transaction() as transaction:
            values = {"content": content, "bytes": len(body), "media_type": media_type, "width": 1500}
            await transaction.run(ADD_OBJECT, values)
        return content

    async def column(self, name: str, public_id: str) -> Any:
        async with self.database.transaction() as transaction:
            return await transaction.value(f"SELECT {name} FROM asset_log WHERE public_id = %(id)s", {"id": public_id})

    async def run(self, sql: str, **values: Any) -> int:
        async with self.database.transaction() as transaction:
            return await transaction.run(sql, values)

    async def value(self, sql: str) -> Any:
        async with self.database.transaction() as transaction:
            return await transaction.value(sql)


@pytest.fixture
def assets(database: Database, store: ObjectStore) -> Assets:
    return Assets(database, store)


@pytest.fixture
async def readers(stored_settings: Settings, wake_ups) -> AsyncIterator[Promised]:
    """Without a key, of an API that sends the bytes itself."""
    async with Promised(app_over(stored_settings, wake_ups)) as conductor:
        yield conductor


@pytest.fixture
async def redirected(settings: Settings, wake_ups) -> AsyncIterator[Promised]:
    """Without a key, of an API that has no key for the bucket."""
    async with Promised(app_over(settings.model_copy(update={"asset_base_url": CDN}), wake_ups)) as conductor:
        yield conductor


async def test_s7_11_what_is_stored_is_a_redirect_to_the_cdn_for_get_and_head(redirected, database) -> None:
    asset = await Assets(database).add_stored()
    for ask in (redirected.simulate_get, redirected.simulate_head):
        answer = await ask(f"/assets/{asset}")
        assert answer.status_code == 302
        assert answer.headers["location"] == f"{CDN}/{key_of(hashlib.sha256(JPEG).digest())}"
        assert answer.headers["cache-control"] == "public, max-age=30"


@pytest.mark.slow
async def test_s7_11_without_a_cdn_the_bytes_come_from_the_bucket_with_headers_that_let_nothing_run(
    readers, assets
) -> None:
    asset = await assets.add_stored()
    answer = await readers.simulate_get(f"/assets/{asset}")
    assert (answer.status_code, answer.content) == (200, JPEG)
    headers = answer.headers
    assert headers["content-type"] == "image/jpeg"
    assert headers["content-length"] == str(len(JPEG))
    assert headers["etag"] == f'"{hashlib.sha256(JPEG).hexdigest()}"'
    assert headers["cache-control"] == "public, max-age=30"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["content-security-policy"] == "default-src 'none'; sandbox"
    assert headers["cross-origin-resource-policy"] == "cross-origin"
    head = await readers.simulate_head(f"/assets/{asset}")
    assert (head.status_code, head.content, head.headers["content-length"]) == (200, b"", str(len(JPEG)))
    assert head.headers["etag"] == headers["etag"]


async def test_s7_11_a_reader_that_has_the_picture_gets_304(readers, assets) -> None:
    asset = await assets.add_stored()
    tag = (await readers.simulate_head(f"/assets/{asset}")).headers["etag"]
    again = await readers.simulate_get(f"/assets/{asset}", headers={"If-None-Match": tag})
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
    other = await readers.simulate_get(f"/assets/{asset}", headers={"If-None-Match": '"other"'})
    assert other.status_code == 200


@pytest.mark.parametrize("body", [JPEG, JPEG * (WHOLE // len(JPEG) + PART // len(JPEG) + 1)], ids=["small", "large"])
async def test_s7_11_parts_of_a_picture_or_a_film_can_be_asked_for(readers, assets, body: bytes) -> None:
    asset = await assets.add_stored(body)

    async def part(wanted: str) -> Any:
        return await readers.simulate_get(f"/assets/{asset}", headers={"Range": wanted})

    some = await part("bytes=5-104")
    assert (some.status_code, some.content) == (206, body[5:105])
    assert some.headers["content-range"] == f"bytes 5-104/{len(body)}"
    assert (await part("bytes=-7")).content == body[-7:]
    assert (await part("bytes=3-")).content == body[3:]
    whole = await readers.simulate_get(f"/assets/{asset}")
    assert (whole.status_code, whole.content) == (200, body)
    behind = await part(f"bytes={len(body)}-")
    assert (behind.status_code, behind.headers["content-range"]) == (416, f"bytes */{len(body)}")
    assert behind.headers["cache-control"] == "no-store"


async def test_an_answer_for_a_version_may_be_kept_for_ever_while_it_is_the_assets(readers, assets) -> None:
    asset, content = await assets.add_stored(), hashlib.sha256(JPEG).hexdigest()
    kept = await readers.simulate_get(f"/assets/{asset}", params={"v": content[:16]})
    assert kept.headers["cache-control"] == f"public, max-age={FOR_EVER}, immutable"
    for version in ("0" * 16, content[:15], content[1:17]):
        other = await readers.simulate_get(f"/assets/{asset}", params={"v": version})
        assert (other.status_code, other.headers["cache-control"]) == (200, "public, max-age=30")


@pytest.mark.parametrize(
    "name", ["5d0c1c3e-8a8e-4c8e-9a39-0f5c4bfa2f11", "https%3A%2F%2Forigin.invalid%2Fa.jpg", "1", "x" * 300]
)
async def test_s7_11_what_is_not_the_id_of_an_asset_is_404_and_nothing_is_fetched(
    readers, assets, wake_ups, name: str
) -> None:
    answer = await readers.simulate_get(f"/assets/{name}")
    assert answer.status_code == 404
    assert answer.json["type"] in ("urn:beat:problem:not_found", "urn:beat:problem:no_route")
    assert answer.headers["cache-control"] == "no-store"
    assert await assets.value("SELECT count(*) FROM asset_log") == 0
    assert wake_ups.asked == []


@pytest.mark.parametrize("params", [{"url": "https://origin.invalid/a.jpg"}, {"w": "0"}, {"w": "5000"}, {"w": "x"}])
async def test_s7_11_no_url_can_be_given_and_widths_are_numbers(readers, assets, params: dict[str, str]) -> None:
    answer = await readers.simulate_get(f"/assets/{await assets.add()}", params=params)
    assert (answer.status_code, answer.json["field"]) == (400, next(iter(params)))


async def test_an_asset_of_an_owner_is_for_keys_that_may_see_the_owner(readers, assets, new_key, settings) -> None:
    asset = await assets.add_stored(owner="shop.example.com")
    grant = "INSERT INTO owner_grant (account_id, platform, owner, granted_by) VALUES ('acme', 'instagram', 'shop.example.com', 'test')"
    await assets.run(grant)

    async def status(*scopes: Scope, **fields: Any) -> int:
        key = await new_key(*scopes, **fields)
        answer = await readers.simulate_get(f"/assets/{asset}", headers=bearer(key))
        if answer.status_code == 200:
            assert answer.headers["cache-control"] == "private, max-age=30"
        return answer.status_code

    assert (await readers.simulate_get(f"/assets/{asset}")).status_code == 404
    assert await status(Scope.READ) == 404
    assert await status(Scope.READ, account_id="other") == 404
    assert await status(Scope.READ, account_id="acme") == 200
    assert await status(Scope.OPERATE, Scope.READ) == 200
    assert await status(Scope.SUBMIT) == 404
    wrong = await readers.simulate_get(f"/assets/{asset}", headers={"Authorization": "Bearer beat_no"})
    assert wrong.status_code == 401


async def test_a_key_that_may_not_read_gets_what_a_reader_without_a_key_gets(readers, assets, new_key) -> None:
    asset = await assets.add_stored()
    answer = await readers.simulate_get(f"/assets/{asset}", headers=bearer(await new_key(Scope.SUBMIT)))
    assert (answer.status_code, answer.content) == (200, JPEG)
    assert int(answer.headers["ratelimit-remaining"]) >= 0


@pytest.fixture
async def origin() -> AsyncIterator[Pictures]:
    async with pictures() as made:
        yield made


class ReadersAlone(Caps):
    """What readers wait for may start, and nothing else."""

    async def allowed(self) -> Allowed:
        return Allowed((), readers=True)


@pytest.fixture
async def uploads(stored_settings, database, store, origin, wake_ups) -> AsyncIterator[Pictures]:
    """A process that uploads. What comes out is the origin, which counts."""
    settings = stored_settings.model_copy(update={"asset_origin": origin.url})
    converters = Converters()
    async with Origin(settings) as way:
        uploader = Uploader(database, way, converters.picture, store, slots=16, caps=ReadersAlone(database)).start()
        wake_ups.uploader = uploader.wake
        yield origin
        await uploader.close(5.0)
        await converters.close()


@pytest.mark.scaled
async def test_s7_11_many_readers_of_one_cold_picture_over_two_processes_cause_one_fetch(
    stored_settings, wake_ups, assets, uploads
) -> None:
    count = cases(100, 1000)
    asset = await assets.add()
    settings = stored_settings.model_copy(update={"api_proxies": 1})
    async with Promised(app_over(settings, wake_ups)) as one, Promised(app_over(settings, wake_ups)) as other:

        async def read(api, network: int):
            """As a client does: a busy machine's database may be too late for some, and they are told when to ask again."""
            while True:
                answer = await api.simulate_get(f"/assets/{asset}", headers={"X-Forwarded-For": f"198.51.{network}.7"})
                if answer.status_code != 503:
                    return answer
                await asyncio.sleep(int(answer.headers["retry-after"]))

        answers = await asyncio.gather(*(read(api, n % 10) for n in range(count // 2) for api in (one, other)))
    assert {(answer.status_code, answer.content) for answer in answers} == {(200, picture(assets.number))}
    assert uploads.asked.total() == 1
    assert "assets" in wake_ups.asked


@pytest.mark.parametrize("status", ["FAILED", "GONE", "EXPIRED"])
async def test_s7_11_an_asset_without_a_picture_shows_a_neutral_one_that_nobody_keeps(
    readers, assets, status: str
) -> None:
    asset = await assets.add(status)
    answer = await readers.simulate_get(f"/assets/{asset}")
    assert (answer.status_code, answer.content) == (404, PLACEHOLDER)
    assert (answer.headers["content-type"], answer.headers["cache-control"]) == ("image/png", "no-store")
    assert int(answer.headers["retry-after"]) >= 1
    head = await readers.simulate_head(f"/assets/{asset}")
    assert (head.status_code, head.content, head.headers["content-length"]) == (404, b"", str(len(PLACEHOLDER)))


async def test_an_object_with_other_bytes_is_shown_to_nobody_and_stored_again(readers, assets) -> None:
    body = JPEG + uuid.uuid4().bytes
    ids = [await assets.add_stored(body) for _ in range(2)]
    content = hashlib.sha256(body).digest()
    await assets.store.delete([key_of(content)])
    await assets.store.put(key_of(content), bytes(len(body)))
    await assets.run("UPDATE asset_object SET checked_at = now() WHERE content = %(content)s", content=content)
    for _ in range(2):
        answer = await readers.simulate_get(f"/assets/{ids[0]}")
        assert (answer.status_code, answer.content) == (404, PLACEHOLDER)
    of_both = "array(SELECT status FROM asset_log WHERE content = %(content)s ORDER BY status)"
    async with assets.database.transaction() as transaction:
        assert await transaction.value(f"SELECT {of_both}", {"content": content}) == ["COMPLETE", "PENDING"]
        known = "SELECT checked_at IS NOT NULL FROM asset_object WHERE content = %(content)s"
        assert await transaction.value(known, {"content": content}) is False


async def test_s7_11_a_reader_waits_for_a_bounded_time(readers, assets, monkeypatch) -> None:
    monkeypatch.setattr(cold, "PATIENCE", 0.2)
    asset = await assets.add()
    answer = await readers.simulate_get(f"/assets/{asset}")
    assert (answer.status_code, answer.content) == (404, PLACEHOLDER)
    assert await assets.column("wanted_at IS NOT NULL", asset)


async def test_s7_11_a_process_has_so_many_waits_and_further_readers_wait_for_nothing(
    readers, assets, uploads, monkeypatch
) -> None:
    monkeypatch.setattr(readers.app.resources["/assets/{public_id}"]._provider.cold.assets, "_most", 0)
    monkeypatch.setattr("api.waiting.MAX_WAITS", 0)
    asset = await assets.add()
    answer = await readers.simulate_get(f"/assets/{asset}")
    assert (answer.status_code, answer.headers["retry-after"]) == (404, "10")
    assert not await assets.column("wanted_at IS NOT NULL", asset)
    assert uploads.asked.total() == 0


@pytest.mark.parametrize("status", ["PENDING", "WAITING", "EXPIRED", "GONE", "FAILED", "REFETCH"])
async def test_s7_11_the_last_good_picture_is_served_while_there_is_no_newer_one(
    readers, assets, monkeypatch, status: str
) -> None:
    monkeypatch.setattr(cold, "BRIEFLY", 0.1)
    asset = await assets.add_stored(status=status)
    answer = await readers.simulate_get(f"/assets/{asset}")
    assert (answer.status_code, answer.content) == (200, JPEG)
    assert answer.headers["cache-control"] == "no-store"


async def test_s7_11_and_s7_3_who_reads_an_expired_asset_has_its_parent_asked_for_once_a_day(readers, assets) -> None:
    never, today, yesterday, alone = [await assets.add("EXPIRED") for _ in range(4)]
    for hours, asset in ((1, today), (25, yesterday)):
        asked = "UPDATE asset_log SET refetched_at = clock_timestamp() - make_interval(hours => %(hours)s) WHERE public_id = %(id)s"
        await assets.run(asked, hours=hours, id=asset)
    await assets.run("UPDATE asset_log SET parent_key = NULL WHERE public_id = %(id)s", id=alone)
    for asset in (never, today, yesterday, alone):
        answer = await readers.simulate_get(f"/assets/{asset}")
        assert (answer.status_code, answer.content) == (404, PLACEHOLDER)
    states = [await assets.column("status", asset) for asset in (never, today, yesterday, alone)]
    assert states == ["REFETCH", "EXPIRED", "REFETCH", "EXPIRED"]


async def test_s7_11_readers_without_a_key_cause_few_calls_that_an_account_pays_for(
    stored_settings, wake_ups, assets, new_key
) -> None:
    bounded = {"asset_cold_refetches": 6, "api_proxies": 1}
    async with Promised(app_over(stored_settings.model_copy(update=bounded), wake_ups)) as readers:

        async def asks(address: str, **headers: str) -> bool:
            asset = await assets.add("EXPIRED")
            answer = await readers.simulate_get(f"/assets/{asset}", headers={"X-Forwarded-For": address, **headers})
            assert (answer.status_code, answer.content) == (404, PLACEHOLDER)
            return await assets.column("status", asset) == "REFETCH"

        assert [await asks(f"192.0.2.{n}") for n in range(4)] == [True, True, False, False]
        assert [await asks(f"203.0.{n}.1") for n in range(6)] == [True] * 4 + [False] * 2
        assert await asks("203.0.9.1", **bearer(await new_key(Scope.READ)))


async def test_s7_11_readers_of_one_network_leave_waits_to_others(
    stored_settings, wake_ups, assets, monkeypatch
) -> None:
    monkeypatch.setattr(cold, "MAX_WAITS_OF_NETWORK", 2)
    async with Promised(app_over(stored_settings.model_copy(update={"api_proxies": 1}), wake_ups)) as readers:
        waits = readers.app.resources["/assets/{public_id}"]._provider.cold.assets
        ids = [await assets.add() for _ in range(4)]

        def read(asset: str, address: str) -> Any:
            return asyncio.ensure_future(readers.simulate_get(f"/assets/{asset}", headers={"X-Forwarded-For": address}))

        held = [read(asset, "192.0.2.1") for asset in ids[:2]]
        await eventually(lambda: waits.waits_of(cold.NOBODY) == 2)
        refused = await read(ids[2], "192.0.2.9")
        assert (refused.status_code, refused.headers["retry-after"]) == (404, "10")
        assert not await assets.column("wanted_at IS NOT NULL", ids[2])
        held.append(read(ids[3], "198.51.100.1"))
        await eventually(lambda: waits.waits_of(cold.NOBODY) == 3)
        await assets.run("UPDATE asset_log SET status = 'GONE', wanted_at = NULL")
        assert {answer.status_code for answer in await asyncio.gather(*held)} == {404}


async def test_what_failed_a_moment_ago_is_not_fetched_before_its_time(readers, assets) -> None:
    asset = await assets.add("WAITING")
    await assets.run("UPDATE asset_log SET not_before = clock_timestamp() + interval '90 seconds'")
    answer = await readers.simulate_get(f"/assets/{asset}")
    assert (answer.status_code, answer.content) == (404, PLACEHOLDER)
    assert 80 <= int(answer.headers["retry-after"]) <= 90
    assert not await assets.column("wanted_at IS NOT NULL", asset)


async def test_s7_11_readers_without_a_key_have_a_budget_of_fetches_by_network_and_together(
    stored_settings, wake_ups, assets, uploads, new_key
) -> None:
    bounded = {"asset_cold_reads_of_network": 2, "asset_cold_reads": 3, "api_proxies": 1}
    async with Promised(app_over(stored_settings.model_copy(update=bounded), wake_ups)) as readers:

        async def read(address: str, **headers: str) -> Any:
            asset = await assets.add()
            # What a caller says of itself comes first; the proxy adds the address that it sees.
            sent = {"X-Forwarded-For": f"198.51.100.9, {address}", **headers}
            return await readers.simulate_get(f"/assets/{asset}", headers=sent)

        assert [(await read(f"192.0.2.{n}")).status_code for n in range(4)] == [200, 200, 404, 404]
        assert (await read("2001:db8:1:2::3")).status_code == 200
        refused = await read("203.0.113.4")
        assert (refused.status_code, refused.content) == (404, PLACEHOLDER)
        assert int(refused.headers["retry-after"]) >= 1
        assert uploads.asked.total() == 3
        key = await new_key(Scope.READ)
        assert (await read("203.0.113.4", **bearer(key))).status_code == 200
        stored = await assets.add_stored()
        assert (await readers.simulate_get(f"/assets/{stored}")).status_code == 200


async def test_s7_11_while_the_bucket_is_away_stored_pictures_come_later_and_the_process_is_ready(
    stored_settings, wake_ups, assets
) -> None:
    asset = await assets.add_stored()
    away = {"s3_endpoint_url": "http://127.0.0.1:1"}
    async with Promised(app_over(stored_settings.model_copy(update=away), wake_ups)) as readers:
        for _ in range(2):
            answer = await readers.simulate_get(f"/assets/{asset}")
            assert (answer.status_code, answer.json["type"]) == (503, "urn:beat:problem:objects_unavailable")
            assert int(answer.headers["retry-after"]) >= 1
            assert answer.headers["cache-control"] == "no-store"
        assert (await readers.simulate_get("/readyz")).status_code == 200
        # What needs no byte of the bucket is answered.
        assert (await readers.simulate_head(f"/assets/{asset}")).status_code == 200
    async with Promised(app_over(stored_settings.model_copy(update=away | {"asset_base_url": CDN}), wake_ups)) as known:
        assert (await known.simulate_get(f"/assets/{asset}")).status_code == 302


async def test_bytes_that_are_not_those_of_the_name_are_not_served(readers, assets, store) -> None:
    asset = await assets.add_stored(JPEG[:-1])
    content = hashlib.sha256(b"lost").digest()
    await store.put(key_of(content), b"another")
    await assets.run("UPDATE asset_log SET content = %(content)s WHERE public_id = %(id)s", content=content, id=asset)
    await assets.run(
        "INSERT INTO asset_object (content, bytes, media_type) VALUES (%(content)s, 7, 'image/jpeg')", content=content
    )
    answer = await readers.simulate_get(f"/assets/{asset}")
    assert (answer.status_code, answer.content) == (404, PLACEHOLDER)
    assert answer.headers["cache-control"] == "no-store"


async def test_s7_11_a_smaller_picture_is_asked_for_once_and_served_to_all(
    stored_settings, wake_ups, assets, monkeypatch
) -> None:
    monkeypatch.setattr(cold, "BRIEFLY", 30.0)
    asset, content = await assets.add_stored(), hashlib.sha256(JPEG).digest()
    small = b"RIFF small WEBP"
    async with (
        Promised(app_over(stored_settings, wake_ups)) as one,
        Promised(app_over(stored_settings, wake_ups)) as other,
    ):
        asked = [
            asyncio.create_task(
                api.simulate_get(f"/assets/{asset}", params={"w": "300"}, headers={"Accept": "image/webp,*/*;q=0.8"})
            )
            for _ in range(10)
            for api in (one, other)
        ]
        for _ in (one, other):
            await wake_ups.wants_variant.acquire()
        variant = await assets.put(small, "image/webp")
        added = """
        INSERT INTO asset_variant (content, width, media_type, variant, bytes) VALUES (%(content)s, 320, 'image/webp', %(variant)s, %(bytes)s)
        """
        await assets.run(added, content=content, variant=variant, bytes=len(small))
        for answer in await asyncio.gather(*asked):
            assert (answer.status_code, answer.content) == (200, small)
            assert (answer.headers["content-type"], answer.headers["vary"]) == ("image/webp", "Accept")
        again = await one.simulate_get(f"/assets/{asset}", params={"w": "161"}, headers={"Accept": "image/webp"})
        assert again.content == small
    # Each process asks once; the flag in Redis makes one message of both.
    assert [(each.width, each.media_type) for each in wake_ups.variants] == [(320, "image/webp")] * 2


async def test_s7_11_the_whole_picture_is_served_until_the_smaller_one_is_made(readers, assets, monkeypatch) -> None:
    monkeypatch.setattr(cold, "BRIEFLY", 0.1)
    answer = await readers.simulate_get(f"/assets/{await assets.add_stored()}", params={"w": "100"})
    assert (answer.status_code, answer.content) == (200, JPEG)
    assert (answer.headers["cache-control"], answer.headers["vary"]) == ("no-store", "Accept")


@pytest.mark.parametrize(("w", "media_type"), [("1501", "image/jpeg"), ("100", "image/gif"), ("100", "video/mp4")])
async def test_what_would_not_be_smaller_or_moves_is_served_as_it_is(
    readers, assets, wake_ups, w: str, media_type: str
) -> None:
    asset = await assets.add_stored(JPEG + media_type.encode(), media_type=media_type)
    answer = await readers.simulate_get(f"/assets/{asset}", params={"w": w})
    assert (answer.status_code, answer.headers["content-type"]) == (200, media_type)
    assert wake_ups.variants == []


async def test_a_flood_of_unknown_ids_takes_one_connection(settings, wake_ups, api) -> None:
    """Others are served meanwhile."""
    small = settings.model_copy(update={"database_pool_size": 2, "database_max_overflow": 0})
    async with Promised(app_over(small, wake_ups)) as readers:
        flood = [asyncio.create_task(readers.simulate_get(f"/assets/{uuid.uuid4()}")) for _ in range(500)]
        assert (await readers.simulate_get("/readyz")).status_code == 200
        assert {answer.status_code for answer in await asyncio.gather(*flood)} == {404}
        assert readers.app.resources["/assets/{public_id}"]._provider.services.shelf.assets.statements <= 20
