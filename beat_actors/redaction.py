"""Which of a provider's words may be kept: none that hold a secret of the credential that was used, in whatever spelling.

A text *holds* a secret where twelve characters of it stand in a row. Compared is what is left after every spelling that is known here
was undone: percent, JSON and HTML escapes, base64, hexadecimal, another case, signs in between, written backwards, and one of them
inside another. Pure; the cost is linear in the text.
"""

import base64
import binascii
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from html.entities import html5
from urllib.parse import quote

HIDDEN = "***"
WITHHELD = "the provider's words are not kept: they hold the credential, or may"
ECHOED = "secret_echoed"
"""The code of an answer whose body repeats the credential in a spelling that cannot be taken out."""

SHORTEST = 8
"""A field with fewer characters is no secret, and would be found anywhere."""
RUN = 12
"""So many characters of a secret in a row are as good as the secret."""
LOOKED_AT = 4096
"""Of words to be kept, at most so many characters are looked at; what lies behind them is cut off."""

# The text is sampled: of a run of eleven one sample of four at every eighth place lies wholly inside, and of a run of nineteen two. Twelve
# characters of a secret have eleven letters and digits, or the secret is compared with its signs as well.
_GRAM, _STEP, _LEAST_RUN, _TWO_SAMPLES = 4, 8, 11, 19
# So many samples are looked up at once; only where one of them fits are they looked at one by one.
_BLOCK = 128
# More samples than these that fit and lead to nothing are an attempt to cost time: 500, and one of 32 in a long text.
_MOST_CANDIDATES, _CHARACTERS_FOR_ONE = 500, 256
_MOST_VIEWS, _DEEPEST, _MOST_ROUNDS = 80, 3, 4

_ALNUM = bytes(c for c in range(256) if chr(c).isascii() and chr(c).isalnum())
_NOT_ALNUM = bytes(c for c in range(256) if c not in _ALNUM)
# Letters, whatever their case, and digits as numbers under 64, far enough apart: four of them make an `int` of one digit, which costs Python half
# as much as one of two, and fall into different places of a set.
_NUMBERS = {character: at * 7 // 4 for at, character in enumerate(b"abcdefghijklmnopqrstuvwxyz0123456789")}
_NUMBERED = bytes(_NUMBERS.get(c, 0) for c in bytes(range(256)).lower())
_BETWEEN = b"\xff"
"""Stands in no form, so that nothing is found across two ways."""
_NOT_GRAPHIC = bytes(c for c in range(256) if not 0x20 < c < 0x7F)
_LOWER = bytes(range(256)).lower()
_NAMED = {
    name.rstrip(";").encode(): value.encode() for name, value in html5.items() if len(value) == 1 and value.isascii()
}


_CODE = rb"[0-7][0-9A-Fa-f]"


def _escapes(again: bytes = b"*") -> re.Pattern[bytes]:
    """Percent, JSON and HTML escapes. `again`: how often an escape may itself be escaped."""
    return re.compile(
        rb"[%%\\&](?:(?<=%%)(?:25)%(again)b(%(code)b)|(?<=[%%\\])\\%(again)b[uU]00(%(code)b)|(?<=\\)\\%(again)b[xX](%(code)b)"
        rb"|(?<=&)(?:amp;)%(again)b#[xX]0*(%(code)b|[0-9A-Fa-f]);?|(?<=&)(?:amp;)%(again)b#0*(?P<decimal>[0-9]{1,3});?"
        rb"|(?<=&)(?:amp;)%(again)b(?P<name>[A-Za-z]{2,12});|(?<=\\)\\%(again)b(?P<blank>[nrtbf]))"
        % {b"code": _CODE, b"again": again}
    )


_ESCAPE, _ESCAPE_ONCE = _escapes(), _escapes(b"{0}")


_Escapes = tuple[tuple[tuple[bytes, ...], re.Pattern[bytes]], ...]


def _escapes_by_sign(code: bytes, name: bytes, blank: bytes) -> _Escapes:
    """The same for characters with these codes, a pattern for each sign that begins an escape, which is found at the speed of memory; and what
    of it a text has to hold in any case."""
    patterns = (
        rb"%%(?:(?:25)*(%(code)b)|\\*[uU]00(%(code)b))",
        rb"\\\\*+(?:[uU]00(%(code)b)|[xX](%(code)b)|(?P<blank>%(blank)b))",
        rb"&(?:amp;)*(?:#(?:[xX]0*(%(code)b|[0-9A-Fa-f]);?|0*(?P<decimal>[0-9]{1,3});?)|(?P<name>%(name)b);)",
    )
    values = {b"code": code, b"name": name, b"blank": blank}
    hints: tuple[tuple[bytes, ...], ...] = ((b"%",), (b"\\",), (b"#", b";"))
    return tuple((hint, re.compile(pattern % values)) for hint, pattern in zip(hints, patterns, strict=True))


_ANY_ESCAPE = _escapes_by_sign(_CODE, rb"[A-Za-z]{2,12}+", rb"[nrtbf]")
# Of letters and digits only: without signs a secret is spelt with no others.
_LETTER_ESCAPE = _escapes_by_sign(rb"3[0-9]|[46][1-9A-Fa-f]|[57][0-9Aa]", rb"(?!)", rb"(?!)")
_BASE64 = re.compile(rb"[A-Za-z0-9+/_-]{16,}")
_HEX = re.compile(rb"(?:[0-9A-Fa-f]{2}){8,}[0-9A-Fa-f]?")
_LONG = 24
# A text in which each letter, digit and sign of base64 is an `x`: a long run of one known character is found many times faster than one of a class.
_IN_RUNS = bytes(ord("x") if c in _ALNUM or chr(c) in "+/-_" else 0x20 for c in range(256))
_LONG_RUN = re.compile(b"x" * _LONG + b"x*+")
# What stands for a credential, or may: long, of letters and digits together.
_OPAQUE = re.compile(r"(?=[A-Za-z_+=%-]*[0-9])(?=[0-9_+=%-]*[A-Za-z])[A-Za-z0-9_+=%-]{20,}")
_NUMBER = re.compile(r"-?[0-9]{1,9}")
_NAME = re.compile(r"[A-Za-z$][A-Za-z0-9_ .$\[\]-]{0,59}")


class Redactor:
    """The secrets of one credential, to be kept out of what is stored and shown. `public`: what may stand there though it stands in
    them too, as the name of a shop, or the ending that all client ids have."""

    __slots__ = ("_graphic", "_has_signs", "_plain", "_spelt")

    def __init__(self, secrets: Iterable[str], public: Iterable[str] = ()) -> None:
        known = [spelling for value in public for spelling, _ in _spellings(value.encode())]
        self._spelt = [secret for secret in dict.fromkeys(secrets) if len(secret) >= SHORTEST]
        self._has_signs = any(not part.isalnum() for part in self._spelt)
        self._plain = _Table(_alnum, known)
        self._graphic = _Table(_graphic, known)
        for part in self._spelt:
            raw = part.encode()
            for spelling, run in _spellings(raw):
                self._plain.add(spelling, run)
            if _is_sparse(raw):
                self._graphic.add(raw, _LEAST_RUN)

    def holds(self, said: str | bytes) -> bool:
        """Whether a secret stands in these words, or may. For short texts: every spelling inside every other is undone."""
        data = said.encode("utf-8", "surrogatepass") if isinstance(said, str) else said
        if not self._spelt or not data:
            return False
        views = 0
        for views, view in enumerate(_views(data), 1):  # noqa: B007
            if self._strikes(view):
                return True
        return views > _MOST_VIEWS

    def words(self, said: str) -> str:
        """Of these words what may be kept, `WITHHELD` in their place where they hold a secret. What merely looks like one is masked."""
        said = said[:LOOKED_AT]
        if self.holds(said):
            return WITHHELD
        return _OPAQUE.sub(HIDDEN, said)

    def code(self, label: str) -> str:
        """A code of parts divided by `/`, without the parts that are no short names or numbers, or that hold a secret."""
        parts = [part for part in label.split("/") if _NUMBER.fullmatch(part) or _NAME.fullmatch(part)]
        return "/".join(part for part in parts if not _OPAQUE.search(part) and not self.holds(part))

    def body(self, body: bytes) -> bytes | None:
        """A whole answer as it may be kept: plain and percent-encoded spellings masked. `None` where a secret stands in it otherwise.

        Escapes are undone, and in them base64 and hexadecimal; not each inside each other, as in words.
        """
        if not self._found(body):
            return body
        for part in self._spelt:
            for spelling in _maskable(part):
                body = body.replace(spelling, HIDDEN.encode())
        return None if self._found(body) else body

    def _found(self, body: bytes) -> bool:
        if not self._spelt:
            return False
        text = _undone(body, _ANY_ESCAPE if self._has_signs else _LETTER_ESCAPE)
        if self._strikes(text) or (text is not body and self._strikes(body)):
            return True
        decoded = _long_runs(text)
        return bool(decoded) and self._strikes(decoded)

    def _strikes(self, view: bytes) -> bool:
        return self._plain.strikes(view) or self._graphic.strikes(view)


class _Table:
    """Pieces of secrets, and whether a text that was brought into the same form holds a run of them."""

    def __init__(self, form: Callable[[bytes], bytes], public: Iterable[bytes]) -> None:
        self._form = form
        self._public = _BETWEEN.join(form(value) for value in public)
        self._grams: set[int] = set()
        self._ways: dict[int, bytes] = {}
        self._needles: list[bytes] = []

    def add(self, spelling: bytes, run: int) -> None:
        text = self._form(spelling)
        for way in (text, text[::-1]):
            if len(way) >= run:
                self._ways[run] = self._ways.get(run, b"") + _BETWEEN + way
                # Of two samples of a text one lies in the first half of each sixteen places here.
                firsts, step = (_STEP, 2 * _STEP) if run >= _TWO_SAMPLES else (_GRAM, _GRAM)
                for first in range(min(firsts, len(way) - _GRAM + 1)):
                    self._grams.update(_samples(way, first, step))
            elif len(way) >= SHORTEST - 2:
                self._needles.append(way)

    def strikes(self, view: bytes) -> bool:
        if not self._grams and not self._needles:
            return False
        text = self._form(view)
        return any(needle in text for needle in self._needles) or bool(self._grams and self._holds_run(text))

    def _holds_run(self, text: bytes) -> bool:
        samples = _samples(text, 0, _STEP)
        left = _MOST_CANDIDATES + len(text) // _CHARACTERS_FOR_ONE
        for first in range(0, len(samples), _BLOCK):
            block = samples[first : first + _BLOCK]
            if self._grams.isdisjoint(block):
                continue
            for at, sample in enumerate(block, first):
                if sample in self._grams:
                    left -= 1
                    if left < 0 or self._is_run(text, at * _STEP):
                        return True
        return False

    def _is_run(self, text: bytes, place: int) -> bool:
        # A run around the sample goes on for a sample's length at least, to one side or the other.
        sides = text[max(0, place - _GRAM) : place + _GRAM], text[place : place + 2 * _GRAM]
        if not any(side in ways for ways in self._ways.values() for side in sides):
            return False
        return any(
            len(piece) == run and piece in ways and piece not in self._public and piece[::-1] not in self._public
            for run, ways in self._ways.items()
            for start in range(max(0, place + _GRAM - run), place + 1)
            for piece in (text[start : start + run],)
        )


def _samples(text: bytes, first: int, step: int) -> memoryview:
    """The whole samples at `first`, `first + step` and so on, as numbers."""
    end = first + (len(text) - first) // _GRAM * _GRAM
    return memoryview(text)[first : max(first, end)].cast("I")[:: step // _GRAM]


def _alnum(data: bytes) -> bytes:
    return data.translate(_NUMBERED, _NOT_ALNUM)


def _graphic(data: bytes) -> bytes:
    return data.translate(_LOWER, _NOT_GRAPHIC)


def _is_sparse(secret: bytes) -> bool:
    """Whether some twelve characters of it have too few letters and digits to be known by these alone."""
    return any(len(_alnum(secret[at : at + RUN])) < _LEAST_RUN for at in range(max(1, len(secret) - RUN + 1)))


def _spellings(secret: bytes) -> Iterator[tuple[bytes, int]]:
    """The spellings that are known without undoing them, each with the run that counts."""
    yield secret, _LEAST_RUN
    yield secret.hex().encode(), 2 * _LEAST_RUN
    for before in range(3):
        whole = base64.b64encode(bytes(before) + secret)
        yield whole[(0, 2, 3)[before] : (before + len(secret)) * 8 // 6], _LEAST_RUN
    once = quote(secret, safe="").encode()
    if once != secret:
        yield once, _LEAST_RUN
        yield quote(once, safe="").encode(), _LEAST_RUN


def _maskable(secret: str) -> Iterator[bytes]:
    once = quote(secret, safe="")
    lower = re.sub("%[0-9A-F]{2}", lambda found: found[0].lower(), once)
    yield from (spelt.encode() for spelt in dict.fromkeys((secret, once, lower, secret.replace("/", "\\/"))))


def _views(data: bytes) -> Iterator[bytes]:
    """The text, and all that comes of undoing spellings in it, one inside the other."""
    seen, layer = {data}, [data]
    yield data
    for _ in range(_DEEPEST):
        below: list[bytes] = []
        for view in layer:
            for undo in _UNDO:
                found = undo(view)
                if found and found not in seen:
                    seen.add(found)
                    below.append(found)
                    yield found
                    if len(seen) > _MOST_VIEWS:
                        return
        layer = below


def _unescaped(data: bytes) -> bytes | None:
    """`None` where there is nothing to undo."""
    text = _undone(data, (((b"%", b"\\", b"&"), _ESCAPE),))
    return None if text == data else text


def _undone(text: bytes, escapes: _Escapes) -> bytes:
    """Without these escapes; the same object where there are none."""
    for _ in range(_MOST_ROUNDS):
        found = [
            one for hints, escape in escapes if any(hint in text for hint in hints) for one in escape.finditer(text)
        ]
        if not found:
            break
        parts, done = list[bytes](), 0
        for one in sorted(found, key=re.Match.start):
            if one.start() >= done:
                parts += text[done : one.start()], _character(one)
                done = one.end()
        parts.append(text[done:])
        before, text = text, b"".join(parts)
        if text == before:
            return before
    return text


def _character(found: re.Match[bytes]) -> bytes:
    kind, said = found.lastgroup, found[found.lastindex or 0]
    if kind == "decimal":
        number = int(said)
        return bytes((number,)) if number < 128 else b" "
    if kind == "name":
        return _NAMED.get(said, found[0])
    return b" " if kind == "blank" else bytes((int(said, 16),))


def _unescaped_once(data: bytes) -> bytes | None:
    text, found = _ESCAPE_ONCE.subn(_character, data)
    return text if found else None


def _base64s(data: bytes) -> bytes | None:
    parts: list[bytes] = []
    for run in _BASE64.findall(data):
        text = run.translate(_STANDARD)
        parts += [binascii.a2b_base64(text[at : at + (len(text) - at) // 4 * 4]) for at in range(4)]
    return b" ".join(parts) or None


_STANDARD = bytes.maketrans(b"-_", b"+/")


def _long_runs(data: bytes) -> bytes:
    """What the long runs of letters, digits and the signs of base64 stand for, in base64 and in hexadecimal."""
    runs = [data[slice(*found.span())] for found in _LONG_RUN.finditer(data.translate(_IN_RUNS))]
    # Whole groups of four, so that each run is read as if it stood alone.
    groups = b"".join([run[: len(run) & ~3] for run in runs])
    parts = [binascii.a2b_base64(groups.translate(_STANDARD))]
    parts += [binascii.unhexlify(run[: len(run) & ~1]) for run in runs if not run.translate(None, _HEX_DIGITS)]
    return b" ".join(parts)


_HEX_DIGITS = b"0123456789abcdefABCDEF"


def _hexes(data: bytes) -> bytes | None:
    parts: list[bytes] = []
    for run in _HEX.findall(data):
        even = len(run) // 2 * 2
        parts.append(binascii.unhexlify(run[:even]))
        if even < len(run):
            parts.append(binascii.unhexlify(run[1:]))
        else:
            parts.append(binascii.unhexlify(run[1:-1]))
    return b" ".join(parts) or None


def _closed_up(data: bytes) -> bytes | None:
    """Without what may have been put between the characters."""
    closed = data.translate(None, b" \t\r\n\v\f\0.,:|~*'\"")
    return None if closed == data else closed


def _without_dashes(data: bytes) -> bytes | None:
    return data.translate(None, b" -_") if b"-" in data or b"_" in data else None


def _backwards(data: bytes) -> bytes:
    return data[::-1]


def _usual_letters(data: bytes) -> bytes | None:
    if data.isascii():
        return None
    return unicodedata.normalize("NFKC", data.decode("utf-8", "replace")).encode()


_UNDO = (_unescaped, _unescaped_once, _base64s, _hexes, _closed_up, _without_dashes, _backwards, _usual_letters)


NOTHING = Redactor(())
"""For what was made without a secret."""


@lru_cache(maxsize=256)
def redactor(secrets: tuple[str, ...], public: tuple[str, ...] = ()) -> Redactor:
    """The one for these secrets; those of the credentials that are used the most are kept."""
    return Redactor(secrets, public)
