"""Declarations of what each method of a resource takes and answers. /openapi.json is made of them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

import msgspec

Whole = Annotated[int, msgspec.Meta(ge=0)]
NO_BODY = None
FOLLOW = {
    "Location": "The path of the request, batch or entity that the answer is about.",
    "Retry-After": "Seconds to wait before the next call to that path.",
}


@dataclass(frozen=True, slots=True)
class Call:
    """One method. `does`: in a sentence. `answers`: the shape of each answer that is no problem, by its status; `None` for no body.

    `query`: the type of each parameter, none of which must be given unless `needs` names it. `body`: its shape. `optional`: it may
    be left out. `either`: another shape that it may have. `headers`: request headers and what they are for. `refusals`: the shape of
    refusals that need not come as a problem, by status. `answer_headers`: headers of successful answers, with their descriptions.
    `named`: the operation id, where the one that `api.naming` makes of the path reads badly. `tagged`: whether `tag.NAME` filters by tags.
    `media`: the types of answers that are not JSON, by status. `hidden`: the document leaves it out.
    """

    does: str
    answers: Mapping[int, Any]
    body: Any = NO_BODY
    optional: bool = False
    either: Any = NO_BODY
    query: Mapping[str, Any] = field(default_factory=dict)
    needs: frozenset[str] = frozenset()
    headers: Mapping[str, str] = field(default_factory=dict)
    refusals: Mapping[int, Any] = field(default_factory=dict)
    answer_headers: Mapping[str, str] = field(default_factory=dict)
    named: str = ""
    tagged: bool = False
    media: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
    hidden: bool = False


Calls = Mapping[str, Call]
"""By HTTP method. It stands as `calls` on each resource."""


def up_to(most: int, *, least: int = 0) -> Any:
    """The type of a parameter that is a whole number from `least` to `most`. The gate refuses any other value (`api.queries`)."""
    return Annotated[int, msgspec.Meta(ge=least, le=most)]


def answer(called: str, /, **fields: Any) -> Any:
    """The shape of an answer, declared where the answer is made. A field is given as its type, or as its type and its default."""
    typed = [(name, *kind) if isinstance(kind, tuple) else (name, kind) for name, kind in fields.items()]
    return msgspec.defstruct(called, typed, kw_only=True)
