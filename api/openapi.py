"""/openapi.json: an OpenAPI 3.1 document of each route that is served."""

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from importlib.metadata import version
from inspect import cleandoc
from typing import Any

import msgspec
from falcon.asgi import Request, Response

from api.access import OPEN, PUBLIC, Scopes
from api.calls import Call, Calls, answer
from api.examples import PARAMETERS, SCHEMAS
from api.naming import DATA, TAGS, operation_id, tag_of
from api.problems import STATUS
from beat_actors.access.scopes import Scope

NUMBERS = frozenset({"request_id", "credential_id", "entry_id", "held_id", "alert_id", "webhook_id", "delivery_id"})
REF = "#/components/schemas/{name}"


class Problem(msgspec.Struct, frozen=True):
    """What went wrong (RFC 9457). `type` is stable, `detail` says what to do, `field` names the part of the call that is at fault."""

    type: str
    title: str
    status: int
    detail: str
    field: str | None = None
    code: int | None = None
    limit: str | None = None
    retry_after: int | None = None


PROBLEM: dict[str, Any] = {
    "description": "Any other problem: " + ", ".join(str(status) for status in sorted({*STATUS.values(), 405, 500})),
    "content": {"application/problem+json": {"schema": {"$ref": REF.format(name="Problem")}}},
}
AGAIN = {"Retry-After": "Seconds after which to try again."}
RATES = {
    "RateLimit-Limit": "Calls per minute that the key may make, or the size of the limit that refused.",
    "RateLimit-Remaining": "Calls that are left.",
    "RateLimit-Reset": "Seconds until the window resets.",
}
SUCCESS = {
    200: "The call succeeded.",
    201: "Created. `Location` names what was created.",
    202: "Accepted. The work continues; `Location` and `Retry-After` say where and when to look.",
    206: "The part that `Range` names.",
    302: "`Location` names where the content lies.",
    304: "Not modified: the caller has this answer already.",
}
REFUSED = {
    400: "The call is invalid; `field` names the part that is wrong.",
    401: "The API key is missing or invalid.",
    403: "The API key lacks the scope, or belongs to another account.",
    404: "Not found, or the key may not see it.",
    429: "Too many calls, or a limit has no room. Nothing was done.",
    503: "A dependency is unavailable, or no fresh data can be given. Try again after `Retry-After`.",
}
SUMMARY = """Beat collects social and commerce data through competing API providers. Each answer says how old its data is.

Create a request with `POST /v1/scrape-requests`, wait for it with `?wait=`, and read stored data under `/v1/profiles`, `/v1/posts` and the
other kinds. Every call needs `Authorization: Bearer KEY`; `beat keys create NAME --scope submit` makes a key. Errors are `application/problem+json`:
`type` is stable, `detail` says what to do, `field` names the part that is wrong.

[asyncapi.json](asyncapi.json) describes the events that Beat sends, and [schemas](schemas) lists the JSON Schemas of their data."""
Resources = Mapping[str, Any]


def document(resources: Resources) -> dict[str, Any]:
    """The document that describes these resources, by their paths."""
    described = list(_described(resources))
    types = [Problem, *(shape for *_, call in described for shape in _types(call))]
    schemas, components = msgspec.json.schema_components(types, ref_template=REF)
    shown = {repr(kind): schema for kind, schema in zip(types, schemas, strict=True)}
    _date(zip(msgspec.inspect.multi_type_info(types), schemas, strict=True), components)
    for shape in (*schemas, *components.values()):
        _give_items(shape)
    for shape in components.values():
        if "description" in shape:
            shape["description"] = cleandoc(shape["description"])  # Markdown shows lines that are indented as code
    for name, shape in SCHEMAS.items():
        if name in components:
            components[name]["examples"] = [shape]
    paths: dict[str, dict[str, Any]] = {}
    tags: dict[str, None] = {}
    for tag, path, method, scope, call in described:
        tags[tag] = None
        paths.setdefault(path, {})[method.lower()] = _operation(path, method, scope, call, shown) | {"tags": [tag]}
    texts = {tag.name: tag.description for tag in TAGS}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Beat",
            "version": version("beat-actors"),
            "description": SUMMARY,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/", "description": "The server that this document comes from."}],
        "tags": [{"name": tag, "description": texts.get(tag, tag)} for tag in tags],
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {
                "key": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "A key that `beat keys create NAME --scope submit` made, with a scope for what it may do: "
                    + ", ".join(scope.value for scope in Scope),
                }
            },
        },
        "security": [{"key": []}],
    }


def _described(resources: Resources) -> Iterator[tuple[str, str, str, Any, Call]]:
    """Each operation with its tag, in the order of use: by tag, then from short paths to long ones."""
    order = [tag.name for tag in TAGS]
    kinds = frozenset(path.split("/")[2] for path in resources if path.endswith("/{platform}/{name}"))

    def place(path: str) -> tuple[int, str, str]:
        tag = tag_of(path, kinds)
        first = "" if path.startswith("/v1/profiles") else path
        return order.index(tag) if tag in order else len(order), first if tag == DATA else tag, path

    for path in sorted(resources, key=place):
        calls: Calls = resources[path].calls
        scopes: Scopes = resources[path].scopes
        for method, call in calls.items():
            if call.hidden:
                continue
            yield tag_of(path, kinds), path, method, scopes[method], call


def _types(call: Call) -> list[Any]:
    bodies = [body for body in (call.body, call.either) if body is not None]
    answers = [shape for shape in (*call.answers.values(), *call.refusals.values()) if shape is not None]
    return [*bodies, *answers, *call.query.values()]


def _operation(path: str, method: str, scope: Any, call: Call, shown: Mapping[str, Any]) -> dict[str, Any]:
    names = re.findall(r"{(\w+)}", path)
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": _segment(name)} | _about(name) for name in names
    ]
    parameters += [
        {"name": name, "in": "query", "required": name in call.needs, "schema": shown[repr(kind)]} | _about(name)
        for name, kind in call.query.items()
    ]
    if call.tagged:
        parameters.append(TAGGED)
    parameters += [
        {"name": name, "in": "header", "required": False, "description": text, "schema": {"type": "string"}}
        for name, text in call.headers.items()
    ]
    headers = {"headers": _headers(call.answer_headers)} if call.answer_headers else {}
    responses = {
        str(status): _response(shape, shown, SUCCESS[status]) | headers for status, shape in call.answers.items()
    }
    if scope != OPEN:
        wrong = [400, 401, 403, *([404] if names else [])]
        responses |= {str(status): PROBLEM | {"description": REFUSED[status]} for status in wrong}
        responses |= {
            "429": PROBLEM | {"description": REFUSED[429], "headers": _headers(RATES | AGAIN)},
            "503": PROBLEM | {"description": REFUSED[503], "headers": _headers(AGAIN)},
        }
    for status, kinds in call.media.items():
        known = responses.get(str(status), PROBLEM | {"description": REFUSED.get(status, "")})
        content = {kind: {"schema": {"type": "string"} | _format_of(kind)} for kind in kinds}
        responses[str(status)] = known | {"content": content | known.get("content", {})}
    for status, shape in call.refusals.items():
        refused = _response(shape, shown, REFUSED[status])
        known = responses.get(str(status), {})
        responses[str(status)] = known | refused | {"content": refused["content"] | PROBLEM["content"]}
    responses["default"] = PROBLEM
    if method == "HEAD":  # its answers have no body, whatever their status
        responses = {status: {k: v for k, v in one.items() if k != "content"} for status, one in responses.items()}
    found: dict[str, Any] = {
        "operationId": operation_id(method, path, call),
        "summary": call.does,
        "parameters": parameters,
        "responses": responses,
    }
    if scope == OPEN:
        found["security"] = []
    elif scope == PUBLIC:
        found["security"] = [{}, {"key": []}]
        found["description"] = (
            f"Needs no key for public data. A key with the scope `{Scope.READ}` also gets what it may see of owners; any other valid key gets public data."
        )
    else:
        found["description"] = f"Needs a key with the scope `{scope}`."
    if call.body is not None:
        body = shown[repr(call.body)]
        schema = body if call.either is None else {"anyOf": [body, shown[repr(call.either)]]}
        found["requestBody"] = {"required": not call.optional, "content": {"application/json": {"schema": schema}}}
    return found


def _about(name: str) -> dict[str, Any]:
    """What is said of a parameter."""
    text, example = PARAMETERS.get(name, (f"The number of `{name}` that come with the answer.", 12))
    return {"description": text} | ({} if example is None else {"example": example})


TAGGED: dict[str, Any] = {
    "name": "tags",
    "in": "query",
    "required": False,
    "description": "Only requests that carry these tags: `tag.NAME=VALUE`, up to 5, such as `tag.campaign=spring`.",
    "style": "form",
    "explode": True,
    "schema": {"type": "object", "additionalProperties": {"type": "string"}, "maxProperties": 5},
    "example": {"tag.campaign": "spring"},
}


def _headers(headers: Mapping[str, str]) -> dict[str, Any]:
    return {name: {"description": text, "schema": {"type": "string"}} for name, text in headers.items()}


def _date(
    kinds: Iterable[tuple[msgspec.inspect.Type, dict[str, Any]]], components: Mapping[str, dict[str, Any]]
) -> None:
    """Give every time the format `date-time`. msgspec gives it only to times that must have a zone, and all times in answers have one."""
    seen: set[type] = set()
    left = list(kinds)
    while left:
        kind, schema = left.pop()
        if isinstance(kind, msgspec.inspect.Metadata):
            left.append((kind.type, schema))
        elif isinstance(kind, msgspec.inspect.DateTimeType):
            schema["format"] = "date-time"
        elif isinstance(kind, msgspec.inspect.UnionType):
            left += [(part, each) for part in kind.types for each in schema.get("anyOf", [schema]) if _fits(part, each)]
        elif isinstance(kind, msgspec.inspect.ListType):
            left.append((kind.item_type, schema.get("items", {})))
        elif isinstance(kind, msgspec.inspect.DictType):
            left.append((kind.value_type, schema.get("additionalProperties", {})))
        elif isinstance(kind, msgspec.inspect.StructType) and kind.cls not in seen:
            seen.add(kind.cls)
            made = components[schema["$ref"].rpartition("/")[2]].get("properties", {})
            left += [(each.type, made[each.encode_name]) for each in kind.fields if each.encode_name in made]


def _give_items(schema: Any) -> None:
    """Give every list without a type of its items one that allows any, since some generators refuse a list that names none."""
    if isinstance(schema, dict):
        if schema.get("type") == "array":
            schema.setdefault("items", {})
        for part in schema.values():
            _give_items(part)
    elif isinstance(schema, list):
        for part in schema:
            _give_items(part)


def _fits(kind: msgspec.inspect.Type, schema: Mapping[str, Any]) -> bool:
    """Whether the schema describes this part of a union."""
    if isinstance(kind, msgspec.inspect.StructType):
        return "$ref" in schema
    if isinstance(kind, msgspec.inspect.DateTimeType):
        return schema.get("type") == "string"
    wanted = "array" if isinstance(kind, msgspec.inspect.ListType) else "object"
    return isinstance(kind, msgspec.inspect.ListType | msgspec.inspect.DictType) and schema.get("type") == wanted


def _segment(name: str) -> dict[str, Any]:
    if name in NUMBERS:
        return {"type": "integer", "format": "int64", "minimum": 0, "maximum": 2**63 - 1}
    return {"type": "string", "minLength": 1, "maxLength": 255}


def _format_of(media: str) -> dict[str, Any]:
    """What is not text is bytes."""
    return {} if media.startswith("text/") or media == "application/openmetrics-text" else {"format": "binary"}


def _response(shape: Any, shown: Mapping[str, Any], text: str) -> dict[str, Any]:
    if shape is None:
        return {"description": text}
    return {"description": text, "content": {"application/json": {"schema": shown[repr(shape)]}}}


class Document:
    """GET: the document. It is made once, from the routes that the application serves."""

    scopes: Scopes = {"GET": OPEN}
    calls: Calls = {
        "GET": Call(
            "Get this document.",
            {200: answer("OpenApiDocument", openapi=str, info=dict, paths=dict)},
            named="get_openapi_document",
        )
    }

    def __init__(self, resources: Resources) -> None:
        self._resources = resources

    @cached_property
    def made(self) -> dict[str, Any]:
        return document(self._resources)

    @cached_property
    def _encoded(self) -> bytes:
        return msgspec.json.encode(self.made)

    async def on_get(self, _req: Request, resp: Response) -> None:
        resp.content_type = "application/json"
        resp.data = self._encoded
