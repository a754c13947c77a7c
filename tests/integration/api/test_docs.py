"""/docs: the page and its files come from this server alone, and the vendored files are those of the package."""

import gzip
import hashlib
import re
from typing import Any

from api.docs import FILES, PAGE, VIEWER
from supply.notice import VENDORED


async def test_the_page_loads_only_files_of_this_server(bare: Any) -> None:
    read = await bare.simulate_get("/docs")
    assert read.headers["content-type"].startswith("text/html")
    policy = read.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self';" in policy
    assert "connect-src 'self'" in policy
    assert "frame-ancestors 'none'" in policy
    named = re.findall(r'(?:src|href)="([^"]+)"', read.text)
    assert set(named) == {"data:,", "openapi.json", *(f"docs/{name}" for name in FILES)}
    assert re.findall(r"https?://", PAGE + (VIEWER / "start.js").read_text()) == []
    for name in FILES:
        found = await bare.simulate_get(f"/docs/{name}")
        assert found.status_code == 200
        assert found.content == (VIEWER / name).read_bytes()
        again = await bare.simulate_get(f"/docs/{name}", headers={"If-None-Match": found.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
        packed = await bare.simulate_get(f"/docs/{name}", headers={"Accept-Encoding": "gzip"})
        assert packed.headers["content-encoding"] == "gzip"
        assert gzip.decompress(packed.content) == found.content


async def test_nothing_else_of_the_folder_is_served(bare: Any) -> None:
    for name in ("SHA256SUMS", "README.md", "../docs.py", "%2e%2e/docs.py", "LICENSE"):
        assert (await bare.simulate_get(f"/docs/{name}")).status_code in (401, 404)


def test_the_vendored_files_are_unchanged_and_named_in_the_notice() -> None:
    lines = (VIEWER / "SHA256SUMS").read_text().splitlines()
    sums = {name: digest for digest, name in (line.split() for line in lines)}
    assert {"swagger-ui-bundle.js", "swagger-ui.css", "LICENSE", "NOTICE"} <= set(sums)
    for name, digest in sums.items():
        assert hashlib.sha256((VIEWER / name).read_bytes()).hexdigest() == digest, name
    (version,) = re.findall(r"Swagger UI (\d+\.\d+\.\d+)", VENDORED)
    assert version in (VIEWER / "README.md").read_text()
    assert f'"{version}"'.encode() in (VIEWER / "swagger-ui-bundle.js").read_bytes()
