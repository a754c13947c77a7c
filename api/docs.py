"""/docs: the document of the API as a page with search, examples and a way to try each call. The viewer is Swagger UI, vendored in `viewer/`."""

import asyncio
from pathlib import Path
from typing import Any

from falcon.asgi import Request, Response

from api.access import OPEN, Scopes
from api.calls import Call, Calls
from api.fixed import Fixed

VIEWER = Path(__file__).parent / "viewer"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""The viewer sets styles on elements. It loads nothing from elsewhere, and calls no other server than this one."""
PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Beat API</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="docs/swagger-ui.css">
<link rel="stylesheet" href="docs/page.css">
</head>
<body>
<div id="docs"></div>
<noscript>This page needs JavaScript. Programs read <a href="openapi.json">openapi.json</a>.</noscript>
<script src="docs/swagger-ui-bundle.js"></script>
<script src="docs/start.js"></script>
</body>
</html>
"""
TYPES = {".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8"}
FILES = ("swagger-ui-bundle.js", "swagger-ui.css", "start.js", "page.css")


class DocsPage:
    """GET: the page. Its links are relative, so that it also works behind a proxy that adds a prefix."""

    scopes: Scopes = {"GET": OPEN}
    calls: Calls = {"GET": Call("Show this document as a page.", {200: None}, named="get_docs")}

    async def on_get(self, _req: Request, resp: Response) -> None:
        resp.content_type = "text/html; charset=utf-8"
        resp.set_header("Content-Security-Policy", POLICY)
        resp.text = PAGE


class DocsFile:
    """GET: a file of the viewer."""

    scopes: Scopes = {"GET": OPEN}
    calls: Calls = {"GET": Call("Get a file of the viewer.", {200: None, 304: None}, hidden=True)}

    def __init__(self, name: str) -> None:
        self._path = VIEWER / name
        self._made: asyncio.Task[Fixed] | None = None

    async def on_get(self, req: Request, resp: Response) -> None:
        if self._made is None or (self._made.done() and self._made.exception() is not None):
            self._made = asyncio.create_task(asyncio.to_thread(_read, self._path))
        (await asyncio.shield(self._made)).send(req, resp)


def _read(path: Path) -> Fixed:
    return Fixed.of(path.read_bytes(), TYPES[path.suffix])


def routes() -> dict[str, Any]:
    """The resource of each path."""
    return {"/docs": DocsPage(), **{f"/docs/{name}": DocsFile(name) for name in FILES}}
