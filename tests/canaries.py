"""Secrets that can be found again in whatever spelling, the cases that an answer is tried in, and a search that undoes spellings by hand.

Nothing here uses `beat_actors.redaction`: the search has to find what the engine overlooks.
"""

import base64
import html
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any
from urllib.parse import unquote

from beat_actors.platforms.interface import Answer, FetchSpec, Flow, Platform, Source
from beat_actors.platforms.registry import platforms
from tests.conformance.recordings import of_platforms
from tests.spellings import SPELLINGS

CORE = "Xq/7Zp+Kd9w=Rt4Lm2Vb8Ys6Hj5Nc/3Gf1Tz"
NUMBER = re.compile(r"k(\d{5})z")
"""What every canary begins with: the number of its case."""
RECORDED = dict(of_platforms())
LOOKED_FOR = 11
"""Letters and digits in a row: twelve characters of the core have at least as many."""
_KNOWN = re.sub(r"[^a-z0-9]", "", CORE.lower())
_PIECES = [_KNOWN[at : at + LOOKED_FOR] for at in range(len(_KNOWN) - LOOKED_FOR + 1)]
_NEEDLE = re.compile("|".join(_PIECES + [piece[::-1] for piece in _PIECES]))


@dataclass(frozen=True)
class Target:
    """A field of a form of a source's secret, and the call whose answer repeats it: `use`, `check` or `refresh`."""

    platform: str
    source: str
    form: tuple[str, ...]
    field: str
    call: str


@dataclass(frozen=True)
class Case:
    number: int
    target: Target
    spelling: str
    place: str

    def value(self, field: str) -> str:
        """The secret that stands in a field, another one in each."""
        return f"k{self.number:05}z{field[::-1][:4]}{CORE}"

    @property
    def source(self) -> Source:
        return platforms()[self.target.platform].sources[self.target.source]

    @property
    def secret(self) -> dict[str, str]:
        """What people give; a field that the source declares as public has a value that fits."""
        public = RECORDED[self.target.platform].PUBLIC_FIELDS
        return {
            name: public[name] if name in self.source.public_fields else self.value(name) for name in self.target.form
        }

    @property
    def spelt(self) -> str:
        return SPELLINGS[self.spelling](self.value(self.target.field))


def targets() -> list[Target]:
    """Every field that is secret, in every call that a source makes with it, as the sources declare them."""
    found = []
    for platform in platforms().values():
        for source in platform.sources.values():
            for form in source.secret_forms():
                brought = renewed(platform, source) if source.is_refreshed(dict.fromkeys(form, "")) else {}
                fields = [name for name in (*form, *brought) if name not in source.public_fields]
                calls = ["use"] + ["check"] * bool(source.check) + ["refresh"] * bool(brought)
                found += [Target(platform.name, source.name, form, name, call) for name, call in product(fields, calls)]
    return found


def renewed(platform: Platform, source: Source) -> dict[str, str]:
    """The fields that a refresh brings, with their recorded values."""
    assert source.refresh is not None
    return dict(source.refresh.read(Answer(200, {}, RECORDED[platform.name].RENEWED[source.name])).fields)


def covering(aims: list[Target], spellings: list[str], places: list[str]) -> list[Case]:
    """Cases in which every two values of different kinds meet at least once."""
    found, pairs = [], set()

    def add(aim: int, spelling: int, place: int) -> None:
        pairs.update({("as", aim, spelling), ("ap", aim, place)})
        found.append(Case(len(found), aims[aim], spellings[spelling], places[place]))

    for spelling, place in product(range(len(spellings)), range(len(places))):
        options = range(len(aims))
        best = max(
            options,
            key=lambda aim: (
                (("as", aim, spelling) not in pairs) + (("ap", aim, place) not in pairs),
                (aim + spelling + place) % len(aims),
            ),
        )
        add(best, spelling, place)
    for aim, spelling in product(range(len(aims)), range(len(spellings))):
        if ("as", aim, spelling) not in pairs:
            add(
                aim,
                spelling,
                next((p for p in range(len(places)) if ("ap", aim, p) not in pairs), spelling % len(places)),
            )
    for aim, place in product(range(len(aims)), range(len(places))):
        if ("ap", aim, place) not in pairs:
            add(aim, place % len(spellings), place)
    return found


def asked_for(platform: Platform, source: Source) -> tuple[Flow, dict[str, Any], bytes]:
    """A flow whose first call can go to the source by itself, its parameters, and a recorded good answer; empty where none is recorded."""
    recorded = RECORDED[platform.name]
    tried = [(one.params, one.body()) for one in recorded.GOOD if one.source == source.name]
    for params, body in [*tried, (recorded.PARAMS, b"")]:
        for flow in platform.flows.values():
            names = [field for field in flow.params.__struct_fields__ if field in params]
            try:
                spec = flow.first(flow.validate({name: params[name] for name in names}))
            except Exception:
                continue
            if _goes_there(platform, source, spec):
                return flow, {name: params[name] for name in names}, body
    raise AssertionError(f"no flow begins at {source.name}")


def _goes_there(platform: Platform, source: Source, spec: FetchSpec) -> bool:
    public = RECORDED[platform.name].PUBLIC_FIELDS
    is_alone = source.name in platform.chains[spec.operation] and source.endpoints[spec.operation].many is None
    return is_alone and spec.owner in (None, *public.values())


def hits(texts: Iterable[str]) -> list[str]:
    """Those of the texts that hold a run of the core, in any spelling."""
    distinct = list(dict.fromkeys(texts))
    return [text for text in distinct if any(_NEEDLE.search(_squeezed(view)) for view in _views(text))]


def _squeezed(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "", text.lower())


def _views(text: str) -> Iterator[str]:
    """The text, without its escapes, and what base64 and hexadecimal in it stand for."""
    plain = text
    for _ in range(4):
        yield plain
        yield from _decoded(plain)
        undone = html.unescape(unquote(re.sub(r"\\+u00([0-9a-fA-F]{2})", r"%\1", plain)))
        if undone == plain:
            break
        plain = undone


def _decoded(text: str) -> Iterator[str]:
    for joined in (text, re.sub(r"(\s|\\n|\\)+", "", text)):
        for run in re.findall(r"[A-Za-z0-9+/_-]{16,}", joined):
            standard = run.replace("-", "+").replace("_", "/")
            for at in range(4):
                part = standard[at:]
                yield base64.b64decode(part[: len(part) // 4 * 4]).decode("latin-1")
    for run in re.findall(r"[0-9a-fA-F]{22,}", re.sub(r"[:\s]", "", text)):
        for at in (0, 1):
            yield bytes.fromhex(run[at : at + (len(run) - at) // 2 * 2]).decode("latin-1")
