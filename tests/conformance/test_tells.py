"""What each endpoint declares to tell: its parser has no value for another field, and an answer that leaves a key out clears nothing."""

import random
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from beat_actors.errors import Malformed, Missing
from beat_actors.platforms.entities import REMARKS
from beat_actors.platforms.interface import Record, Tells, fields_of, observed
from tests.conformance.recordings import Recording
from tests.conformance.test_sources import damage, endpoint_of, every_endpoint, every_recording, platforms_of, read

LEAVES_OUT = {"graphapi", "ytapi"}
"""Sources that leave out what a thing does not have, as their references say, so that a key that is not there means empty."""


def tells_of(recording: Recording) -> Tells:
    found: Tells | None = endpoint_of(recording).tells
    assert found is not None
    return found


def check(recording: Recording, records: Iterable[Record]) -> None:
    """Each record lies within what its endpoint declares."""
    tells, platform = tells_of(recording), platforms_of(recording)
    for record in records:
        entity, of = platform.entity_of(record), tells[type(record)]
        values = {name: getattr(record, name) for name in entity.fields}
        assert {name for name, value in values.items() if value is not None} <= of.fields | {entity.key}
        assert set(record.hidden) <= entity.metrics
        assert set(record.untold) <= of.always
        empty = set(observed(record, tells).empty)
        assert empty <= of.always | set(record.hidden)
        assert not [name for name in empty if values[name] is not None]


@every_endpoint
def test_s6_11_every_endpoint_declares_which_fields_it_tells(platform: Any, source: Any, operation: str) -> None:
    tells = source.endpoints[operation].tells
    assert tells is not None
    for record, of in tells.items():
        entity = next(each for each in platform.entities if each.record is record)
        assert of.fields <= set(fields_of(record))
        assert not of.always & of.sometimes
        # A key that is cleared, or a field that every record has, would be no clearing.
        required = {each.name for each in msgspec.structs.fields(record) if each.required}
        assert not of.always & (required | {entity.key, entity.version} | REMARKS)


@every_recording
def test_s8_7_a_recording_tells_what_its_endpoint_declares(recording: Recording) -> None:
    check(recording, read(recording).records)


@every_recording
@given(seed=st.integers(0, 2**32))
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
def test_s8_7_a_damaged_answer_tells_what_its_endpoint_declares(recording: Recording, seed: int) -> None:
    payload, dice = msgspec.json.decode(recording.body()), random.Random(seed)
    damage(payload, dice)
    try:
        parsed = read(recording, msgspec.json.encode(payload))
    except (Malformed, Missing):
        return
    check(recording, parsed.records)


@pytest.mark.parametrize(
    "recording",
    [each for each in every_recording.args[1] if each.source not in LEAVES_OUT],
    ids=lambda r: f"{r.source}-{r.operation}-{Path(r.path).stem}",
)
@given(seed=st.integers(0, 2**32))
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
def test_s8_7_a_key_that_is_not_there_clears_nothing(recording: Recording, seed: int) -> None:
    """A gateway that changes its answers leaves keys out. That the thing has nothing there is said only by a key."""
    payload, dice = msgspec.json.decode(recording.body()), random.Random(seed)
    if not leave_out(payload, dice):
        return
    try:
        parsed = read(recording, msgspec.json.encode(payload))
    except (Malformed, Missing):
        return
    before, after = empties(recording, read(recording).records), empties(recording, parsed.records)
    assert not {one for one in after if one[0] in {each[0] for each in before}} - before


def empties(recording: Recording, records: Iterable[Record]) -> set[tuple[str, str]]:
    """The fields that are said to be empty, without those that are hidden: with the key of each thing."""
    tells, platform = tells_of(recording), platforms_of(recording)
    found = set()
    for record in records:
        key = str(getattr(record, platform.entity_of(record).key))
        found.add((key, ""))
        found |= {(key, name) for name in observed(record, tells).empty if name not in record.hidden}
    return found


def leave_out(value: Any, dice: random.Random) -> bool:
    """Take out one key, anywhere; whether one was taken."""
    while isinstance(value, dict | list) and value:
        key = dice.choice(list(value)) if isinstance(value, dict) else dice.randrange(len(value))
        if isinstance(value, dict) and (not isinstance(value[key], dict | list) or dice.random() < 0.2):
            del value[key]
            return True
        value = value[key]
    return False
