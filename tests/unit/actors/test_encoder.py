"""A message is taken as it was signed, or it is a message to the quarantine; nothing that bytes can be makes the decoder raise."""

import base64
import hmac
import json
from typing import Any

import dramatiq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.encoder import MAX_BYTES, QUARANTINE, SignedEncoder
from beat_actors.settings import parse_keys

NEW, OLD = (f"{name}:{base64.b64encode(name.encode() * 8).decode()}" for name in ("key1", "key2"))
encoder = SignedEncoder(parse_keys(NEW))


def message(*args: Any, **fields: Any) -> dict[str, Any]:
    given = {"queue_name": "ingest", "actor_name": "ingest", "args": args, "kwargs": {}, "options": {}}
    return dramatiq.Message(**given | fields).asdict()  # type: ignore[arg-type]


def signed(body: bytes, *, key: str = "key1") -> bytes:
    return b" ".join((b"beat1", key.encode(), hmac.digest(key.encode() * 8, body, "sha256").hex().encode(), body))


def test_what_was_signed_comes_back() -> None:
    sent = message([1, 2, 2**63 - 1])
    assert encoder.decode(encoder.encode(sent)) == sent | {"args": [[1, 2, 2**63 - 1]]}


def test_a_signature_of_any_key_of_the_ring_is_taken_and_the_first_signs() -> None:
    before, between, after = (SignedEncoder(parse_keys(keys)) for keys in (OLD, f"{NEW},{OLD}", NEW))
    old, new = before.encode(message([1])), between.encode(message([2]))
    assert between.decode(old)["args"] == [[1]]
    assert after.decode(new)["args"] == [[2]]
    (refused,) = after.decode(old)["args"]
    assert "BEAT_MESSAGE_KEYS" in refused.why


SIGNED = encoder.encode(message([1, 2, 3]))
BODY = SIGNED.split(b" ", 3)[3]


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "not signed"),
        (b"{not json", "not signed"),
        (BODY, "not signed"),
        (bytes(range(256)), "not signed"),
        (b"[" * 60_000, "not signed"),
        (b"x" * (MAX_BYTES + 1), "larger than"),
        (SIGNED[:-1], "forged, or changed"),
        (SIGNED.replace(b"[1,2,3]", b"[1,2,4]"), "forged, or changed"),
        (SIGNED.replace(b"beat1", b"beat2"), "not signed"),
        (signed(BODY, key="key3"), "a key that BEAT_MESSAGE_KEYS does not hold"),
        (b"beat1 key1  " + BODY, "forged, or changed"),
        (signed(b""), "is not a message"),
        (signed(b"[]"), "is not a message"),
        (signed(b'{"args": ' + b"[" * 30_000), "nested too deeply"),
        (signed(b"\xff" + BODY), "is not a message"),
        (signed(BODY.replace(b'"ingest"', b'"\xff"')), "is not a message"),
        (signed(BODY.replace(b'"ingest"', b'"\\ud800"')), "is not a message"),
        (signed(BODY.replace(b'"args"', b'"arms"')), "is not a message"),
        (signed(BODY.replace(b'"kwargs":{}', b'"kwargs":{"a":1}')), "is not a message"),
        (signed(BODY.replace(b'"options":{}', b'"options":{"on_success":"evil"}')), "is not a message"),
        (
            signed(BODY.replace(b'"actor_name":"ingest"', b'"actor_name":"quarantine"')),
            "an actor that gets no messages",
        ),
    ],
)
def test_what_is_no_message_is_refused_with_the_reason(data: bytes, why: str) -> None:
    fields = encoder.decode(data)
    assert fields["actor_name"] == QUARANTINE
    (refused,) = fields["args"]
    assert why in refused.why
    assert refused.bytes == len(data)


@given(st.binary(max_size=300))
def test_no_bytes_make_it_raise(data: bytes) -> None:
    assert encoder.decode(data)["actor_name"] == QUARANTINE


@given(st.integers(0, len(SIGNED) - 1), st.integers(1, 255))
def test_no_byte_of_a_message_can_be_changed(at: int, by: int) -> None:
    changed = bytearray(SIGNED)
    changed[at] ^= by
    assert encoder.decode(bytes(changed))["actor_name"] == QUARANTINE


# Whoever holds the key may still be wrong: every JSON document that is signed is a message or refused.
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
)


@given(st.sampled_from(sorted(json.loads(BODY))), JSON)
def test_no_signed_document_makes_it_raise(name: str, value: Any) -> None:
    body = json.dumps(json.loads(BODY) | {name: value}).encode("utf-8", "surrogatepass")
    fields = encoder.decode(signed(body))
    assert fields["actor_name"] == QUARANTINE or isinstance(fields["args"], list)


def test_what_no_worker_would_take_is_not_sent() -> None:
    for fields in (message(options={"eta": 1}), message(kwargs={"a": 1}), message("x" * MAX_BYTES)):
        with pytest.raises(ValueError):
            encoder.encode(fields)


def test_what_is_kept_of_it_shows_its_shape_and_none_of_its_texts() -> None:
    unsigned = b'{"queue_name":"ingest","args":[[17]],"token":"hunter2 \x00\xff\xc3\xa9 4111111111111111111111"}'
    (refused,) = encoder.decode(unsigned)["args"]
    assert refused.sample == '{"queue_name":"…","args":[[17]],"…":"… … …"}'
    assert len(refused.digest) == 64
    encoder.words.add("ingest")
    assert encoder.sample(unsigned).startswith('{"queue_name":"ingest"')
    assert len(encoder.sample(b"1," * 10_000)) == 600
