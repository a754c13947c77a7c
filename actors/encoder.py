"""What a message is on its way: Dramatiq's fields as JSON, behind a header that signs them.

    beat1 KEY-ID HMAC-SHA256 {"queue_name": …, "actor_name": …, "args": […], …}

To reach Redis is not enough to give orders: the signature is checked before anything is parsed. Whatever cannot be used (unsigned,
forged, damaged, too large, of another shape) is made into a message to the `quarantine` actor, so that reading never raises and
its neighbours never notice.
"""

import hashlib
import hmac
import re
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
from dramatiq import Encoder

QUARANTINE = "quarantine"
"""The actor that sets aside what cannot be used. Messages to it are made where it runs; one that was sent is a forgery."""
MAX_BYTES = 64 * 1024
"""A message carries ids: 500 of them, the most that a stage's batch may be, are 10 kB."""
SAMPLE, WHY = 600, 300
"""Characters that are kept of a message that cannot be used, and of the reason."""
VERSION = b"beat1"


class Nothing(msgspec.Struct, forbid_unknown_fields=True):
    """An empty object. Beat sends no options (callbacks, pipes, delays), so a message that has some is none of Beat's."""


class Fields(msgspec.Struct, forbid_unknown_fields=True):
    """Dramatiq's `Message`, as it may stand in Redis."""

    queue_name: str
    actor_name: str
    args: list[Any]
    kwargs: Nothing
    options: Nothing
    message_id: str
    message_timestamp: int


@dataclass(frozen=True, slots=True)
class Refused:
    """What is kept of a message that cannot be used. `digest` is the SHA-256 of its bytes, where they were read."""

    why: str
    bytes: int
    digest: str | None = None
    sample: str = ""


class SignedEncoder(Encoder):
    """Signs with the first key of the ring and takes the signature of any.

    `words` are those that a sample of a message may show, beside numbers and punctuation: all else may be somebody's secret.
    """

    def __init__(self, ring: Mapping[str, bytes]) -> None:
        self._ring = {key_id.encode(): key for key_id, key in ring.items()}
        self._signing = next(iter(self._ring))
        self.words = {VERSION.decode(), "true", "false", "null", *Fields.__struct_fields__}

    def encode(self, data: dict[str, Any]) -> bytes:
        """Raises `ValueError` for a message that no worker would take."""
        if data["kwargs"] or data["options"]:
            raise ValueError("a message carries positional arguments alone, and no options")
        body = msgspec.json.encode(data)
        message = b"%b %b %b %b" % (VERSION, self._signing, _signature(self._ring[self._signing], body), body)
        if len(message) > MAX_BYTES:
            raise ValueError(f"a message has {len(message)} bytes; {MAX_BYTES} are allowed")
        return message

    def decode(self, data: bytes) -> dict[str, Any]:
        """The fields of the message, or of one to the `quarantine` actor that says why it is none. Never raises."""
        try:
            return self._open(data)
        except _Unusable as unusable:
            return self.refused(str(unusable), data)
        except Exception as error:  # noqa: BLE001 - whatever it is, its neighbours are to run
            return self.refused(f"it cannot be read: {type(error).__name__}", data)

    def refused(self, why: str, data: bytes | None, *, size: int = 0) -> dict[str, Any]:
        """A message to the `quarantine` actor. `data` is `None` where it was too large to be fetched; `size` says how large."""
        why = "".join(c if c.isprintable() else "…" for c in why[:WHY])
        if data is None:
            kept = Refused(why, size)
        else:
            kept = Refused(why, len(data), hashlib.sha256(data).hexdigest(), self.sample(data))
        return {
            "queue_name": "",
            "actor_name": QUARANTINE,
            "args": [kept],
            "kwargs": {},
            "options": {},
            "message_id": str(uuid.uuid4()),
            "message_timestamp": int(time.time() * 1000),
        }

    def sample(self, data: bytes) -> str:
        """The beginning of a message as text that can be stored and shown: known words, numbers, punctuation; the rest as dots."""
        text = data[:SAMPLE].decode("ascii", "replace")
        return _WORD.sub(lambda word: word[0] if word[0] in self.words or _is_number(word[0]) else "…", text)

    def _open(self, data: bytes) -> dict[str, Any]:
        if len(data) > MAX_BYTES:
            raise _Unusable(f"it is larger than the {MAX_BYTES} bytes that a message may have")
        version, *rest = data.split(b" ", 3)
        if version != VERSION or len(rest) != 3:
            raise _Unusable("it is not signed")
        key_id, signature, body = rest
        key = self._ring.get(key_id)
        if key is None:
            raise _Unusable("it is signed with a key that BEAT_MESSAGE_KEYS does not hold")
        if not hmac.compare_digest(signature, _signature(key, body)):
            raise _Unusable("its signature is not that of its content: it was forged, or changed on its way")
        try:
            fields = _FIELDS.decode(body)
        except RecursionError:
            raise _Unusable("it is nested too deeply") from None
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise _Unusable(f"it is signed, and is not a message: {error}") from None
        if fields.actor_name == QUARANTINE:
            raise _Unusable("it names an actor that gets no messages")
        return {
            "queue_name": fields.queue_name,
            "actor_name": fields.actor_name,
            "args": fields.args,
            "kwargs": {},
            "options": {},
            "message_id": fields.message_id,
            "message_timestamp": fields.message_timestamp,
        }


class _Unusable(Exception):
    """The sentence that says why."""


_FIELDS = msgspec.json.Decoder(Fields)
# Everything but ASCII punctuation, in runs: words, numbers, controls, what is not ASCII.
_WORD = re.compile(r"[^!-/:-@\[-^`{-~ ]+")


def _signature(key: bytes, body: bytes) -> bytes:
    return hmac.digest(key, body, "sha256").hex().encode()


def _is_number(word: str) -> bool:
    return word.isdecimal() and len(word) <= 19
