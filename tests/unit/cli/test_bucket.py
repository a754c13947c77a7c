"""`beat doctor` beside buckets that do what no bucket may."""

from collections.abc import AsyncIterator, Callable

import pytest

from beat_actors.cli import bucket
from beat_actors.settings import Settings
from tests.strict_s3 import StrictS3, serving
from tests.strict_s3.objects import Answer
from tests.strict_s3.requests import Refused, Request


@pytest.fixture
async def strict(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[StrictS3]:
    async with serving() as strict:
        for name, value in strict.env.items():
            monkeypatch.setenv(name, value)
        yield strict


def of(strict: StrictS3) -> Settings:
    return Settings(
        database_url="postgresql://beat@127.0.0.1/none",
        redis_url="redis://127.0.0.1/0",
        s3_endpoint_url=strict.url,
        asset_bucket=strict.bucket,
    )


async def test_a_bucket_of_assets_that_does_all_is_well_and_left_empty(strict: StrictS3) -> None:
    payloads, assets = await bucket.examine(of(strict))
    assert payloads.found == "no bucket is named, so raw payloads stay in PostgreSQL"
    assert (assets.check, assets.fix) == ("asset bucket", "")
    assert strict.objects.stored == {}


async def test_a_bucket_that_replaces_objects_is_named(strict: StrictS3, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(strict.objects, "_put", lambda request, put=strict.objects._put: careless_put(put, request))
    _, assets = await bucket.examine(of(strict))
    assert "replaces objects" in assets.found
    assert "If-None-Match" in assets.fix


def careless_put(put: Callable[[Request], Answer], request: Request) -> Answer:
    request.headers.pop("if-none-match", None)
    return put(request)


async def test_a_bucket_that_lies_is_named(strict: StrictS3) -> None:
    strict.faults.order(lie=1.0)
    _, assets = await bucket.examine(of(strict))
    assert "has no object" in assets.found
    assert "media are not copied" in assets.fix


async def test_a_clock_that_is_off_is_named(strict: StrictS3, monkeypatch: pytest.MonkeyPatch) -> None:
    def skewed(*_given: object) -> None:
        raise Refused(403, "RequestTimeTooSkewed")

    monkeypatch.setattr("tests.strict_s3.server.verify", skewed)
    _, assets = await bucket.examine(of(strict))
    assert "clock" in assets.fix
