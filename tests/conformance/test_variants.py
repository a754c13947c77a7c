"""Answers that nobody here has recorded: every recording, said otherwise and damaged, key by key.

Older and newer answers of an endpoint tell an id as a number or as text, leave keys out, add others, hide counts. A parser reads
them or says where it cannot; and whatever it reads, it takes nothing for something else.
"""

import copy
import random
import re
from collections.abc import Callable, Iterator
from datetime import datetime
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from beat_actors.errors import Malformed, Missing
from beat_actors.platforms.interface import Answer, Outcome, Parsed
from tests.conformance.recordings import Recording
from tests.conformance.test_sources import (
    GOOD,
    MISSING,
    REFUSALS,
    TABLES,
    every_endpoint,
    every_recording,
    every_source,
    platforms_of,
    read,
)
from tests.extent import ALL

Path = tuple[str | int, ...]

ID = re.compile(r"(?:^|_)(?:id|pk)$|Id$|^cursor$|^next_max_id$")
COUNT = re.compile(r"(?:^|_)count$|Count$")
PATH = re.compile(r"\$.*", re.DOTALL)
GONE: Any = object()
EMOJI, RIGHT_TO_LEFT = "🧿👩‍👩‍👧‍👦 ok", "\u202eשלום مرحبا\u202c"


def shortened(value: Any) -> Any:
    """Lists of two: what the third element is like, the second was."""
    if isinstance(value, dict):
        return {name: shortened(each) for name, each in value.items()}
    return [shortened(each) for each in value[:2]] if isinstance(value, list) else value


def small(recording: Recording) -> Any:
    """The recording with its lists cut, where it is still one: a pair of page and cursor stays a pair."""
    return shortened(msgspec.json.decode(recording.body()))


def paths(value: Any, at: Path = ()) -> Iterator[Path]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, each in items:
        yield (*at, name)
        yield from paths(each, (*at, name))


def at_path(value: Any, path: Path) -> Any:
    for name in path:
        value = value[name]
    return value


def put(value: Any, path: Path, new: Any) -> Any:
    """A copy of `value` with something else at `path`, or nothing. What is beside the path is shared."""
    changed = copy.copy(value)
    if len(path) > 1:
        changed[path[0]] = put(value[path[0]], path[1:], new)
    elif new is GONE:
        del changed[path[0]]
    else:
        changed[path[0]] = new
    return changed


def everywhere(value: Any, change: Callable[[str, Any], Any], name: str = "") -> Any:
    if isinstance(value, dict):
        return {key: everywhere(each, change, key) for key, each in value.items()}
    if isinstance(value, list):
        return [everywhere(each, change, name) for each in value]
    return change(name, value)


def is_digits(value: Any) -> bool:
    return isinstance(value, str) and value.isdecimal() and value.isascii() and (value == "0" or value[0] != "0")


def ids_as_text(name: str, value: Any) -> Any:
    return str(value) if ID.search(name) and type(value) is int else value


def ids_as_numbers(name: str, value: Any) -> Any:
    return int(value) if ID.search(name) and is_digits(value) and int(value) < 2**63 else value


def counts_as_text(name: str, value: Any) -> Any:
    return str(value) if COUNT.search(name) and type(value) is int else value


def counts_as_numbers(name: str, value: Any) -> Any:
    return int(value) if COUNT.search(name) and is_digits(value) else value


def with_more(value: Any) -> Any:
    """Keys that nobody knows, in every object but those that are a map by somebody's id."""
    if isinstance(value, dict) and value and all(map(str.isdecimal, value)):
        return {name: with_more(each) for name, each in value.items()}
    if isinstance(value, dict):
        return {
            "__new": {"id": "1", "nested": [None, {"code": EMOJI}]},
            **{k: with_more(v) for k, v in value.items()},
            "new_count": -1,
        }
    return [with_more(each) for each in value] if isinstance(value, list) else value


def backwards(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: backwards(value[name]) for name in reversed(value)}
    return [backwards(each) for each in value] if isinstance(value, list) else value


SAID_OTHERWISE = {
    "ids as text": lambda payload: everywhere(payload, ids_as_text),
    "ids as numbers": lambda payload: everywhere(payload, ids_as_numbers),
    "counts as text": lambda payload: everywhere(payload, counts_as_text),
    "counts as numbers": lambda payload: everywhere(payload, counts_as_numbers),
    "with more keys": with_more,
    "in another order": backwards,
}
DAMAGES: tuple[Any, ...] = (
    GONE, None, "", 0, -1, -2, 2**70, 1.5, True, False, "12", "1,234", "many", "x\0y", EMOJI, RIGHT_TO_LEFT,
    [], [None], [[]], [{}], {}, {"count": None}, {"text": None}, {"edges": []}, {"node": {}},
)  # fmt: skip


@every_recording
def test_s6_9_the_same_said_otherwise_is_read_the_same(recording: Recording) -> None:
    payload, before = msgspec.json.decode(recording.body()), read(recording)
    for said, change in SAID_OTHERWISE.items():
        assert read(recording, msgspec.json.encode(change(payload))) == before, said


def keys_of(recording: Recording, parsed: Parsed) -> set[tuple[str, str]]:
    """Whom the records are of. Raises where one of them could not be kept."""
    platform, found = platforms_of(recording), set()
    for record in parsed.records:
        entity, values = platform.entity_of(record), msgspec.structs.asdict(record)
        key = values[entity.key]
        assert isinstance(key, str)
        assert key.strip()
        for name in entity.metrics:
            # Money may be owed.
            assert values[name] is None or isinstance(values[name], Decimal) or values[name] >= 0
        assert all(value.tzinfo is not None for value in values.values() if isinstance(value, datetime))
        assert all("\0" not in value for value in values.values() if isinstance(value, str))
        found.add((entity.table, key))
    msgspec.json.encode(list(parsed.records))
    return found


def outcome(recording: Recording, payload: Any) -> tuple[str, Any]:
    """What a parser makes of it: ("read", what), ("missing", None), or ("malformed", where). Anything else that it raises is a bug."""
    try:
        parsed = read(recording, msgspec.json.encode(payload))
    except Missing:
        return "missing", None
    except Malformed as error:
        return "malformed", PATH.fullmatch(error.path)[0]
    return "read", parsed


def is_read(recording: Recording, payload: Any, path: Path, before: Any) -> bool:
    """Whether a parser looks at this key at all: neither nonsense in its place nor its absence changes anything, or one does."""
    nonsense = put(payload, path, {"\x01": [{}]})
    return outcome(recording, nonsense) != before or outcome(recording, put(payload, path, GONE)) != before


@pytest.mark.scaled
@every_recording
def test_s6_1_whatever_stands_at_a_key_is_read_or_refused_with_its_path(recording: Recording) -> None:
    """Every key that the parser looks at, with each kind of damage, of which `make test` takes a third for each key in turn. No record may come out that is another's than before."""
    payload = small(recording)
    before = outcome(recording, payload)
    assert before[0] == "read"
    known = keys_of(recording, before[1])
    named = getattr(TABLES[platforms_of(recording).name], "NAMES_BESIDES", frozenset())
    looked_at = 0
    for path in paths(payload):
        if not is_read(recording, payload, path, before):
            continue
        looked_at += 1
        # What names a record may be given another name by damage to it, and by nothing else.
        name = (
            next(part for part in reversed(path) if isinstance(part, str))
            if any(isinstance(part, str) for part in path)
            else ""
        )
        old = at_path(payload, path)
        for damage in DAMAGES if ALL else DAMAGES[looked_at % 3 :: 3]:
            said, found = outcome(recording, put(payload, path, damage))
            if said != "read":
                continue
            keys = keys_of(recording, found)
            names_it = name in named or isinstance(old, dict | list) or ID.search(name)
            assert keys <= known or names_it, f"{damage!r} at {path} made {keys - known}"
    assert looked_at


@every_recording
@given(seed=st.integers(0, 2**32), times=st.integers(2, 8))
@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
def test_s6_1_many_damages_at_once_are_read_or_refused(recording: Recording, seed: int, times: int) -> None:
    payload, dice = small(recording), random.Random(seed)
    for _ in range(times):
        path = dice.choice(list(paths(payload)) or [()])
        if not path:
            break
        payload = put(payload, path, dice.choice(DAMAGES))
    said, found = outcome(recording, payload)
    if said == "read":
        keys_of(recording, found)


DEEP = b'{"data":' * 100_000
HOSTILE = (
    DEEP,
    b"[" * 100_000,
    b'{"error":' * 100_000,
    b"\xef\xbb\xbf{}",
    b"{}{}",
    b'{"a":NaN}',
    b'{"a":1e999}',
    b"\x00" * 64,
    b'"' + b"\\ud800" * 9 + b'"',
)


@every_recording
def test_p6_an_answer_made_to_break_a_parser_is_malformed(recording: Recording) -> None:
    for body in HOSTILE:
        with pytest.raises(Malformed) as refused:
            read(recording, body)
        assert refused.value.path.startswith("$"), body[:64]


@every_source
@pytest.mark.parametrize("status", [200, 400, 403, 429, 500])
def test_p6_an_answer_made_to_break_it_is_judged(platform: Any, source: Any, status: int) -> None:
    headers = {
        "x-app-usage": "[" * 100_000,
        "x-business-use-case-usage": '{"1":[null,{"call_count":"many"}]}',
        "retry-after": "soon",
    }
    for body in HOSTILE:
        verdict = source.classify(Answer(status, headers, body))
        assert (verdict.outcome is Outcome.OK) <= (status == 200), body[:64]
        for declared in filter(None, (source.check, source.refresh)):
            found = declared.read(Answer(status, headers, body)).verdict.outcome
            assert found is not Outcome.OK, body[:64]


@every_endpoint
def test_s6_10_every_operation_of_every_source_has_a_good_recording_and_a_bad_one(
    platform: Any, source: Any, operation: str
) -> None:
    """Bad ones that were recorded are the provider's refusals, and answers of 200 that say that there is nothing; those above, made of
    the good, are refused by each operation."""
    good = [each for each in GOOD if (each.source, each.operation) == (source.name, operation)]
    assert good
    refused = [each for each in REFUSALS if each.source == source.name]
    assert [each for each in MISSING if (each.source, each.operation) == (source.name, operation)] or refused
    assert all(source.classify(each.answer()).outcome is not Outcome.OK for each in refused)
    for recording in good:
        payload = msgspec.json.decode(recording.body())
        assert outcome(recording, payload)[0] == "read"
        assert outcome(recording, {"status": "ok"} if isinstance(payload, dict) else [{}])[0] == "malformed"
