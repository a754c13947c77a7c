"""Text from outside: what every store and every reader can hold."""

import re

from beat_actors.errors import BadInput

# NUL and lone surrogates are no text; the other control characters, and those that turn the direction of what follows, make a
# line say something else than it shows. Marks that languages and emoji need (ZWJ, LRM, RLM) are text.
_UNFIT = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_BREAK = re.compile("[\t\n\r\u2028\u2029]")


def check_text(value: str, name: str, *, longest: int, one_line: bool = False) -> None:
    """No control characters, overrides of the writing direction or lone surrogates, and not too long; `one_line`: no tabs or breaks.

    Raises `BadInput`, naming the character.
    """
    if len(value) > longest:
        raise BadInput(f"{name} has {len(value)} characters; {longest} are allowed", field=name)
    found = _UNFIT.search(value) or (_BREAK.search(value) if one_line else None)
    if found is not None:
        raise BadInput(f"{name} contains U+{ord(found[0]):04X}, which cannot be part of it", field=name)


def is_fit(value: str, *, longest: int, one_line: bool = False) -> bool:
    """Whether `check_text` would take it: for those who look at many texts and name none of them."""
    return len(value) <= longest and not _UNFIT.search(value) and not (one_line and _BREAK.search(value))
