"""Every answer held against the document that the API serves: its status, its type, its shape, and no field that is not described."""

import copy
import re
from functools import cached_property, lru_cache
from typing import Any

import falcon.testing
from jsonschema import Draft202012Validator, FormatChecker

from api.access import App
from api.openapi import document

OPEN_ENDED = frozenset({"Thing", "OpenApiDocument", "AsyncApiDocument", "JsonSchema"})
"""Lists that are read along with a thing come under their own names; the rest of the documents is that of their specifications."""


MADE: dict[frozenset[tuple[str, type]], "Promises"] = {}
"""What was made once: a document and its validators take longer than most calls."""


def promises_of(app: App) -> "Promises":
    """Those of all applications with the same resources."""
    resources = frozenset((path, type(resource)) for path, resource in app.resources.items())
    if resources not in MADE:
        MADE[resources] = Promises(app)
    return MADE[resources]


class Promises:
    """What an application says of its answers."""

    def __init__(self, app: App) -> None:
        self.document = document(app.resources)
        # Literal segments come before parameters, as in the router.
        paths = sorted(self.document["paths"], key=lambda path: [part.startswith("{") for part in path.split("/")])
        hidden = (path for path, resource in app.resources.items() for call in resource.calls.values() if call.hidden)
        self._hidden = frozenset(hidden)
        self._routes = [(re.compile(re.sub(r"{\w+}", "[^/]+", path)), path) for path in paths]
        self.validator = lru_cache(maxsize=None)(self._validator)

    @cached_property
    def _components(self) -> dict[str, Any]:
        """In which what is not described is wrong."""
        made = copy.deepcopy(self.document["components"])
        for name, shape in made["schemas"].items():
            if "properties" in shape and name not in OPEN_ENDED:
                shape.setdefault("additionalProperties", False)
        return made

    def _validator(self, reference: str) -> Draft202012Validator:
        schema = {"$ref": reference, "components": self._components}
        return Draft202012Validator(schema, format_checker=FormatChecker(["date-time"]))

    def broken(self, method: str, path: str, status: int, kind: str, body: Any) -> list[str]:
        """Where an answer is not as it is described."""
        plain = path.partition("?")[0]
        if plain in self._hidden:
            return []
        found = next((known for pattern, known in self._routes if pattern.fullmatch(plain)), "")
        operation = self.document["paths"].get(found, {}).get(method.lower())
        if operation is None:
            return [] if status in (401, 404, 405, 429) else [f"{method} {path} is not described and answers {status}"]
        refusal = operation["responses"]["default"] if status >= 400 else None
        response = operation["responses"].get(str(status)) or refusal
        if response is None:
            return [f"{status} is not among the answers of {method} {found}"]
        content = response.get("content", {})
        if not content:
            return []
        if kind not in content:
            return [f"{kind} is not among the types of {method} {found} {status}"]
        if "json" not in kind or method == "HEAD":
            return []
        wrong = self.validator(content[kind]["schema"]["$ref"]).iter_errors(body)
        return [f"{method} {found} {status} {error.json_path}: {error.message}" for error in wrong]


class Promised(falcon.testing.ASGIConductor):
    """Fails where an answer breaks what the document promises."""

    def __init__(self, app: App, **options: Any) -> None:
        super().__init__(app, **options)
        self.promises = promises_of(app)

    async def simulate_request(self, method: str, path: str = "/", **options: Any) -> Any:  # type: ignore[override]
        result = await super().simulate_request(method, path, **options)
        kind = (result.headers.get("content-type") or "").partition(";")[0]
        body = result.json if kind.endswith("json") and result.content else None
        assert self.promises.broken(method, path, result.status_code, kind, body) == []
        return result
