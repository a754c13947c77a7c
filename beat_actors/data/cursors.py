"""Cursors: where a page ended, in a form that nobody needs to understand."""

import base64
import binascii
from typing import TypeVar

import msgspec

from beat_actors.errors import BadInput

T = TypeVar("T", bound=msgspec.Struct)


def write(position: msgspec.Struct) -> str:
    return base64.urlsafe_b64encode(msgspec.json.encode(position)).decode().rstrip("=")


def read(text: str, kind: type[T], *, field: str = "cursor") -> T:
    """The position of this kind that is in it. Raises `BadInput`."""
    try:
        return msgspec.json.decode(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)), type=kind)
    except (ValueError, binascii.Error):  # also what msgspec raises
        raise BadInput(f"this {field} is not one that a page gave", field=field) from None
