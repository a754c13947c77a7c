"""What one upload makes of what the decoders say: what is the picture's fault, and what is not."""

from collections.abc import Sequence
from uuid import UUID

import pytest

from beat_actors.assets.claims import Claimed
from beat_actors.assets.commits import State
from beat_actors.assets.fetched import Dead, Fetched, Got, Refused, Why
from beat_actors.assets.origin import Limits
from beat_actors.assets.storing import Storing
from beat_actors.assets.upload import GONE_AGAIN, LOST_DECODERS, REFUSED_AGAIN, Upload
from beat_actors.media.conversion import ConversionBusy, ConversionUnavailable, DecoderLost
from beat_actors.media.picture import Picture
from beat_actors.transport.objects import ObjectStore


def claimed(number: int = 1, attempts: int = 1) -> Claimed:
    key = ("instagram", "instagram_account", "a", "profile_pic_url", "", "")
    return Claimed(UUID(int=number), 1, *key, 0, "https://cdn.example/a.jpg", None, None, attempts, False, False)


class Origin:
    def __init__(self, fetched: Fetched | None = None) -> None:
        self.fetched = fetched

    async def fetch(self, url: str, limits: Limits) -> Fetched:
        return self.fetched or Got(3, "image/heic", "cdn.example", True, b"abc")


class Failing:
    """A checker that fails."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    async def __call__(self, data: bytes) -> Picture:
        raise self.error


async def nothing_known(contents: Sequence[bytes]) -> set[bytes]:
    return set()


def upload(error: Exception, fetched: Fetched | None = None) -> Upload:
    return Upload(Origin(fetched), Failing(error), Storing(ObjectStore("nowhere"), nothing_known))


async def test_a_picture_that_loses_each_decoder_is_given_up() -> None:
    run = upload(DecoderLost("ended by SIGKILL"))
    ends = [await run(claimed(attempts=n + 1)) for n in range(LOST_DECODERS)]
    assert [end.state for end in ends] == [State.WAITING] * (LOST_DECODERS - 1) + [State.FAILED]
    assert all(end.counts for end in ends)
    assert (await run(claimed(2))).state is State.WAITING


async def test_a_decoder_that_does_not_start_is_tried_more_and_more_seldom() -> None:
    run = upload(ConversionUnavailable("it does not start"))
    for attempts in range(1, 20):
        end = await run(claimed(attempts=attempts))
        assert (end.state, end.counts) == (State.WAITING, True)
    assert end.delay > 1800


@pytest.mark.parametrize("pause", [1.0, 600.0])
async def test_a_picture_without_room_to_be_converted_comes_at_its_appointment(pause: float) -> None:
    end = await upload(ConversionBusy(pause))(claimed(attempts=19))
    assert (end.state, end.counts) == (State.WAITING, False)
    assert pause <= end.delay <= 1.2 * pause


@pytest.mark.parametrize("again", [True, False])
async def test_a_name_that_leads_to_a_private_address_is_believed_after_hours(again: bool) -> None:
    run = upload(AssertionError(), Refused(Why.ADDRESS, "not public", again=again))
    ends = [await run(claimed(attempts=n + 1)) for n in range(len(REFUSED_AGAIN) + 1)]
    first = State.WAITING if again else State.FAILED
    assert [end.state for end in ends] == [first] * len(REFUSED_AGAIN) + [State.FAILED]


@pytest.mark.parametrize(("status", "waits"), [(404, len(GONE_AGAIN)), (410, 0)])
async def test_an_origin_that_has_no_such_picture_is_believed_after_hours(status: int, waits: int) -> None:
    run = upload(AssertionError(), Dead(Why.GONE, f"HTTP {status}", status))
    ends = [await run(claimed(attempts=n + 1)) for n in range(waits + 1)]
    assert [end.state for end in ends] == [State.WAITING] * waits + [State.REFETCH]


async def test_a_url_that_says_that_it_is_over_is_believed_at_once() -> None:
    run = upload(AssertionError(), Dead(Why.EXPIRED, "HTTP 403: URL signature expired", 403))
    assert (await run(claimed())).state is State.REFETCH
