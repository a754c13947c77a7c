"""/openapi.json, an OpenAPI 3.1 document of each route that is served, and /docs, the same as a page for people."""

import html
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from importlib.metadata import version
from typing import Any

import msgspec
from falcon.asgi import Request, Response

from api.access import OPEN, Scopes
from api.calls import Call, Calls, answer
from api.problems import STATUS
from beat_actors.access.scopes import Scope

NUMBERS = frozenset({"request_id", "credential_id", "entry_id", "alert_id", "webhook_id", "delivery_id"})
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
    "description": "A problem: " + ", ".join(str(status) for status in sorted({*STATUS.values(), 405, 500})),
    "content": {"application/problem+json": {"schema": {"$ref": REF.format(name="Problem")}}},
}
AGAIN = {"Retry-After": "Seconds after which to try again."}
RATES = {
    "RateLimit-Limit": "Calls a minute that the key has, or what the limit holds that refused.",
    "RateLimit-Remaining": "What is left of it.",
    "RateLimit-Reset": "Seconds until more is.",
}
Resources = Mapping[str, Any]


def document(resources: Resources) -> dict[str, Any]:
    """The document that describes these resources, by their paths."""
    described = list(_described(resources))
    types = [Problem, *(shape for *_, call in described for shape in _types(call))]
    schemas, components = msgspec.json.schema_components(types, ref_template=REF)
    shown = {repr(kind): schema for kind, schema in zip(types, schemas, strict=True)}
    _date(zip(msgspec.inspect.multi_type_info(types), schemas, strict=True), components)
    paths: dict[str, dict[str, Any]] = {}
    for path, method, scope, call in described:
        paths.setdefault(path, {})[method.lower()] = _operation(path, method, scope, call, shown)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Beat",
            "version": version("beat-actors"),
            "description": "Social and commerce data, collected through rival providers, with a freshness contract.",
        },
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


def _described(resources: Resources) -> Iterator[tuple[str, str, Any, Call]]:
    for path, resource in sorted(resources.items()):
        calls: Calls = resource.calls
        scopes: Scopes = resource.scopes
        for method, call in calls.items():
            yield path, method, scopes[method], call


def _types(call: Call) -> list[Any]:
    bodies = [body for body in (call.body, call.either) if body is not None]
    answers = [shape for shape in (*call.answers.values(), *call.refusals.values()) if shape is not None]
    return [*bodies, *answers, *call.query.values()]


def _operation(path: str, method: str, scope: Any, call: Call, shown: Mapping[str, Any]) -> dict[str, Any]:
    names = re.findall(r"{(\w+)}", path)
    parameters = [{"name": name, "in": "path", "required": True, "schema": _segment(name)} for name in names]
    parameters += [
        {"name": name, "in": "query", "required": name in call.needs, "schema": shown[repr(kind)]}
        for name, kind in call.query.items()
    ]
    parameters += [
        {"name": name, "in": "header", "required": False, "description": text, "schema": {"type": "string"}}
        for name, text in call.headers.items()
    ]
    told = {"headers": _headers(call.tells)} if call.tells else {}
    responses = {str(status): _response(shape, shown, "Done") | told for status, shape in call.answers.items()}
    if scope != OPEN:
        responses |= {
            "429": PROBLEM | {"headers": _headers(RATES | AGAIN)},
            "503": PROBLEM | {"headers": _headers(AGAIN)},
        }
    for status, shape in call.refusals.items():
        refused = _response(shape, shown, "Refused")
        known = responses.get(str(status), {})
        responses[str(status)] = known | refused | {"content": refused["content"] | PROBLEM["content"]}
    found: dict[str, Any] = {
        "operationId": "_".join([method.lower(), *re.findall(r"\w+", path.removeprefix("/v1"))]).replace("-", "_"),
        "summary": call.does,
        "tags": [path.removeprefix("/v1").strip("/").partition("/")[0] or "docs"],
        "parameters": parameters,
        "responses": responses | {"default": PROBLEM},
    }
    if scope == OPEN:
        found["security"] = []
    else:
        found["description"] = f"Needs a key with the scope `{scope}`."
    if call.body is not None:
        body = shown[repr(call.body)]
        schema = body if call.either is None else {"anyOf": [body, shown[repr(call.either)]]}
        found["requestBody"] = {"required": not call.optional, "content": {"application/json": {"schema": schema}}}
    return found


def _headers(told: Mapping[str, str]) -> dict[str, Any]:
    return {name: {"description": text, "schema": {"type": "string"}} for name, text in told.items()}


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


def _response(shape: Any, shown: Mapping[str, Any], text: str) -> dict[str, Any]:
    if shape is None:
        return {"description": text}
    return {"description": text, "content": {"application/json": {"schema": shown[repr(shape)]}}}


class Document:
    """GET: the document. It is made once, from the routes that the application serves."""

    scopes: Scopes = {"GET": OPEN}
    calls: Calls = {"GET": Call("This document.", {200: answer("Document", openapi=str, info=dict, paths=dict)})}

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


class Page:
    """GET: the document as a page. It is made once too, because its callers need no key and have no rate."""

    scopes: Scopes = {"GET": OPEN}
    calls: Calls = {"GET": Call("This document, to read.", {200: None})}

    def __init__(self, document: Document) -> None:
        self._document = document

    @cached_property
    def _encoded(self) -> bytes:
        return page(self._document.made).encode()

    async def on_get(self, _req: Request, resp: Response) -> None:
        resp.content_type = "text/html; charset=utf-8"
        resp.set_header(
            "Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"
        )
        resp.data = self._encoded


STYLE = """
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }
body { max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
code, pre { font-family: ui-monospace, monospace; font-size: .9em; }
pre { overflow-x: auto; padding: .75rem; border: 1px solid #8884; border-radius: .4rem; }
details { border-top: 1px solid #8884; padding: .5rem 0; }
summary { cursor: pointer; }
summary b { display: inline-block; width: 4.5rem; }
table { border-collapse: collapse; } td, th { text-align: left; padding: .2rem 1rem .2rem 0; vertical-align: top; }
nav a { margin-right: 1rem; } .dim { opacity: .7; }
"""


def page(made: Mapping[str, Any]) -> str:
    """The whole document as one page without a script."""
    tags: dict[str, list[str]] = {}
    for path, methods in made["paths"].items():
        for method, operation in methods.items():
            tags.setdefault(operation["tags"][0], []).append(_shown(path, method, operation))
    links = "".join(f'<a href="#{_text(tag)}">{_text(tag)}</a> ' for tag in tags)
    parts = "".join(f'<h2 id="{_text(tag)}">{_text(tag)}</h2>{"".join(found)}' for tag, found in tags.items())
    shapes = "".join(
        f'<details id="shape-{_text(name)}"><summary><code>{_text(name)}</code> '
        f'<span class="dim">{_text(shape.get("description", "").partition(chr(10))[0])}</span></summary>{_json(shape)}</details>'
        for name, shape in sorted(made["components"]["schemas"].items())
    )
    info = made["info"]
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>The API of {_text(info['title'])}</title><style>{STYLE}</style>"
        f"<h1>The API of {_text(info['title'])} <span class=dim>{_text(info['version'])}</span></h1>"
        f"<p>{_text(info['description'])} For programs: <a href=/openapi.json>openapi.json</a>.</p>"
        f"<nav>{links}<a href=#shapes>shapes</a></nav>{parts}<h2 id=shapes>shapes</h2>{shapes}</html>"
    )


def _shown(path: str, method: str, operation: Mapping[str, Any]) -> str:
    rows = "".join(
        f"<tr><td><code>{_text(each['name'])}</code><td>{_text(each['in'])}{', needed' if each['required'] else ''}"
        f"<td>{_kind(each['schema'])}<td>{_text(each.get('description', ''))}"
        for each in operation["parameters"]
    )
    body = operation.get("requestBody")
    taken = "" if body is None else f"<p>Takes {_kind(body['content']['application/json']['schema'])}"
    answers = "".join(
        f"<tr><td>{_text(status)}<td>{_content(response)}" for status, response in operation["responses"].items()
    )
    return (
        f"<details><summary><b>{_text(method.upper())}</b> <code>{_text(path)}</code> {_text(operation['summary'])}</summary>"
        f"<p class=dim>{_text(operation.get('description', 'Needs no key.'))}</p>"
        f"{f'<table>{rows}</table>' if rows else ''}{taken}<table>{answers}</table></details>"
    )


def _content(response: Mapping[str, Any]) -> str:
    found = [_kind(each["schema"]) for each in response.get("content", {}).values()]
    return ", ".join(found) or _text(response["description"])


def _kind(schema: Mapping[str, Any]) -> str:
    if "$ref" in schema:
        name = _text(schema["$ref"].rpartition("/")[2])
        return f'<a href="#shape-{name}"><code>{name}</code></a>'
    if "anyOf" in schema:
        return " or ".join(_kind(each) for each in schema["anyOf"])
    if schema.get("type") == "array":
        return f"a list of {_kind(schema.get('items', {}))}"
    bounds = [f"{word} {schema[name]}" for word, name in (("from", "minimum"), ("to", "maximum")) if name in schema]
    return _text(
        " ".join([*([str(schema["format"])] if "format" in schema else [str(schema.get("type", "any"))]), *bounds])
    )


def _json(shape: Any) -> str:
    return f"<pre>{_text(msgspec.json.format(msgspec.json.encode(shape), indent=2).decode())}</pre>"


def _text(value: str) -> str:
    return html.escape(value)
